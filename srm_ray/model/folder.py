"""The checkpoint that passes from stage to stage: a Hugging Face folder with `lineage.json`.

    <folder>/  config.json  model.safetensors  generation_config.json  tokenizer.json …  lineage.json

`lineage.json` records where the weights come from: parent, stage, resolved config, fingerprints of
the data, package versions, git commit.
"""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from srm_ray.errors import UserError
from srm_ray.model.lineage import git_commit, versions

LINEAGE = "lineage.json"


def save_model(
    model: Any, weights: dict[str, Any], folder: Path, *, tokenizer_from: str | Path, lineage: dict[str, Any]
) -> None:
    """Write `weights` (name -> FP32 tensor) with the model's config, the tokenizer and the lineage.

    Of a model with an adapter, the adapter alone is written. The lineage comes last: a folder that
    has one is whole.
    """
    from transformers.utils import logging

    from srm_ray.model import tokenization

    logging.disable_progress_bar()
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenization.load(tokenizer_from)
    tokenization.save(tokenizer, folder)
    if hasattr(model, "peft_config"):
        model.save_pretrained(folder, state_dict=weights)
    else:
        model.generation_config = generation_config(tokenizer)
        model.save_pretrained(folder, state_dict=weights)
    write_lineage(folder, lineage)


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """A path to write a folder to, which takes the place of `folder` when it is whole."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    yield partial
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def generation_config(tokenizer: Any) -> Any:
    """Stop at the end of a turn and at the end of a document."""
    from transformers import GenerationConfig

    from srm_ray.model.tokenization import stop_ids

    return GenerationConfig(
        eos_token_id=stop_ids(tokenizer), pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id
    )


def write_lineage(folder: Path, lineage: dict[str, Any]) -> None:
    record = {**lineage, "packages": versions(), "commit": git_commit()}
    partial = folder / f".{LINEAGE}.partial"
    partial.write_text(json.dumps(record, indent=2, sort_keys=True, default=str) + "\n")
    partial.replace(folder / LINEAGE)


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
