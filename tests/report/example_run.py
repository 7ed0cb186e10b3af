"""Run folders for the tests, written with the run's own modules: metrics, rollouts, config, summary, tokenizer."""

import json
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rewards.verdict import Reward
from srm_ray.intervals import wilson
from srm_ray.report.token_text import _byte_of_character
from srm_ray.rl.types import Completion, Group, Prompt
from srm_ray.runs import rollout_log
from srm_ray.runs.folder import RunFolder
from srm_ray.runs.metrics import MetricsLog

END_THINK, STOP = 256, 257  # ids after the 256 bytes
HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> <b>bold</b> & &amp;"
)


def make(
    path: Path,
    *,
    steps: int = 3,
    groups: int = 4,
    group_size: int = 4,
    characters: int = 30,
    texts: dict[int, str] | None = None,
    complete: bool = True,
) -> RunFolder:
    """texts: answers of the first completion of the first group, by step."""
    folder = RunFolder(path, stage="grpo")
    folder.create()
    config = {"steps": steps, "seed": 7, "rollout": {"group_size": group_size, "temperature": 1.0}, "model": ""}
    folder.config.write_text(yaml.safe_dump(config))
    for step in range(1, steps + 1):
        add_step(
            folder, step, groups=groups, group_size=group_size, characters=characters, text=(texts or {}).get(step)
        )
    record_events(folder, steps)
    write_tokenizer(folder)
    if complete:
        folder.write_summary(summary(steps))
    return folder


def record_events(folder: RunFolder, steps: int) -> None:
    """What the loop records: see srm_ray.grpo, srm_ray.runs.watch."""
    record = folder.record_event
    record("started", step=0, model="m", learner={"threads": 2})
    record("continued", step=1)
    record("restarted", step=2, role="rollout", worker="rollout-0", cause="the engine process ended", wait=1.0)
    record("scaled", step=2, role="rollout", workers=2, cause="free resources")
    said = "60% of the completions were cut at the token limit (limit 50%)"
    record("alarm", alarm="truncated", about="", step=2, value=0.6, limit=0.5, text=said)
    record("alarm_over", alarm="truncated", about="", step=max(3, steps // 2))


def add_suites(
    folder: RunFolder, *, start: dict[str, float], measured: dict[int, tuple[float, ...]], best: int
) -> None:
    """What `eval.suite` leaves in a run. measured: scores by step, in the order of `start`; step `best` was kept."""
    lines = [json.loads(line) for line in folder.metrics.read_text().splitlines()]
    for line in lines:
        if scores := measured.get(line["step"]):
            line |= {f"suite/{name}": score for name, score in zip(start, scores, strict=True)}
            line |= {"suite/mean": sum(scores) / len(scores), "suite/kept": int(line["step"] == best)}
    folder.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder.write_summary((folder.read_summary() or {}) | {"suites": {"start": start}})


def add_step(
    folder: RunFolder, step: int, *, groups: int = 4, group_size: int = 4, characters: int = 30, text: str | None = None
) -> None:
    made = [group_of(step, number, group_size, characters, text if number == 0 else None) for number in range(groups)]
    kept = {group.prompt.index for group in made if len({reward.value for reward in group.rewards}) > 1}
    learner = [(group, [learned(completion) for completion in group.completions]) for group in made]
    proofs = [one for one in learner if one[0].prompt.index in kept]
    rollout_log.write(folder.rollouts, step, made, {(index, 0) for index in kept}, proofs)
    MetricsLog(folder.metrics).write(metrics(step, made, kept))


def group_of(step: int, number: int, size: int, characters: int, text: str | None) -> Group:
    draw = random.Random(f"{step}/{number}")
    a, b = draw.randrange(100), draw.randrange(100)
    prompt = Prompt(
        index=1000 * step + number,
        token_ids=(1, 2),
        text=f"<|im_start|>user\nWhat is {a}+{b}?<|im_end|>\n<|im_start|>assistant\n<think>\n",
        answer=str(a + b),
    )
    completions, rewards = [], []
    for sample in range(size):
        right = draw.random() < 0.5
        said = a + b if right else a + b + draw.randrange(1, 9)
        thought = f"{a}+{b}={said} " * (1 + draw.randrange(max(1, characters // 4)))
        own = text if sample == 0 and text is not None else f"\\boxed{{{said}}}"
        completions.append(completion_of(f"{thought}\n</think>\n{own}", step, sample, draw))
        rewards.append(
            Reward(float(right), right, "correct" if right else "wrong", parts={"math": float(right), "format": 1.0})
        )
    values = np.array([reward.value for reward in rewards], np.float32)
    spread = float(values.std()) or 1.0
    return Group(prompt, tuple(completions), 0, tuple(rewards), (values - values.mean()) / np.float32(spread))


def completion_of(text: str, step: int, sample: int, draw: random.Random) -> Completion:
    ids = encode(text)
    half = len(ids) // 2
    return Completion(
        token_ids=np.array(ids, np.int32),
        logprobs=np.array([-draw.expovariate(3) for _ in ids], np.float32),
        versions=np.array([max(0, step - 2)] * half + [step - 1] * (len(ids) - half), np.int32),
        finish_reason="stop",
        seed=2**62 + sample,
        text=text,
        worker="rollout-0",
    )


def learned(completion: Completion) -> np.ndarray:
    """The learner's log-probabilities: close to the sampler's, but for one token in thirty."""
    draw = np.random.default_rng(completion.seed % 2**32 + len(completion.token_ids))
    noise = draw.normal(0, 1e-3, len(completion.token_ids)) + 0.4 * (draw.random(len(completion.token_ids)) < 1 / 30)
    return completion.logprobs + noise.astype(np.float32)


def encode(text: str) -> list[int]:
    before, closed, after = text.partition("</think>")
    return [*before.encode(), *([END_THINK] if closed else []), *after.encode(), STOP]


def write_tokenizer(folder: RunFolder) -> None:
    """A byte-level vocabulary of single bytes, and two tags."""
    folder.final.mkdir(exist_ok=True)
    added = [{"id": END_THINK, "content": "</think>"}, {"id": STOP, "content": "<|im_end|>"}]
    tokenizer = {
        "model": {"type": "BPE", "vocab": dict(_byte_of_character())},
        "pre_tokenizer": {"type": "ByteLevel"},
        "added_tokens": added,
    }
    (folder.final / "tokenizer.json").write_text(json.dumps(tokenizer))


def metrics(step: int, made: list[Group], kept: set[int]) -> dict[str, Any]:
    rewards = [reward for group in made for reward in group.rewards]
    lengths = [len(completion.token_ids) for group in made for completion in group.completions]
    noise = random.Random(step)
    return {
        "step": step,
        "reward/mean": sum(reward.value for reward in rewards) / len(rewards),
        "reward/accuracy": sum(reward.correct is True for reward in rewards) / len(rewards),
        "reward/undecided": 0,
        "groups/kept": len(kept),
        "groups/dropped_uniform": len(made) - len(kept),
        "groups/dropped_stale": int(step % 40 > 36),
        "completion/length_mean": sum(lengths) / len(lengths),
        "completion/truncated_fraction": 0.0,
        "policy/entropy": 0.2 + 0.4 * math.exp(-step / 30) + noise.uniform(0, 0.05),
        "policy/mismatch_kl": 1e-4 * noise.uniform(0.5, 2),
        "policy/mismatch_abs": 3e-3 * noise.uniform(0.5, 2),
        "policy/grad_norm": noise.uniform(0.3, 0.7),
        "policy/clip_fraction_high": noise.uniform(0, 0.004),
        "policy/clip_fraction_low": noise.uniform(0, 0.002),
        "staleness/mean": noise.uniform(0.2, 0.9),
        "staleness/max": 1 + step % 2,
        "rollout/workers": 1 + (step % 50 > 20),
        "reward/workers": 1,
        "queue/groups_ready": noise.randrange(4),
        "queue/groups_in_flight": 12 + noise.randrange(6),
        "restarts/rollout": (step > 1) + step // 60,
        "restarts/reward": step // 45,
        "restarts/learner": 0,
        "alarms/fired": int(step > 1),
        "time/rollout": noise.uniform(2, 3),
        "time/reward": 0.05,
        "time/learn": 1.1,
        "time/sync": 0.1,
        "time/step": 4.4,
        "throughput/rollout_tokens_per_s": noise.uniform(3000, 4000),
        "throughput/learner_tokens_per_s": noise.uniform(6000, 7000),
    }


def summary(steps: int) -> dict[str, Any]:
    def side(right: int, thinks: int, characters: float) -> dict[str, Any]:
        return {
            "accuracy": wilson(right, 1000).to_plain(),
            "thinks": wilson(thinks, 1000).to_plain(),
            "thinking_characters": characters,
            "tokens": 2 * characters,
            "truncated": 0.0,
        }

    before, after = side(430, 400, 8.2), side(720, 940, 19.5)
    return {
        "steps": steps,
        "wall_seconds": 400.0,
        "train_seconds": 300.0,
        "accuracy_before": before["accuracy"],
        "accuracy_after": after["accuracy"],
        "before": before,
        "after": after,
        "restarts": 1,
    }


def add_episode(folder: RunFolder, step: int) -> None:
    """The first completion of a step becomes an episode of two turns, with a call between them."""
    path = rollout_log.path_of(folder.rollouts, step)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    text = "let me add<call>3</call>it is 3"
    ids = [*text.encode(), STOP]
    first, second = text.index("<call>") + len("<call>"), text.index("it is 3")
    calls = [{"name": "add", "arguments": {"a": 1, "b": 2}, "result": "<b>3</b>", "error": False}]
    turn = {"seed": 1, "worker": "rollout-0", "observation": "", "reward": None}
    turns = [
        turn | {"start": 0, "end": first, "text": text[:first], "calls": calls},
        turn | {"start": second, "end": len(ids), "text": text[second:], "calls": []},
    ]
    episode = {"turns": turns, "reward": 1.0, "correct": None, "failure": "", "truncated": "turns"}
    logprobs = [-0.5 if n < first or n >= second else 0.0 for n in range(len(ids))]
    lines[0] |= {
        "completion": text, "token_ids": ids, "logprobs": logprobs, "learner_logprobs": logprobs,
        "versions": [[step, len(ids)]], "episode": episode,
    }  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
