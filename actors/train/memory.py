"""`--dry-run`: parameters, memory and placement of a training job, against what the cluster has."""

from dataclasses import dataclass, fields
from typing import Any

from srm_ray.config.stages import LoraConfig, TrainStage
from srm_ray.console.progress import say

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on each worker. copies: the weights as BF16 computes with them."""

    weights: float
    copies: float
    gradients: float
    optimizer: float
    activations: float
    logits: float

    @property
    def total(self) -> float:
        return sum(getattr(self, part.name) for part in fields(self))


def memory(
    parameters: int,
    trained: int,
    *,
    workers: int,
    zero_stage: int,
    nf4: bool,
    adam_bits: int,
    tokens: int,
    hidden: int,
    layers: int,
    ffn: int,
    vocabulary: int,
    checkpointed: bool,
    reduced: bool = True,
) -> Memory:
    """Estimate for FP32 masters and BF16 compute (`reduced`).

    ZeRO 1 shards the optimizer, 2 also gradients, 3 also weights (Rajbhandari et al. 2020, table 1).
    Activations for each token and layer: 40 x hidden + 8 x feed-forward bytes, which is what transformers'
    Qwen3 keeps for the backward pass in autocast (its norms and residual stream are FP32; a test
    measures it); fused kernels keep less. With activation checkpointing the layer's input alone, and
    one layer in full. Logits: 6 bytes kept and 4 of gradient, a chunk of targets at a time.
    """
    shard = [1 if zero_stage < stage else workers for stage in (1, 2, 3)]
    layer = 40 * hidden + 8 * ffn
    weight_bytes = (trained * 4 + (parameters - trained) * (0.55 if nf4 else 4)) / shard[2]
    kept = layers * 4 * hidden + layer if checkpointed else layers * layer
    return Memory(
        weights=weight_bytes,
        copies=2 * parameters / shard[2] if reduced else 0,
        gradients=trained * 4 / shard[1],
        optimizer=trained * (8 if adam_bits == 32 else 2) / shard[0],
        activations=tokens * kept,
        logits=min(tokens, 8192) * vocabulary * 10,
    )


def show_plan(config: TrainStage, model: str, row_length: int, lora: LoraConfig, rows_per_unit: int = 1) -> int:
    """Print the plan of a stage that starts from `model`; exit status 0."""
    from transformers import AutoConfig

    return show_plan_of(config, AutoConfig.from_pretrained(model), row_length, lora, rows_per_unit)


def training_memory(
    config: TrainStage, model_config: Any, row_length: int, lora: LoraConfig, rows_per_unit: int = 1
) -> tuple[int, int, Memory]:
    """(parameters, trained ones, bytes on each worker) of a training stage."""
    parameters, trained = count(model_config, lora)
    optim = config.optim
    need = memory(
        parameters,
        trained,
        workers=config.workers,
        zero_stage=optim.zero_stage,
        nf4=lora.quantise == "nf4",
        adam_bits=optim.adam_bits,
        tokens=optim.micro_batch * rows_per_unit * row_length,
        hidden=model_config.hidden_size,
        layers=model_config.num_hidden_layers,
        ffn=model_config.intermediate_size,
        vocabulary=model_config.vocab_size,
        checkpointed=optim.activation_checkpointing,
        reduced=optim.precision != "float32",
    )
    return parameters, trained, need


def show_plan_of(
    config: TrainStage, model_config: Any, row_length: int, lora: LoraConfig, rows_per_unit: int = 1
) -> int:
    parameters, trained, need = training_memory(config, model_config, row_length, lora, rows_per_unit)
    optim = config.optim
    say(f"parameters     {parameters:,} ({trained:,} trained)")
    say(f"placement      {config.workers} Ray Train worker(s), ZeRO stage {optim.zero_stage}")
    say(
        f"step           {optim.batch} units = {optim.batch // (optim.micro_batch * config.workers)} micro-batches of "
        f"{optim.micro_batch} on each worker, {optim.batch * rows_per_unit * row_length:,} tokens"
    )
    for name in (*(part.name for part in fields(need)), "total"):
        say(f"{name:<14} {getattr(need, name) / GIB:8.2f} GiB on each worker")
    say("KV cache           0.00 GiB on each worker (nothing is generated)")
    say(f"cluster        {cluster(config.workers, need.total)}")
    return 0


def count(model_config: Any, lora: LoraConfig) -> tuple[int, int]:
    """(all parameters, trained ones), on the meta device."""
    import torch
    from transformers import AutoModelForCausalLM

    from actors.train.stage import adapter_of
    from srm_ray.model.adapters import trainable, with_adapter

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(model_config)
        parameters = sum(weight.numel() for weight in model.parameters())
        adapter = adapter_of(lora)
        return parameters, trainable(with_adapter(model, adapter)) if adapter else parameters


def cluster(workers: int, need: float) -> str:
    """What the machine or cluster has, and whether the job fits."""
    import psutil
    import torch

    if torch.cuda.is_available():
        have = [torch.cuda.get_device_properties(n).total_memory for n in range(torch.cuda.device_count())]
        fits = len(have) >= workers and min(have) >= need
        text = f"{len(have)} GPU(s) here of {min(have) / GIB:.0f} GiB"
    else:
        total = psutil.virtual_memory().total
        fits = total >= need * workers
        text = f"no GPU here; {psutil.cpu_count()} CPU cores, {total / GIB:.0f} GiB of memory"
    return f"{text}: {'fits' if fits else 'does not fit'} {workers} x {need / GIB:.2f} GiB"
