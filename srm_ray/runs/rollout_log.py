"""`rollouts/step_<n>.jsonl`: every completion of a step, so that it can be read, searched and replayed.

One line a completion: `prompt_index`, `draw`, `sample`, `prompt`, `completion`, `gold`, `reward`, `correct`,
`reason`, `parts`, `advantage`, `kept` (trained on), `finish_reason`, `seed`, `worker`, `token_ids`,
`logprobs` (as sampled), `versions` (of each token, as [version, count] runs), and on the first line of a
group `prompt_ids`. Floats are written so that they read back bit for bit.
"""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from srm_ray.rl.types import Group


def path_of(folder: Path, step: int) -> Path:
    return folder / f"step_{step:06d}.jsonl"


def write(folder: Path, step: int, groups: Iterable[Group], kept: set[tuple[int, int]]) -> None:
    """Write the groups judged in `step`; `kept` holds (prompt index, draw) of those trained on."""
    folder.mkdir(parents=True, exist_ok=True)
    path = path_of(folder, step)
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w") as file:
        for group in groups:
            for sample in range(len(group.completions)):
                file.write(json.dumps(_line(group, sample, (group.prompt.index, group.draw) in kept)) + "\n")
    partial.replace(path)


def _line(group: Group, sample: int, kept: bool) -> dict[str, Any]:
    completion, reward = group.completions[sample], group.rewards[sample]
    assert group.advantages is not None, "advantages come before the log"
    line: dict[str, Any] = {
        "prompt_index": group.prompt.index,
        "draw": group.draw,
        "sample": sample,
        "prompt": group.prompt.text,
        "completion": completion.text,
        "gold": group.prompt.answer,
        "reward": reward.value,
        "correct": reward.correct,
        "reason": reward.reason,
        "parts": reward.parts,
        "advantage": float(group.advantages[sample]),
        "kept": kept,
        "finish_reason": completion.finish_reason,
        "seed": completion.seed,
        "worker": completion.worker,
        "token_ids": completion.token_ids.tolist(),
        "logprobs": completion.logprobs.tolist(),
        "versions": [[version, len(list(run))] for version, run in itertools.groupby(completion.versions.tolist())],
    }
    if sample == 0:
        line["prompt_ids"] = list(group.prompt.token_ids)
    return line


def discard_after(folder: Path, step: int) -> None:
    """Remove the steps that a continued run does again."""
    for path in folder.glob("step_*.jsonl"):
        if int(path.stem.removeprefix("step_")) > step:
            path.unlink()
