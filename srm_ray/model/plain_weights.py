"""Any checkpoint as a plain Hugging Face folder that holds all it needs: adapters merged, safetensors."""

import shutil
from pathlib import Path

from srm_ray.console import hub
from srm_ray.errors import UserError
from srm_ray.model import adapters, tokenization
from srm_ray.model.folder import write_generation_config

# What is not part of a model: records that are written anew, and weights in other forms.
LEFT_OUT = ("README.md", "lineage.json", ".gitattributes", "*.bin", "*.gguf", "*.pt", "*.pth", "*.h5", "*.onnx", ".*")


def write_plain(model: str, destination: Path, *, chat_template: str = "") -> Path:
    """Write `model` (folder, adapter's folder or hub name) to `destination`, without lineage.

    Weights keep the type they have; those of a merged adapter become FP32. Its generation config names all that ends
    a completion. chat_template: Jinja, in place of the tokenizer's own.
    """
    source = Path(model) if Path(model).is_dir() else download(model)
    if adapters.is_adapter(source):
        adapters.merge(source, destination)
    elif any(source.glob("*.safetensors")):
        shutil.copytree(source, destination, ignore=lambda folder, names: left_out(Path(folder), names))
    else:
        raise UserError(f"--model {model}: no weights in it (no *.safetensors)")
    tokenizer = tokenization.load(destination)
    if chat_template:
        tokenizer.chat_template = chat_template
        tokenization.save(tokenizer, destination)
    write_generation_config(destination, tokenizer, parent=destination)
    return destination


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
