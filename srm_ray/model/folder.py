"""The checkpoint that passes from stage to stage: a Hugging Face folder with `lineage.json`.

    <folder>/  config.json  model.safetensors  generation_config.json  tokenizer.json …  lineage.json

`lineage.json` records where the weights come from: parent, stage, resolved config, fingerprints of
the data, package versions, git commit.
"""

import hashlib
import json
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from srm_ray.errors import UserError

LINEAGE = "lineage.json"
PACKAGES = ("torch", "transformers", "tokenizers", "ray", "deepspeed", "numpy", "peft")


def save_model(
    model: Any, weights: dict[str, Any], folder: Path, *, tokenizer_from: str | Path, lineage: dict[str, Any]
) -> None:
    """Write `weights` (name -> FP32 tensor) with the model's config, the tokenizer and the lineage."""
    from srm_ray.model import tokenization

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenization.load(tokenizer_from)
    tokenization.save(tokenizer, folder)
    model.generation_config = generation_config(tokenizer)
    model.save_pretrained(folder, state_dict=weights, safe_serialization=True)
    write_lineage(folder, lineage)


def generation_config(tokenizer: Any) -> Any:
    """Stop at the end of a turn and at the end of a document."""
    from transformers import GenerationConfig

    from srm_ray.model.tokenization import stop_ids

    return GenerationConfig(
        eos_token_id=stop_ids(tokenizer), pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id
    )


def write_lineage(folder: Path, lineage: dict[str, Any]) -> None:
    record = {**lineage, "versions": versions(), "git_commit": git_commit()}
    (folder / LINEAGE).write_text(json.dumps(record, indent=2, sort_keys=True, default=str) + "\n")


def read_lineage(folder: str | Path) -> dict[str, Any]:
    """The lineage of a folder, {} where it has none (a model of the hub)."""
    path = Path(folder) / LINEAGE
    return json.loads(path.read_text()) if path.is_file() else {}


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_commit() -> str:
    """Commit of the source tree, "" outside of one."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def weights_fingerprint(folder: str | Path) -> str:
    """Hash of a folder's weight files, so that a parent is known by content and not by path alone."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).glob("*.safetensors")):
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
