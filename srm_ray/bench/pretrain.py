"""Pretraining on Ray Train and DeepSpeed beside a bare PyTorch loop: same model, rows, batch and precision."""

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srm_ray.data.packing import Rows
    from srm_ray.training.job import TrainSpec

VOCABULARY, ROW, BATCH, STEPS, WARM = 4096, 256, 16, 24, 6


def measure() -> dict[str, Any]:
    """Tokens/s of both: upper quartiles of the steps after the first few, since whatever else the machine does
    can only slow a step down. The bare loop runs before and after ours.

    The bare loop reads packed rows too (documents apart), computes with the same products, clips, and steps a
    fused AdamW: what one would write by hand.
    """
    from actors.runtime import cluster, compute
    from actors.train import run
    from srm_ray.config.stages import OptimConfig
    from srm_ray.data.packing import save_rows
    from srm_ray.runs.metrics import read
    from srm_ray.training.job import TrainSpec
    from srm_ray.training.schedule import Schedule

    with tempfile.TemporaryDirectory() as scratch, cluster.session():
        folder = Path(scratch)
        model = fresh_model(folder / "model")
        save_rows(packed_rows(), folder / "rows")
        job = TrainSpec(
            name="bench",
            model=str(model),
            rows=str(folder / "rows"),
            destination=str(folder / "final"),
            schedule=Schedule(peak=1e-3, floor=1e-4, steps=STEPS, warmup=2),
            optim=OptimConfig(
                batch=BATCH,
                micro_batch=BATCH,
                precision=compute.settle_training("auto", gpu=compute.trains_on_gpus(1)),
            ),
            seed=1,
            run_dir=str(folder / "run"),
            checkpoint_every=STEPS + 1,
        )
        bare = bare_rates(job)
        (folder / "run").mkdir()
        run.run([job], workers=1, storage=folder / "ray", progress=lambda line: None)
        ours = [line["throughput/learner_tokens_per_s"] for line in read(folder / "run" / "metrics.jsonl")][WARM:]
        bare += bare_rates(job)
    result: dict[str, Any] = {"tokens_per_s": upper_quartile(ours), "bare_tokens_per_s": upper_quartile(bare)}
    result["precision"] = job.optim.precision
    result["ratio"] = result["tokens_per_s"] / result["bare_tokens_per_s"]
    print(
        f"pretrain  {result['tokens_per_s']:,.0f} tokens/s, bare PyTorch {result['bare_tokens_per_s']:,.0f}: "
        f"{result['ratio']:.2f}"
    )
    return result


def upper_quartile(values: list[float]) -> float:
    return sorted(values)[3 * len(values) // 4]


def fresh_model(folder: Path) -> Path:
    """The tiny shape with a vocabulary learnt from Python's own reference."""
    from pydoc_data.topics import topics

    from srm_ray.model import shapes, tokenization
    from srm_ray.model.folder import save_model

    tokenization.save(tokenization.wrap(tokenization.train(topics.values(), VOCABULARY), context=512), folder)
    model = shapes.build(shapes.shape("tiny", vocab_size=VOCABULARY), seed=1)
    lineage = {"stage": "init", "parent": ""}
    save_model(model, dict(model.named_parameters()), folder, tokenizer_from=folder, lineage=lineage)
    return folder


def packed_rows() -> "Rows":
    """Documents of 40 to 250 made-up tokens in `BATCH` x `STEPS` rows."""
    import numpy as np

    from srm_ray.data.packing import pack

    draw = np.random.default_rng(1)
    sizes = draw.integers(40, 250, 2 * BATCH * STEPS)
    made = ((draw.integers(300, VOCABULARY, size), np.ones(size, bool)) for size in sizes)
    return pack(made, ROW).take(slice(0, BATCH * STEPS))


def bare_rates(job: "TrainSpec") -> list[float]:
    import torch
    from transformers import AutoModelForCausalLM

    from srm_ray.data.packing import batch_rows, open_rows
    from srm_ray.model.precision import torch_dtype

    reduced = torch_dtype(job.optim.precision)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=job.optim.betas, weight_decay=0.1, fused=True)
    rows, rates = open_rows(Path(job.rows)), []
    for step in range(STEPS // 2 + WARM):
        began = time.perf_counter()
        batch = rows.take(batch_rows(len(rows), step, job.optim.batch, job.seed))
        tokens, positions = torch.from_numpy(batch.tokens).long(), torch.from_numpy(batch.positions).long()
        labels = tokens.masked_fill(~torch.from_numpy(batch.mask), -100)
        with torch.autocast("cpu", dtype=reduced or torch.bfloat16, enabled=reduced is not None):
            logits = model(input_ids=tokens, position_ids=positions, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), job.optim.clip_grad)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        rates.append(tokens.numel() / (time.perf_counter() - began))
    return rates[WARM:]
