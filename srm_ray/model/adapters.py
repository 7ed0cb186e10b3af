"""Folders that hold an adapter: what they belong to, and merging them into plain weights. Making and training one is
`srm_ray.model.lora`'s.

    merge(adapter folder, folder) -> plain Hugging Face weights
    merged_folder(adapter folder) -> the same beside the adapter, made when it is missing or older
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from srm_ray.errors import UserError, one_line
from srm_ray.model import adapter_file, checks

if TYPE_CHECKING:
    from transformers import PreTrainedModel

OTHER = "another command merges the same adapter; waiting for it"


def is_adapter(folder: str | Path) -> bool:
    return (Path(folder) / "adapter_config.json").is_file()


def base_of(folder: str | Path) -> str:
    """Folder or hub name of the model that an adapter's folder was trained on; a relative path also as seen from the
    adapter's own folder, or beside it."""
    path = Path(folder) / "adapter_config.json"
    named = adapter_file.check(Path(folder)).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise UserError(f"{path}: names no base model (base_model_name_or_path)")
    near = [Path(named), Path(folder) / named, Path(folder).absolute().parent / named]
    found = next((str(place) for place in near if (place / "config.json").is_file()), named)
    if found == named and named.startswith((".", "/", "~")) and not Path(named).is_dir():
        raise UserError(f"{path}: its base model {named} does not exist: put its place in base_model_name_or_path")
    return found


def tokenizer_of(folder: str | Path) -> str:
    """Where the tokenizer of an adapter is: with it, else with its base."""
    from srm_ray.model.tokenization import has_tokenizer

    return str(folder) if has_tokenizer(folder) else base_of(folder)


def merged(folder: str | Path) -> "PreTrainedModel":
    """The base model with the adapter of `folder` added into its weights, in FP32.

    Any kind that PEFT can merge: LoRA with ranks of their own, rsLoRA, DoRA, IA3, and whole modules saved beside
    (`modules_to_save`). Raises `UserError` for what it cannot, and where adapter and base do not belong together.
    """
    import torch
    from peft import PeftConfig, PeftModel
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    checks.check_files(Path(folder))
    base = base_of(folder)
    check_base(base, str(folder))
    try:
        kind = PeftConfig.from_pretrained(str(folder)).peft_type
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, trust_remote_code=False)
        rows = embedding_rows(Path(folder))
        if rows and rows != len(model.get_input_embeddings().weight):
            model.resize_token_embeddings(rows)  # tokens that were added in training
        adapted = PeftModel.from_pretrained(model, str(folder))
        plain = adapted.merge_and_unload() if hasattr(adapted.base_model, "merge_and_unload") else None
    except Exception as error:  # whatever is in its files: PEFT and safetensors raise many kinds
        reason = one_line(error)[:200] or type(error).__name__
        raise UserError(f"{folder} is an adapter on {base}, and the two cannot be put together: {reason}") from None
    if plain is None:
        raise UserError(f"{folder}: an adapter of the kind {kind} cannot be merged into its base: LoRA's kinds can")
    head, embedding = plain.get_output_embeddings(), plain.get_input_embeddings()
    if plain.config.tie_word_embeddings and head is not None and head.weight is not embedding.weight:
        plain.config.tie_word_embeddings = torch.equal(head.weight, embedding.weight)
    return plain


def check_base(base: str, folder: str) -> None:
    """Raises `UserError` where the base that an adapter names is no plain model."""

    if is_adapter(base):
        raise UserError(f"{folder}: its base {base} is an adapter itself: merge that one first")
    local = Path(base).is_dir()
    if local:
        checks.check_files(Path(base))
    try:
        config = checks.checked_config(base)
    except UserError:
        raise
    except Exception as error:  # as for any model
        raise UserError(f"{folder}: its base {base} cannot be opened: {one_line(error)[:200]}") from None
    if local:
        checks.check_weights(Path(base), config)


def embedding_rows(folder: Path) -> int:
    """Rows of the embedding that an adapter holds whole; 0 where it holds none."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                if name.endswith(("embed_tokens.weight", "lm_head.weight")):
                    return int(weights.get_slice(name).get_shape()[0])
    return 0


def merge(folder: Path, destination: Path) -> Path:
    """Write the plain Hugging Face folder of an adapter's folder."""
    from srm_ray.files.atomic import replacing
    from srm_ray.model import tokenization
    from srm_ray.model.folder import save_model, weights_fingerprint, write_generation_config
    from srm_ray.model.lineage import read_lineage

    if not is_adapter(folder):
        raise UserError(f"{folder} holds no adapter (no adapter_config.json)")
    model = merged(folder)
    lineage = {
        **read_lineage(folder),
        "merged_from": str(folder.absolute()),
        "adapter_weights": weights_fingerprint(folder),
    }
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    with replacing(destination) as partial:
        save_model(model, weights, partial, tokenizer_from=tokenizer_of(folder), lineage=lineage)
        write_generation_config(partial, tokenization.load(partial), parent=base_of(folder))
    return destination


def merged_folder(folder: Path) -> Path:
    """`<adapter folder>/merged`: plain weights for whoever takes a model, made once for these adapter weights. Beside
    an adapter that cannot be written to, in the cache."""
    from srm_ray.console.progress import echo
    from srm_ray.files import lock
    from srm_ray.files.roots import cache_root
    from srm_ray.model.folder import weights_fingerprint
    from srm_ray.model.lineage import read_lineage

    weights = weights_fingerprint(folder)
    writable = os.access(folder, os.W_OK)
    destination = folder / "merged" if writable else cache_root() / "merged" / weights
    if read_lineage(destination).get("adapter_weights") == weights:
        return destination
    with lock.alone(destination.with_name(f".{destination.name}.lock"), lambda: echo(OTHER)):
        if read_lineage(destination).get("adapter_weights") == weights:  # by another command, meanwhile
            return destination
        return merge(folder, destination)


def plain_model(name: str) -> str:
    """The plain weights of a folder or hub name: of an adapter, where it lies merged into its base."""
    return str(merged_folder(Path(name))) if is_adapter(Path(name)) else name
