"""LoRA and QLoRA: adapters on a base model, and merging them back into plain weights (Hu et al. 2021,
Dettmers et al. 2023; PEFT and bitsandbytes do the work).

    load_policy(folder, adapter)  -> the model to train
    merge(adapter folder, folder) -> plain Hugging Face weights
    merged_folder(adapter folder) -> the same beside the adapter, made when it is missing or older
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_ray.errors import UserError


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
    """Folder or hub name of the model that an adapter's folder was trained on."""
    path = Path(folder) / "adapter_config.json"
    try:
        return str(json.loads(path.read_text())["base_model_name_or_path"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{path}: names no base model (base_model_name_or_path)") from None


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
    model = AutoModelForCausalLM.from_pretrained(folder, **options)
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
    """The base model with the adapter of `folder` added into its weights, in FP32."""
    import torch
    from peft import AutoPeftModelForCausalLM, PeftConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    base = PeftConfig.from_pretrained(str(folder)).base_model_name_or_path
    try:
        adapted = AutoPeftModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} is an adapter on {base}, which cannot be opened: {error}") from None
    return adapted.merge_and_unload()


def merge(folder: Path, destination: Path) -> Path:
    """Write the plain Hugging Face folder of an adapter's folder."""
    from srm_ray.model.folder import replacing, save_model, weights_fingerprint
    from srm_ray.model.lineage import read_lineage

    if not is_adapter(folder):
        raise UserError(f"{folder} holds no adapter (no adapter_config.json)")
    model = merged(folder)
    lineage = {
        **read_lineage(folder),
        "merged_from": str(folder.absolute()),
        "adapter_weights": weights_fingerprint(folder),
    }
    try:
        with replacing(destination) as partial:
            save_model(model, dict(model.named_parameters()), partial, tokenizer_from=folder, lineage=lineage)
    except OSError as error:
        raise UserError(f"the merged weights cannot be written to {destination}: {error.strerror}") from None
    return destination


def merged_folder(folder: Path) -> Path:
    """`<adapter folder>/merged`: plain weights for whoever takes a model, made once for these adapter weights."""
    from srm_ray.model.folder import weights_fingerprint
    from srm_ray.model.lineage import read_lineage

    destination = folder / "merged"
    if read_lineage(destination).get("adapter_weights") == weights_fingerprint(folder):
        return destination
    return merge(folder, destination)
