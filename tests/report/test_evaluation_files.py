"""Which evaluation a model card shows: one of these weights, with the capability tax where there is one."""

import json
import os
from pathlib import Path

import pytest

from srm_ray.report.evaluation_files import find_evaluation

MODEL = Path("runs/grpo/final")


@pytest.fixture
def made(tmp_path: Path):
    """Writes an evaluation that ended at a time, in seconds."""

    def write(name: str, fingerprint: str, ended: int, *, model: str = str(MODEL), tax: bool = False) -> None:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "results.json").write_text(json.dumps({"model": model, "fingerprint": fingerprint, "suites": {}}))
        os.utime(folder / "results.json", (ended, ended))
        if tax:
            (folder / "tax.json").write_text("{}")

    return write


def found(tmp_path: Path, fingerprint: str = "f") -> str | None:
    path = find_evaluation([tmp_path, tmp_path], model=MODEL, fingerprint=fingerprint)
    return path.name if path else None


def test_the_newest_of_these_weights_wherever_they_lie(tmp_path: Path, made) -> None:
    made("old", "f", 1)
    made("copied", "f", 2, model="elsewhere/final")
    made("others", "g", 3, model="other")
    assert found(tmp_path) == "copied"


def test_other_weights_under_the_same_name_are_not_these(tmp_path: Path, made) -> None:
    made("before", "g", 1)  # the run was made anew since
    assert found(tmp_path) is None


def test_one_with_the_tax_comes_first(tmp_path: Path, made) -> None:
    made("tax", "f", 1, tax=True)
    made("newer", "f", 2)
    assert found(tmp_path) == "tax"


def test_a_hub_name_is_known_by_its_name(tmp_path: Path, made) -> None:
    made("hub", "", 1)
    made("other", "", 2, model="other")
    assert found(tmp_path, fingerprint="") == "hub"


def test_what_is_no_evaluation_is_passed_over(tmp_path: Path, made) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "results.json").write_text("{")
    assert found(tmp_path) is None
    made("whole", "f", 1)
    assert found(tmp_path) == "whole"
