"""What a model's folder says, judged before anyone believes it. A model is data: none of its code is run."""

from pathlib import Path
from typing import Any

from srm_ray.errors import UserError, printable

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


def check_plain(plain: dict[str, Any], name: str) -> None:
    """Raises `UserError` for a model that only code of its own can open: no model's code is run."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = plain.get("model_type")
    if plain.get("auto_map") and not (isinstance(kind, str) and kind in CONFIG_MAPPING):
        raise UserError(
            f"--model {name}: model_type {kind!r} is none that transformers knows, and the code that comes with the "
            "model (auto_map) is not run: give a model of a known type"
        )


def check_numbers(config: Any, name: str) -> None:
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


def check_weights(path: Path, config: Any) -> None:
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


def check_names(path: Path, model: Any, wanted: set[str], found: set[str]) -> None:
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
