"""LoRA and QLoRA on a model in memory (Hu et al. 2021, Dettmers et al. 2023; PEFT and bitsandbytes do the work).

    load_policy(folder, adapter)  -> the model to train, every weight frozen but the adapter's
    without_adapter(model)        -> the base within the block: GRPO's reference, without a second model
    Merged(model), factors(model) -> what is pushed: W + (alpha / rank) B A of every layer, or A and B alone

A folder that holds an adapter is `srm_ray.model.adapters`' business.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from srm_ray.config.lora import ALL_LINEAR, LoraConfig
from srm_ray.errors import UserError
from srm_ray.files.roots import lasting
from srm_ray.weights.lora import A, B, merge

if TYPE_CHECKING:
    import torch
    from peft.tuners.lora import LoraLayer
    from torch import Tensor, nn
    from transformers import BitsAndBytesConfig, PreTrainedModel

NAME = "default"  # PEFT's, of the one adapter that a model has here


@dataclass(frozen=True, slots=True)
class Adapter:
    """What is trained in place of all weights.

    alpha: the adapter's output is scaled by alpha / rank. targets: names of the layers, or `ALL_LINEAR` alone.
    nf4: base weights in 4 bits.
    """

    rank: int
    alpha: int
    dropout: float
    targets: tuple[str, ...]
    nf4: bool = False

    @classmethod
    def of(cls, options: LoraConfig) -> "Adapter | None":
        """None where all weights are trained."""
        if options.rank == 0:
            return None
        return cls(options.rank, options.alpha, options.dropout, tuple(options.targets), options.quantise == "nf4")

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


def load_policy(
    folder: str,
    adapter: Adapter | None = None,
    *,
    attention: str = "sdpa",
    liger: bool = False,
    precision: str = "float32",
    dtype: "torch.dtype | None" = None,
) -> "PreTrainedModel":
    """The causal LM of a folder or hub name, with a fresh adapter where one is asked for.

    precision: what it will be trained with, for the products of weights in 4 bits. dtype: of its weights; None: FP32.
    """
    import torch
    from transformers import AutoModelForCausalLM

    folder = lasting(folder)  # an adapter's folder names its base, and is read from elsewhere
    options: dict[str, Any] = {"dtype": dtype or torch.float32, "attn_implementation": attention}
    if adapter and adapter.nf4:
        options["quantization_config"] = nf4_config(precision)
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False, **options)
    for module in model.modules():
        # On a CPU bitsandbytes repacks weights in 4 bits, in place and with coarser scales, the first time that they
        # answer without a gradient: the model that is trained would be another after it has been asked.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    if liger:
        from liger_kernel.transformers import _apply_liger_kernel_to_instance

        _apply_liger_kernel_to_instance(model=model, fused_linear_cross_entropy=False)
    return with_adapter(model, adapter) if adapter else model


def with_adapter(model: "PreTrainedModel", adapter: Adapter) -> "PreTrainedModel":
    """The model with every weight frozen but the new adapter's. Raises `UserError` where a target is no layer of it."""
    from peft import LoraConfig as PeftConfig
    from peft import get_peft_model

    config = PeftConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=targets_of(model, adapter),
        bias="none",
        task_type="CAUSAL_LM",
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise UserError(f"lora.targets {list(adapter.targets)} do not fit this model: {error}") from None


def targets_of(model: "PreTrainedModel", adapter: Adapter) -> list[str]:
    """Names of the layers that get an adapter. Raises `UserError`, with those that there are, for one that is none."""
    import torch

    head = model.get_output_embeddings()
    linear = sorted(
        {
            path.rpartition(".")[2]
            for path, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        }
    )
    if adapter.targets == (ALL_LINEAR,):
        return linear
    paths = [path for path, _ in model.named_modules()]
    for target in adapter.targets:
        if not any(path == target or path.endswith(f".{target}") for path in paths):
            raise UserError(
                f"lora.targets: {target} is no layer of this model; its linear layers are {', '.join(linear)} "
                f"({ALL_LINEAR} stands for them)"
            )
    return list(adapter.targets)


def nf4_config(precision: str) -> "BitsAndBytesConfig":
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


def trainable(model: "nn.Module") -> int:
    """Numbers that are trained, on all ranks where ZeRO 3 has divided them."""
    return sum(getattr(w, "ds_numel", w.numel()) for w in model.parameters() if w.requires_grad)


# A model that has an adapter


def is_adapted(model: "nn.Module") -> bool:
    return hasattr(model, "peft_config")


def plain(model: "PreTrainedModel") -> "PreTrainedModel":
    """The causal LM inside an adapted one, or the model itself."""
    return model.get_base_model() if is_adapted(model) else model


def save_adapter_alone(module: "nn.Module") -> None:
    """Have the state of a module that trains an adapter hold the adapter alone, tied and quantised weights of the base
    left out too."""

    def drop_base(module: "nn.Module", state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
        trained = {prefix + name for name, weight in module.named_parameters() if weight.requires_grad}
        for name in [name for name in state if name not in trained]:
            del state[name]

    module.register_state_dict_post_hook(drop_base)


@contextlib.contextmanager
def without_adapter(model: "nn.Module") -> Iterator[None]:
    """Within the block the model computes as its base does."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    # PEFT's `disable_adapter` also takes `requires_grad` from the adapter and gives it back, in the middle of a step.
    for layer in layers:
        layer._disable_adapters = True
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False


def whole(weight: "Tensor") -> "Tensor":
    """A weight as the model computes with it: of one in 4 bits, what they stand for."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return weight.detach()
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight.detach(), state)


class Merged:
    """Names and tensors of an adapted model's plain weights, each made as it is asked for; to be gone through again
    and again. The names are those of the base.

    dtype: that the base is rounded to before the adapter is added (torch's name; empty: its own). Weights of layers
    with an adapter come in FP32, others in their own dtype.
    """

    def __init__(self, model: "PreTrainedModel", dtype: str = "", *, base: bool = False):
        """base: without the adapter."""
        self.model, self.dtype, self.base = model, dtype, base

    def __iter__(self) -> "Iterator[tuple[str, Tensor]]":
        import torch

        stored = getattr(torch, self.dtype) if self.dtype else None
        layers = {id(base_weight(layer)): layer for _, layer in adapted_layers(self.model)}
        for name, parameter in plain(self.model).named_parameters():
            if ".lora_" in name:
                continue
            weight, layer = whole(parameter), layers.get(id(parameter))
            if layer is not None and not self.base:
                a, b = factors_of(layer)
                weight = merge(weight.to(stored or weight.dtype), a, b, layer.scaling[NAME])
            yield name.replace(".base_layer.", "."), weight


def factors(model: "PreTrainedModel") -> "list[tuple[str, Tensor]]":
    """A and B of every layer, named after the weight that they change."""
    found = []
    for path, layer in adapted_layers(model):
        a, b = factors_of(layer)
        found += [(f"{path}.weight{A}", a), (f"{path}.weight{B}", b)]
    return found


def factors_of(layer: "LoraLayer") -> "tuple[Tensor, Tensor]":
    """A [rank, inputs] and B [outputs, rank]."""
    a, b = cast("nn.Linear", layer.lora_A[NAME]), cast("nn.Linear", layer.lora_B[NAME])
    return a.weight.detach(), b.weight.detach()


def base_weight(layer: "LoraLayer") -> "Tensor":
    return cast("nn.Linear", layer.base_layer).weight


def adapted_layers(model: "PreTrainedModel") -> "list[tuple[str, LoraLayer]]":
    """Layers with an adapter, by their path in the base.

    Raises `UserError` where the product of A and B is not what is added to the weight, or that weight is another
    layer's too.
    """
    from peft.tuners.lora import LoraLayer

    inner = plain(model)
    found = [(path, module) for path, module in inner.named_modules() if isinstance(module, LoraLayer)]
    uses: dict[int, int] = {}
    for _, parameter in inner.named_parameters(remove_duplicate=False):
        uses[id(parameter)] = uses.get(id(parameter), 0) + 1
    for path, layer in found:
        if NAME not in layer.lora_A or getattr(layer, "fan_in_fan_out", False):
            raise UserError(f"lora.targets: {path} is no linear layer, as an adapter in GRPO wants")
        if uses[id(base_weight(layer))] > 1:
            raise UserError(f"lora.targets: {path} shares its weight with another layer (tied embeddings)")
    return found


# Before anything is loaded


@dataclass(frozen=True, slots=True)
class Share:
    """What an adapter is to a model. trained, whole: parameters. layers: names of those that it is on.

    factors: bytes of A and B in FP32, which is what a push of it carries.
    """

    trained: int
    whole: int
    layers: tuple[str, ...]

    @property
    def factors(self) -> int:
        return 4 * self.trained

    def __str__(self) -> str:
        return f"{self.trained:,} of {self.whole:,} parameters ({', '.join(self.layers)})"


def share_of(folder: str, adapter: Adapter) -> Share:
    """Raises `UserError` where the adapter does not fit the model of a folder or hub name. Loads no weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if adapter.nf4:
        nf4_config("float32")
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        count = sum(weight.numel() for weight in model.parameters())
        model = with_adapter(model, adapter)
    names = {path.rpartition(".")[2] for path, _ in adapted_layers(model)}
    return Share(trainable(model), count, tuple(sorted(names)))
