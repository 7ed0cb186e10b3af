"""`--inspect`: the problems as a run would see them, without starting anything."""

import json
from pathlib import Path

import pytest

from srm_ray import distill


def test_problems_are_shown_with_gold_grader_and_what_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"question": "Which is 2?", "choices": ["one", "two"], "answer": 1, "subject": "numbers"},
        {"prompt": "1+1?", "answer": ["2", "two"]},
        {"prompt": "Write f.", "tests": ["assert f(1) == 1"]},
        {"prompt": "2+2?", "answer": None},
    ]
    path = tmp_path / "mixed.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = ["--endpoint.url", "http://localhost:1/v1", "--data.path", str(path), "--data.system", "Be brief."]
    assert distill.main([*argv, "--inspect", "9", "--data.max_dropped", "0.5", "--run_dir", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert (
        "3 of 4 rows" in said and "not used: subject" in said and "1 answer is null" in said and "mixed.jsonl:4" in said
    )
    assert "B. two" in said and "gold    B" in said and "grader  choice" in said
    assert "gold    2 or two" in said and "grader  math" in said
    assert "tests   assert f(1) == 1" in said and "grader  code" in said
    assert said.count("[system]\nBe brief.") == 3
    assert not (tmp_path / "run").exists()
