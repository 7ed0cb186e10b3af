"""`python -m srm_ray.bench.gpu`: the learner's arithmetic on a GPU, in at most ten minutes.

precision  log-probabilities of FP32, BF16 and FP16 products on the device, against FP64 on the CPU
packing    loss and gradient of packed groups, against their completions one by one
speed      tokens/s, MFU and peak memory of a step of 8 prompts x 8 completions, at shapes of 135M and 1B parameters
ipc        weights read by another process where the learner has them, and how a changed word shows

It needs PyTorch and transformers and nothing else of what the project installs, so that a machine which has those, and
no network, can run it from a copy of the source. Without a GPU everything but `ipc` runs on the CPU, with `--small` in
seconds: what its test does.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rewards.verdict import Reward
from srm_ray.console.command import interactive
from srm_ray.model.policy import PolicyModel
from srm_ray.model.shapes import PRESETS, Shape, build, parameters
from srm_ray.rl.advantages import group_advantages
from srm_ray.rl.batching import PackedBatch, micro_batches
from srm_ray.rl.types import Completion, Group, Prompt
from srm_ray.training.flops import peak_flops
from srm_ray.weights.ipc import Handle, checksum, cuda_handle, share

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

# 127,177,344 and 953,244,672 parameters.
SIZES = {"135m": Shape(d_model=640, layers=24, q_heads=5, kv_heads=1, ffn=1792, context=2048), "1b": PRESETS["1b"]}
SMALL = Shape(d_model=128, layers=2, q_heads=1, kv_heads=1, ffn=256, context=512, vocab_size=512)
PRODUCTS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
STEPS = 5  # timed, after two that are not
TOLERANCE = 1e-4  # of packed against unpacked FP32 gradients, of the largest


@interactive
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m srm_ray.bench.gpu", description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="tiny shapes, for a try without a GPU")
    parser.add_argument("--json", default="", help="also write the numbers to this file")
    options = parser.parse_args(argv)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    torch.backends.cuda.matmul.allow_tf32 = False
    results: dict[str, Any] = {"device": name, "torch": torch.__version__}
    print(f"{name}, PyTorch {torch.__version__}", flush=True)
    groups = random_groups(prompts=3, completions=4, prompt=24, longest=40, vocabulary=SMALL.vocab_size)
    report(results, "precision", precision(device, groups))
    report(results, "packing", packing(device, groups))
    for label, size in {"small": SMALL}.items() if options.small else SIZES.items():
        report(results, label, speed(device, size, small=options.small))
    report(results, "ipc", ipc() if device == "cuda" else {"not run": "no GPU"})
    if options.json:
        with open(options.json, "w") as file:
            json.dump(results, file, indent=2)
    return 0 if results["packing"]["gradient"] < TOLERANCE and results["ipc"].get("proved", True) else 1


def report(results: dict[str, Any], label: str, found: dict[str, Any]) -> None:
    results[label] = found
    print(f"{label}: " + ", ".join(f"{name} {shown(value)}" for name, value in found.items()), flush=True)


def shown(value: Any) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)


def random_groups(*, prompts: int, completions: int, prompt: int, longest: int, vocabulary: int) -> tuple[Group, ...]:
    """Groups of random tokens, completions of half to all of `longest`."""
    rng = np.random.default_rng(3407)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(rng.integers(3, vocabulary, count).tolist())

    def completion(place: int) -> Completion:
        count = longest - int(rng.integers(longest // 2 + 1))
        ids = np.array(tokens(count), np.int32)
        versions = np.zeros(count, np.int32)
        return Completion(ids, np.full(count, -1.0, np.float32), versions, "stop", place, "", "worker")

    made = []
    for index in range(prompts):
        rewards = tuple(Reward(float(place % 2), bool(place % 2), "correct") for place in range(completions))
        asked = Prompt(index=index, token_ids=tokens(prompt), text="", answer="1")
        advantages = group_advantages([reward.value for reward in rewards], normalise_std=True)
        sampled = tuple(completion(place) for place in range(completions))
        made.append(Group(asked, sampled, rewards=rewards, advantages=advantages))
    return tuple(made)


def scored(policy: PolicyModel, batch: PackedBatch, device: str) -> torch.Tensor:
    """Log-probabilities [C] of a packed batch."""
    from srm_ray.model.packed_attention import AttentionLayout

    def on(values: np.ndarray) -> torch.Tensor:
        return torch.tensor(values, device=device)

    layout = AttentionLayout([on(rows) for rows in batch.buckets], on(batch.output_T))
    given = (on(batch.tokens_T), on(batch.positions_T))
    found, _ = policy(*given, layout, on(batch.predict_C), on(batch.targets_C))
    return found


def precision(device: str, groups: Sequence[Group]) -> dict[str, float]:
    """Largest difference of a log-probability from FP64's, for each dtype of the products."""
    [[batch]] = micro_batches(groups, budget=10**6, ranks=1)
    with torch.no_grad():
        wanted = scored(PolicyModel(build(SMALL, seed=1).double()), batch, "cpu")
        found = {}
        for name, dtype in PRODUCTS.items():
            policy = PolicyModel(build(SMALL, seed=1).to(device), autocast=dtype)
            found[name] = float((scored(policy, batch, device).cpu() - wanted).abs().max())
    return found


def packing(device: str, groups: Sequence[Group]) -> dict[str, float]:
    """Differences of loss and gradient between one packed row and rows of one completion, of the largest, in FP32."""
    results = []
    for parts in ([groups], [[alone] for group in groups for alone in apart(group)]):
        policy = PolicyModel(build(SMALL, seed=1).to(device))
        loss = 0.0
        for part in parts:
            [[batch]] = micro_batches(part, budget=10**6, ranks=1)
            advantage = torch.tensor(batch.advantages_C, device=device)
            one = -(scored(policy, batch, device) * advantage).sum()
            one.backward()
            loss += float(one.detach())
        gradients = [weight.grad.reshape(-1) for weight in policy.parameters() if weight.grad is not None]
        results.append((loss, torch.cat(gradients)))
    (packed, gradient), (alone, wanted) = results
    largest = float(wanted.abs().max())
    return {
        "loss": abs(packed - alone) / max(1.0, abs(alone)),
        "gradient": float((gradient - wanted).abs().max()) / largest,
    }


def apart(group: Group) -> list[Group]:
    """A group of one completion for each of a group's."""
    assert group.advantages is not None
    parts = zip(group.completions, group.rewards, np.split(group.advantages, len(group.completions)), strict=True)
    return [Group(group.prompt, (one,), 0, (reward,), advantage) for one, reward, advantage in parts]


def speed(device: str, size: Shape, *, small: bool) -> dict[str, Any]:
    """A learner's step: forward, backward, clipping, AdamW; FP32 weights, BF16 products."""
    count = 2 if small else 8
    lengths = {"prompt": 16, "longest": 24} if small else {"prompt": 128, "longest": 256}
    groups = random_groups(prompts=count, completions=count, vocabulary=size.vocab_size, **lengths)
    [batches] = micro_batches(groups, budget=16_384, ranks=1)
    model = build(size, seed=1).to(device).train()
    policy = PolicyModel(model, autocast=torch.bfloat16)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-6, fused=device == "cuda")

    def step() -> None:
        for batch in batches:
            advantage = torch.tensor(batch.advantages_C, device=device)
            (-(scored(policy, batch, device) * advantage).sum()).backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = timed(step, device)
    tokens = sum(len(batch.tokens_T) for batch in batches)
    found = {
        "parameters": parameters(size),
        "packed tokens": tokens,
        "seconds a step": seconds,
        "packed tokens/s": tokens / seconds,
        "MFU": 6 * parameters(size) * tokens / seconds / (peak_flops(True) or float("nan")),
    }
    if device == "cuda":
        found["peak GiB"] = torch.cuda.max_memory_allocated() / 2**30
    return found


def timed(step: Callable[[], None], device: str) -> float:
    """Seconds of a step, the mean of `STEPS` after two."""
    for count in range(STEPS + 2):
        if count == 2:
            wait(device)
            began = time.perf_counter()
        step()
    wait(device)
    return (time.perf_counter() - began) / STEPS


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def ipc() -> dict[str, Any]:
    """Weights of 135M parameters that another process opens: whether its checksum is the publisher's, and no longer is
    after one word has changed; seconds of publishing and of opening and summing."""
    model = build(SIZES["135m"], seed=1).to("cuda")
    named = [(name, weight.detach()) for name, weight in model.named_parameters()]
    handles: list[Handle] = []

    def handle(weight: torch.Tensor) -> Handle:
        handles.append(cuda_handle(weight))
        return handles[-1]

    began = time.perf_counter()
    update = share(1, named, handle)
    published = time.perf_counter() - began
    processes = torch.multiprocessing.get_context("spawn")
    questions, answers = processes.Queue(), processes.Queue()
    reader = processes.Process(target=read_weights, args=(handles, questions, answers), daemon=True)
    reader.start()
    try:
        questions.put("sum")
        first, opened = answers.get(timeout=120)
        with torch.no_grad():
            named[0][1].view(-1)[7] += 1
        torch.cuda.synchronize()
        questions.put("sum")
        second, again = answers.get(timeout=120)
        questions.put("")
        reader.join(60)
    finally:
        reader.kill()
    return {
        "proved": first == update.digest != second,
        "seconds to publish": published,
        "seconds to open and sum": opened,
        "seconds to sum": again,
        "MB": sum(weight.nbytes for _, weight in named) / 1e6,
    }


def read_weights(handles: list[Handle], questions: "Queue[str]", answers: "Queue[tuple[str, float]]") -> None:
    """In the other process: open each handle, and report the checksum of all as often as it is asked for."""
    from torch.multiprocessing.reductions import rebuild_cuda_tensor

    began = time.perf_counter()
    tensors = [rebuild_cuda_tensor(*arguments) for one in handles for arguments in one.values()]
    while questions.get():
        found = checksum(tensors)
        answers.put((found, time.perf_counter() - began))
        began = time.perf_counter()


if __name__ == "__main__":
    sys.exit(main())
