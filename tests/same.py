"""Comparisons of runs, bit for bit, that say where two differ: the step and field, the file and line, the tensor.

python -m tests.same RUN EXPECTED compares two run folders.
"""

import itertools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

SHOWN = 10  # differences in a message


def same_runs(found: Path, expected: Path) -> None:
    """Two run folders' logged steps, times apart, and the weights that they end with."""
    from srm_ray.runs.metrics import read, without_times

    one, other = ([without_times(line) for line in read(run / "metrics.jsonl")] for run in (found, expected))
    same_steps(one, other)
    same_weights(found / "final", expected / "final")


def same_steps(found: Sequence[dict[str, Any]], expected: Sequence[dict[str, Any]], names: Iterable[str] = ()) -> None:
    """Logged steps have equal fields. names: of these fields alone."""
    assert [line["step"] for line in found] == [line["step"] for line in expected]
    chosen, missing = set(names), object()
    told = []
    for one, other in zip(found, expected, strict=True):
        for name in chosen or one.keys() | other.keys():
            here, there = one.get(name, missing), other.get(name, missing)
            if here != there or here is missing:
                shown = ["missing" if value is missing else repr(value) for value in (here, there)]
                told.append(f"step {one['step']}: {name} is {shown[0]}, expected {shown[1]}")
    assert not told, _listed(told)


def same_files(found: Path, expected: Path, pattern: str) -> None:
    """Text files of two folders have equal names and lines."""
    names = [sorted(path.name for path in folder.glob(pattern)) for folder in (found, expected)]
    assert names[0] == names[1], f"files of {found} and of {expected}"
    assert names[0], f"no {pattern} in {found}"
    told = []
    for name in names[0]:
        lines = [(folder / name).read_text().splitlines() for folder in (found, expected)]
        for number, (one, other) in enumerate(itertools.zip_longest(*lines), 1):
            if one != other:
                told.append(f"{name}:{number}:\n  {one}\n  expected\n  {other}")
    assert not told, _listed(told)


def same_weights(found: Path, expected: Path) -> None:
    """The `model.safetensors` of two folders, or of two runs' `final`, hold equal tensors."""
    from safetensors.torch import load_file

    one, other = (load_file(folder / "model.safetensors") for folder in (found, expected))
    assert one.keys() == other.keys()
    told = [
        f"{name}: {int((one[name] != other[name]).sum())} of {one[name].numel()} values differ, by at most "
        f"{float((one[name].double() - other[name].double()).abs().max()):.3g}"
        for name in one
        if not one[name].equal(other[name])
    ]
    assert not told, _listed(told)


def same_completions(found: Iterable[Any], expected: Iterable[Any], fields: Sequence[str], where: str = "") -> None:
    """Completions, in order, have equal arrays in these fields."""
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        for field in fields:
            said = f"{where} completion {number} (seed {other.seed}): {field}"
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field), err_msg=said)


def _listed(told: list[str]) -> str:
    more = [f"and {len(told) - SHOWN} more"] if len(told) > SHOWN else []
    return "\n".join([f"{len(told)} differences", *told[:SHOWN], *more])


if __name__ == "__main__":
    same_runs(*map(Path, sys.argv[1:]))
    print("the same bits")
