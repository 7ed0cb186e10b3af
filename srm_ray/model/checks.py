"""What a model's folder says, judged before anyone believes it. A model is data: none of its code is run."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.errors import UserError, printable
from srm_ray.process.imports import quick_imports

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

LONGEST = (1 << 31) - 1  # tokens of a context: what a tokenizer without a limit has is more
SIZES = {  # what a config may say, at most
    "num_hidden_layers": 2_000,
    "hidden_size": 1 << 18,
    "intermediate_size": 1 << 21,
    "num_attention_heads": 1 << 14,
    "num_key_value_heads": 1 << 14,
    "head_dim": 1 << 14,
    "vocab_size": 1 << 24,
    "max_position_embeddings": LONGEST,
}

MANY = 1 << 14  # of what a config counts beside: experts, blocks, modules
COUNTED = re.compile(r"(?:num|n)_(?:\w+_)?(?:experts?|layers?|blocks?|modules?|heads?)(?:_\w+)?")


READ = (".json", ".safetensors", ".model", ".jinja", ".txt", ".gguf")
LARGEST = {".jinja": 4 << 20, ".json": 512 << 20, ".txt": 512 << 20, ".model": 512 << 20}  # bytes
CONFIGS = ("config.json", "tokenizer_config.json", "special_tokens_map.json", "adapter_config.json")
LARGEST_CONFIG = 32 << 20


def check_files(path: Path) -> None:
    """Raises `UserError` where what is to be read of a local folder is no file (to open a pipe would wait for ever), or
    is larger than any of its kind."""
    for entry in os.scandir(path):
        suffix = Path(entry.name).suffix
        if suffix not in READ or entry.is_dir():
            continue
        name = printable(entry.name)
        if not entry.is_file():
            raise UserError(f"--model {path}: {name} is no file, but a pipe, a device or a link to nothing: remove it")
        most = LARGEST_CONFIG if entry.name.endswith(CONFIGS) else LARGEST.get(suffix)
        if most and entry.stat().st_size > most:
            raise UserError(f"--model {path}: {name} is larger than {most >> 20} MB, which none is")


def check_plain(plain: dict[str, Any], name: str) -> None:
    """Raises `UserError` for a model that only code of its own can open: no model's code is run."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = plain.get("model_type")
    if plain.get("auto_map") and not (isinstance(kind, str) and kind in CONFIG_MAPPING):
        raise UserError(
            f"--model {name}: model_type {kind!r} is none that transformers knows, and the code that comes with the "
            "model (auto_map) is not run: give a model of a known type"
        )


def checked_config(name: str) -> "PretrainedConfig":
    """Of a folder or hub name, judged before and after transformers reads it. Raises `UserError`, and what transformers
    raises."""
    from srm_ray.model.folder import read_json

    with quick_imports():
        import transformers.models.auto.modeling_auto  # noqa: F401  # every model's config does, in seconds
        from transformers import AutoConfig

    check_plain(read_json(name, "config.json"), name)
    config: PretrainedConfig = AutoConfig.from_pretrained(name, trust_remote_code=False)
    check_numbers(config, name)
    return config


def check_numbers(config: "PretrainedConfig", name: str) -> None:
    """Raises `UserError` for sizes that no model has: to make its layers alone would take for ever."""
    for one in (config, getattr(config, "text_config", None)):
        for key, most in SIZES.items():
            value = getattr(one, key, None)
            if value is None or (isinstance(value, int) and 0 < value <= most):
                continue
            if not isinstance(value, list):  # a number for each layer, as some have
                raise UserError(
                    f"--model {name}: {key} in its config.json is {str(value)[:40]!r}, 1 to {most:,} can be"
                )
        for key, value in vars(one).items() if one is not None else ():
            if COUNTED.fullmatch(key) and isinstance(value, int) and value > MANY:
                raise UserError(
                    f"--model {name}: {key} in its config.json is {str(value)[:40]!r}, {MANY:,} at most can be"
                )


def check_weights(path: Path, config: "PretrainedConfig") -> None:
    """Raise `UserError` where a local folder's weights are not those of the model that its config describes: other
    shapes, other names, some missing."""
    files = sorted(path.glob("*.safetensors"))
    if not files:
        return
    import torch
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except Exception as error:  # whatever its config says
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"--model {path}: no model can be made of its config.json: {reason}") from None
    wanted = {name: list(weight.shape) for name, weight in model.named_parameters()}
    found: dict[str, list[int]] = {}
    for file in files:
        try:
            with safe_open(file, "pt") as weights:
                here = {name: list(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
        except Exception as error:  # safetensors raises a class of its own for each kind of damage
            raise UserError(f"--model {path}: {file.name} cannot be read ({error}); is it complete?") from None
        for name, shape in here.items():
            if name in wanted and shape != wanted[name]:
                raise UserError(
                    f"--model {path}: a checkpoint of another shape: {name} is {shape} in {file.name}, "
                    f"{wanted[name]} by config.json"
                )
        found |= here
    check_names(path, model, set(wanted), set(found))


def check_names(path: Path, model: "PreTrainedModel", wanted: set[str], found: set[str]) -> None:
    """Raise `UserError` where weights are missing: they would begin at random. Where some have other names, whether
    they are the same is left to transformers, which knows the older names of many."""
    start = f"{model.base_model_prefix}."  # which some checkpoints leave out
    own, theirs = ({name.removeprefix(start) for name in names} for names in (wanted, found))
    if getattr(model.config, "tie_word_embeddings", False):
        own.discard("lm_head.weight")
    if not own & theirs:
        raise UserError(
            f"--model {path}: its weights are of another model: {printable(min(found, default='none'))}, where "
            f"{type(model).__name__} has {min(wanted)}"
        )
    missing = own - theirs
    if missing and theirs <= own:
        raise UserError(
            f"--model {path}: {len(missing)} of {len(own)} weights are missing, {min(missing)} for one: is a "
            "file of it not there?"
        )
