"""LoRA and QLoRA: adapters on a base model, and merging them back into plain weights (Hu et al. 2021,
Dettmers et al. 2023; PEFT and bitsandbytes do the work).

    load_policy(folder, adapter)  -> the model to train
    merge(adapter folder, folder) -> plain Hugging Face weights
    merged_folder(adapter folder) -> the same beside the adapter, made when it is missing or older
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_ray.errors import UserError

OTHER = "another command merges the same adapter; waiting for it"


@dataclass(frozen=True, slots=True)
class Adapter:
    """What is trained in place of all weights.

    r: rank. alpha: the adapter's output is scaled by alpha / r. targets: names of the projections.
    nf4: base weights in 4 bits.
    """

    r: int
    alpha: int
    dropout: float
    targets: tuple[str, ...]
    nf4: bool = False


def is_adapter(folder: str | Path) -> bool:
    return (Path(folder) / "adapter_config.json").is_file()


def base_of(folder: str | Path) -> str:
    """Folder or hub name of the model that an adapter's folder was trained on; a relative path also as seen from the
    adapter's own folder, or beside it."""
    path = Path(folder) / "adapter_config.json"
    try:
        named = str(json.loads(path.read_text())["base_model_name_or_path"] or "")
    except (ValueError, KeyError, TypeError):
        named = ""
    if not named:
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


def load_policy(
    folder: str,
    adapter: Adapter | None = None,
    *,
    attention: str = "sdpa",
    liger: bool = False,
    precision: str = "float32",
) -> Any:
    """The causal LM of a folder or hub name in FP32, with a fresh adapter where one is asked for.

    precision: what it will be trained with, for the products of weights in 4 bits.
    """
    import torch
    from transformers import AutoModelForCausalLM

    options: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": attention}
    if adapter and adapter.nf4:
        options["quantization_config"] = nf4_config(precision)
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False, **options)
    if liger:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance

        _apply_liger_kernel_to_instance(model=model, fused_linear_cross_entropy=False)
    return with_adapter(model, adapter) if adapter else model


def with_adapter(model: Any, adapter: Adapter) -> Any:
    """The model with every weight frozen but the new adapter's."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=list(adapter.targets),
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise UserError(f"lora.targets {list(adapter.targets)} do not fit this model: {error}") from None


def nf4_config(precision: str) -> Any:
    """4-bit NormalFloat whose products have the dtype of `precision` (on a CPU FP32).

    Raises `UserError` when bitsandbytes is not installed.
    """
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        raise UserError("lora.quantise nf4 needs bitsandbytes: pip install 'srm-ray[qlora]'") from None
    import torch
    from transformers import BitsAndBytesConfig

    from srm_ray.model.precision import torch_dtype

    reduced = torch_dtype(precision) if torch.cuda.is_available() else None

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=reduced or torch.float32,
    )


def trainable(model: Any) -> int:
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def merged(folder: str | Path) -> Any:
    """The base model with the adapter of `folder` added into its weights, in FP32.

    Any kind that PEFT can merge: LoRA with ranks of their own, rsLoRA, DoRA, IA3, and whole modules saved beside
    (`modules_to_save`). Raises `UserError` for what it cannot, and where adapter and base do not belong together.
    """
    import torch
    from peft import PeftConfig, PeftModel
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    base = base_of(folder)
    try:
        kind = PeftConfig.from_pretrained(str(folder)).peft_type
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, trust_remote_code=False)
        rows = embedding_rows(Path(folder))
        if rows and rows != len(model.get_input_embeddings().weight):
            model.resize_token_embeddings(rows)  # tokens that were added in training
        adapted = PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} is an adapter on {base}, and the two cannot be opened together: {reason}") from None
    if not hasattr(adapted.base_model, "merge_and_unload"):
        raise UserError(f"{folder}: an adapter of the kind {kind} cannot be merged into its base: LoRA's kinds can")
    plain = adapted.merge_and_unload()
    head, embedding = plain.get_output_embeddings(), plain.get_input_embeddings()
    if plain.config.tie_word_embeddings and head is not None and head.weight is not embedding.weight:
        plain.config.tie_word_embeddings = torch.equal(head.weight, embedding.weight)
    return plain


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
    from srm_ray.console.progress import say
    from srm_ray.files import lock
    from srm_ray.files.roots import cache_root
    from srm_ray.model.folder import weights_fingerprint
    from srm_ray.model.lineage import read_lineage

    weights = weights_fingerprint(folder)
    writable = os.access(folder, os.W_OK)
    destination = folder / "merged" if writable else cache_root() / "merged" / weights
    if read_lineage(destination).get("adapter_weights") == weights:
        return destination
    with lock.alone(destination.with_name(f".{destination.name}.lock"), lambda: say(OTHER)):
        if read_lineage(destination).get("adapter_weights") == weights:  # by another command, meanwhile
            return destination
        return merge(folder, destination)
