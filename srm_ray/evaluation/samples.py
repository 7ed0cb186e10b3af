"""`samples/<suite>.jsonl`: answered problems, appended as they come, so that a killed evaluation goes on.

One line a completion, in the form of a run's rollouts (see `srm_ray.runs.rollout_log`), which the report's viewer
shows. The lines hold nothing that depends on time or on who answered: the same seed gives the same file.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srm_ray.evaluation.grading import Sample
from srm_ray.evaluation.suites import Item
from srm_ray.files.atomic import append, write_atomically

Line = dict[str, Any]


def lines_of(item: Item, samples: Sequence[Sample]) -> list[Line]:
    return [
        {
            "prompt_index": item.index,
            "draw": 0,
            "sample": number,
            "prompt": sample.completion.prompt,
            "completion": sample.completion.text,
            "gold": item.answer if item.answer is not None else item.entry_point,
            "reward": float(sample.verdict.correct is True),
            "correct": sample.verdict.correct,
            "reason": sample.verdict.reason,
            "parts": {},
            "advantage": 0.0,
            "kept": True,
            "finish_reason": "length" if sample.completion.truncated else "stop",
            "seed": sample.completion.seed,
            "versions": [],
            "tokens": sample.completion.tokens,
            "answer": sample.verdict.answer,
            "group": sample.group,
            "finished": sample.finished,
            "boxed": sample.boxed,
        }
        for number, sample in enumerate(samples)
    ]


class SampleFile:
    """The problems of one suite that are answered. n: samples of each problem; one with fewer is asked again."""

    def __init__(self, path: Path, n: int) -> None:
        self.path, self.n = path, n
        self.done: dict[int, list[Line]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        found: dict[int, list[Line]] = {}
        for line in read(path):
            found.setdefault(line["prompt_index"], []).append(line)
        self.done = {index: lines for index, lines in found.items() if len(lines) == n}
        if path.is_file():
            self._write(self.done)  # without the half line or half problem that a kill may have left

    def add(self, index: int, lines: list[Line]) -> None:
        """Append a problem's samples, in one write."""
        append(self.path, "".join(json.dumps(line) + "\n" for line in lines))
        self.done[index] = lines

    def finish(self, indices: Sequence[int]) -> list[list[Line]]:
        """The samples of these problems, in their order, and the file in that order too."""
        self._write(self.done)
        return [self.done[index] for index in indices]

    def _write(self, problems: dict[int, list[Line]]) -> None:
        write_atomically(
            self.path, "".join(json.dumps(line) + "\n" for _, ls in sorted(problems.items()) for line in ls)
        )


def read(path: Path) -> list[Line]:
    """Lines of a samples file; one cut short by a kill, and what follows it, is left out."""
    lines: list[Line] = []
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    found = json.loads(text)
                except (ValueError, RecursionError):
                    break
                if not isinstance(found, dict):
                    break
                lines.append(found)
    return lines
