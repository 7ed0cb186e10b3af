"""docs/results.md: every row whole, every command one that starts, every config one that is there."""

import re

import pytest

from tests.doc_commands import ROOT, Command, commands_of
from tests.test_docs import composed

RESULTS = (ROOT / "docs" / "results.md").read_text()
OURS = ["result", "before", "after", "problems", "command", "commit", "machine", "hours", "cost"]
SHARE = re.compile(r"(\d+(?:\.\d)?) % (?:\[(\d+(?:\.\d)?), (\d+(?:\.\d)?)\]|\(interval unknown\))")


def table(heading: str, text: str = RESULTS) -> list[dict[str, str]]:
    """Rows of the table of a section, by the names of their columns."""
    section = text.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, rule, *body = rows
    assert set("".join(rule)) == {"-"}
    for row in body:
        assert len(row) == len(head), f"{len(row)} cells of {len(head)}: {row}"
        assert all(row), f"an empty cell: {row}"
    return [dict(zip(head, row, strict=True)) for row in body]


def command_of(row: dict[str, str]) -> Command:
    [found] = commands_of(row["command"], f"docs/results.md, {row['result']}")
    return found


def check(row: dict[str, str]) -> None:
    """The form of a row. AssertionError, naming what is wrong."""
    for cell in (row["before"], row["after"]):
        found = SHARE.fullmatch(cell)
        assert found, f"{cell!r} is not `12.3 % [10.1, 14.9]`"
        if found[2]:
            low, high = float(found[2]), float(found[3])
            assert low <= float(found[1]) <= high, f"{cell}: outside its interval"
    assert re.match(r"[\d,]+ ", row["problems"]), row["problems"]
    assert re.fullmatch(r"[0-9a-f]{7,40}|unknown", row["commit"]), row["commit"]
    assert re.match(r"\d+\.\d\d\b|unknown", row["hours"]), row["hours"]
    assert re.match(r"own machine$|\$\d|unknown$", row["cost"]), row["cost"]
    assert f"\n- **{row['machine']}**: " in RESULTS, f"the machine {row['machine']!r} is not described"


ROWS = table("Ours")


def test_rows_have_these_cells() -> None:
    assert list(ROWS[0]) == OURS
    assert table("Published by others, and here")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["result"])
def test_a_row_says_all_of_its_result(row: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    check(row)
    composed(command_of(row), monkeypatch)


def test_configs_are_there() -> None:
    named = re.findall(r"`(configs/[\w/.-]+\.yaml)`", RESULTS)
    named += [f"configs/{name}.yaml" for name in re.findall(r"--config (\S+?)`?(?: |$)", RESULTS, re.MULTILINE)]
    assert len(named) > 10
    missing = [name for name in named if not (ROOT / name).is_file()]
    assert not missing


def test_the_log_is_dated_newest_first() -> None:
    section = RESULTS.split("## What did not work\n")[1].split("\n## ")[0]
    entries = [line for line in section.splitlines() if line.startswith("- ")]
    dates = [found[1] for line in entries if (found := re.match(r"- \*\*(\d{4}-\d\d-\d\d), ", line))]
    assert len(dates) == len(entries) > 5
    assert dates == sorted(dates, reverse=True)


def test_what_a_row_lacks_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    good = ROWS[0]
    for wrong, said in (
        ({"after": "99 %"}, "is not"),
        ({"after": "99.2 % [10.0, 20.0]"}, "outside"),
        ({"commit": "today"}, "today"),
        ({"hours": "soon"}, "soon"),
        ({"machine": "mine"}, "not described"),
    ):
        with pytest.raises(AssertionError, match=said):
            check(good | wrong)
    with pytest.raises(AssertionError, match="is refused"):
        composed(command_of(good | {"command": "`.venv/bin/python -m srm_ray.grpo --config grpo/none`"}), monkeypatch)
    with pytest.raises(AssertionError, match="an empty cell"):
        table("Ours", "## Ours\n| a | b |\n|---|---|\n| 1 | |\n")
    with pytest.raises(AssertionError, match="1 cells of 2"):
        table("Ours", "## Ours\n| a | b |\n|---|---|\n| 1 |\n")
