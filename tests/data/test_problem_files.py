"""Files of problems: what is dropped is counted and named, and too much of it is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from srm_ray.data.problem_files import Screen, read_problems
from srm_ray.data.reading import RowSource
from srm_ray.errors import UserError


def write(path: Path, *rows: dict[str, Any]) -> RowSource:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return RowSource(path=str(path))


def problems(count: int) -> list[dict[str, Any]]:
    return [{"question": f"{n} + {n}?", "answer": f"#### {2 * n}"} for n in range(count)]


def test_duplicates_are_dropped_without_counting_as_faults(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", *problems(4), *problems(4), *problems(4))
    read = read_problems(source, screen=Screen(max_dropped=0.0))
    assert len(read.tasks) == 4 and read.drops.counts == {"duplicates": 8} and read.drops.share == 0
    assert len(read_problems(source, screen=Screen(drop_duplicates=False)).tasks) == 12
    assert len(read_problems(source, measuring=True).tasks) == 12


def test_the_same_problem_with_another_answer_is_a_fault(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", *problems(3), {"question": "1 + 1?", "answer": "3"})
    with pytest.raises(UserError, match=r"1 asked before, with another answer \(.*a\.jsonl:4\)"):
        read_problems(source)
    assert [task.answer for task in read_problems(source, screen=Screen(max_dropped=0.25)).tasks] == ["0", "2", "4"]


def test_other_tests_make_another_problem(tmp_path: Path) -> None:
    rows = [{"prompt": "Write f.", "tests": [f"assert f({n}) == {n}"]} for n in range(3)]
    assert len(read_problems(write(tmp_path / "a.jsonl", *rows)).tasks) == 3


def test_what_is_not_used_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_problems(write(tmp_path / "a.jsonl", *({**row, "level": 3, "id": None} for row in problems(30))))
    assert capsys.readouterr().out.count("not used: level") == 1
    read_problems(write(tmp_path / "b.jsonl", *problems(30)))
    assert capsys.readouterr().out == ""


def test_golds_that_the_math_grader_refuses_are_dropped_with_the_gold(tmp_path: Path) -> None:
    source = write(tmp_path / "a.jsonl", *problems(30), {"question": "x?", "answer": "7\0"})
    read = read_problems(source)
    assert len(read.tasks) == 30
    [(reason, named)] = read.drops.examples.items()
    assert "does not read" in reason and "a.jsonl:31 '7\\x00'" in named[0]
    assert len(read_problems(source, graded=False).tasks) == 31


def test_of_several_golds_those_that_are_read_remain(tmp_path: Path) -> None:
    [task] = read_problems(write(tmp_path / "a.jsonl", {"question": "x?", "answer": ["7\0", "7", "8"]})).tasks
    assert (task.answer, task.also_right) == ("7", ("8",))


def test_rows_of_several_schemas_are_read_from_one_folder(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", *problems(2))
    write(tmp_path / "b.jsonl", {"nums": [1, 2], "target": 3}, {"question": "?", "choices": ["x", "y"], "answer": 0})
    tasks = read_problems(RowSource(path=str(tmp_path))).tasks
    assert [task.grader for task in tasks] == ["", "", "countdown", "choice"]


@pytest.mark.parametrize("as_text", [False, True])
def test_a_column_of_which_a_part_is_mapped_is_used(
    as_text: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(**more: object) -> list[dict[str, Any]]:
        infos = [{"answer": {"final": str(n)}, **more} for n in range(30)]
        return [{"q": f"{n} + 0?", "info": json.dumps(i) if as_text else i} for n, i in enumerate(infos)]

    columns = {"prompt": "q", "answer": "info.answer.final"}
    for more in ({}, {"level": 3}):
        path = write(tmp_path / "a.jsonl", *rows(**more)).path
        assert len(read_problems(RowSource(path=path, columns=columns)).tasks) == 30
        said = capsys.readouterr().out
        assert ("not used: info.level" in said) if more else said == ""


def test_a_mapping_to_no_use_is_told(tmp_path: Path) -> None:
    source = RowSource(path=str(tmp_path / "a.jsonl"), columns={"promt": "question"})
    write(tmp_path / "a.jsonl", *problems(2))
    with pytest.raises(UserError, match=r"'promt'; did you mean prompt\?"):
        read_problems(source)
    told = RowSource(path=source.path, columns={"prompt": "question", "answer": "answer"})
    assert len(read_problems(told).tasks) == 2
