"""Any checkpoint as a plain Hugging Face folder that holds all it needs: adapters merged, safetensors."""

import shutil
from pathlib import Path

from srm_ray.console import hub
from srm_ray.errors import UserError
from srm_ray.model import adapters

# What is not part of a model: records that are written anew, and weights in other forms.
LEFT_OUT = ("README.md", "lineage.json", ".gitattributes", "*.bin", "*.gguf", "*.pt", "*.pth", "*.h5", "*.onnx", ".*")


def write_plain(model: str, destination: Path) -> Path:
    """Write `model` (folder, adapter's folder or hub name) to `destination`, without lineage.

    Weights keep the type they have; those of a merged adapter, and weights that are not safetensors, become FP32.
    """
    source = Path(model) if Path(model).is_dir() else download(model)
    if adapters.is_adapter(source):
        merge_here(source, destination)
    elif any(source.glob("*.safetensors")):
        shutil.copytree(source, destination, ignore=lambda folder, names: left_out(Path(folder), names))
    else:
        raise UserError(f"--model {model}: no weights in it (no *.safetensors)")
    return destination


def merge_here(source: Path, destination: Path) -> None:
    """Merge an adapter; where its base cannot be loaded, say which that is."""
    base = adapters.base_of(source)
    try:
        adapters.merge(source, destination)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"--model {source} is an adapter, and its base {base} cannot be loaded: {reason}") from None


def left_out(folder: Path, names: list[str]) -> list[str]:
    """Sub-folders too: a checkpoint's own files lie side by side."""
    matched = {name for pattern in LEFT_OUT for name in names if Path(name).match(pattern)}
    return [name for name in names if name in matched or (folder / name).is_dir()]


def download(name: str) -> Path:
    """A hub name's files. Raises `UserError` where there is neither such a folder nor such a model."""
    import huggingface_hub

    try:
        with hub.asking(name):
            return Path(huggingface_hub.snapshot_download(name, ignore_patterns=list(LEFT_OUT)))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"--model {name}: no such folder, and not to be had from the hub: {reason}") from None
