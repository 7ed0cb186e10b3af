"""The checkpoint that passes from stage to stage: a Hugging Face folder with `lineage.json`.

    <folder>/  config.json  model.safetensors  generation_config.json  tokenizer.json …  lineage.json

`lineage.json` records where the weights come from: parent, stage, resolved config, fingerprints of
the data, package versions, git commit.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.errors import UserError
from srm_ray.files.atomic import write_atomically
from srm_ray.model.lineage import git_commit, versions
from srm_ray.model.lora import is_adapted

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

LINEAGE = "lineage.json"
GENERATION = "generation_config.json"


def save_model(
    model: "PreTrainedModel",
    weights: dict[str, Any],
    folder: Path,
    *,
    tokenizer_from: str | Path,
    lineage: dict[str, Any],
    chat_template: str = "",
) -> None:
    """Write `weights` (name -> FP32 tensor) with the model's config, the tokenizer and the lineage.

    Of a model with an adapter, the adapter alone is written. The lineage comes last: a folder that
    has one is whole. tokenizer_from: also where the generation config comes from. chat_template: Jinja, in place of
    the tokenizer's own.
    """
    from transformers.utils import logging

    from srm_ray.model import tokenization

    logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenization.load(tokenizer_from)
    tokenizer.chat_template = chat_template or tokenizer.chat_template
    tokenization.save(tokenizer, folder)
    if is_adapted(model):
        save_adapter(model, weights, folder)
    else:
        save_weights(model, weights, folder)
    write_generation_config(folder, tokenizer, parent=tokenizer_from)
    write_lineage(folder, lineage)


def save_adapter(model: "PreTrainedModel", weights: dict[str, Any], folder: Path) -> None:
    """The adapter alone. weights: as the adapted model names them."""
    model.save_pretrained(folder, state_dict=weights)


def save_plain(source: str, weights: dict[str, Any], folder: Path) -> None:
    """`weights` with the config of the model `source`, whatever trained them has made of its own."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(source, trust_remote_code=False)
    with torch.device("meta"):
        empty = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    save_weights(empty, weights, folder)


def save_weights(model: "PreTrainedModel", weights: dict[str, Any], folder: Path) -> None:
    """Config and safetensors. The generation config is another's to write: transformers refuses to save many a
    published one, such as a temperature beside greedy decoding."""
    from transformers import GenerationConfig

    own, model.generation_config = model.generation_config, GenerationConfig()
    try:
        model.save_pretrained(folder, state_dict=weights)
    finally:
        model.generation_config = own


def read_json(model: str | Path, name: str) -> dict[str, Any]:
    """A JSON file of a model's folder or hub name; {} where there is none. Raises `UserError` where it is no object."""
    from transformers.utils import cached_file

    try:
        path = cached_file(str(model), name, _raise_exceptions_for_missing_entries=False)
    except (OSError, ValueError):
        return {}
    if path is None:
        return {}
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{model}: {name} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise UserError(f"{model}: {name} must hold an object, got {type(found).__name__}")
    return found


def write_generation_config(folder: Path, tokenizer: "PreTrainedTokenizerFast", *, parent: str | Path) -> None:
    """The parent's, with every token that ends a completion (`chat_template.stop_ids`): whoever serves the model
    stops where it was trained to."""
    from srm_ray.model.chat_template import stop_ids

    own, theirs = read_json(folder, GENERATION), read_json(parent, GENERATION)
    kept = {**own, **theirs}
    named = [found.get("eos_token_id") for found in (own, theirs, read_json(folder, "config.json"))]
    kept["eos_token_id"] = list(stop_ids(tokenizer, named))
    for name in ("bos_token_id", "pad_token_id"):
        if kept.get(name) is None and getattr(tokenizer, name) is not None:
            kept[name] = getattr(tokenizer, name)
    write_atomically(folder / GENERATION, json.dumps(kept, indent=2, sort_keys=True) + "\n")


def write_lineage(folder: Path, lineage: dict[str, Any]) -> None:
    record = {**lineage, "packages": versions(), "commit": git_commit()}
    write_atomically(folder / LINEAGE, json.dumps(record, indent=2, sort_keys=True, default=str) + "\n")


def weights_fingerprint(folder: str | Path) -> str:
    """Hash of a folder's weight files, so that a parent is known by content and not by path alone; "" of a hub name."""
    digest, files = hashlib.sha256(), sorted(Path(folder).glob("*.safetensors"))
    if not files:
        return ""
    for path in files:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def check_model_folder(folder: str | Path) -> Path:
    """The folder, if it holds a model. Raises `UserError` saying what is missing."""
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"--model {folder}: no such folder")
    if not (path / "config.json").is_file():
        raise UserError(f"--model {folder}: not a Hugging Face model folder (no config.json)")
    return path
