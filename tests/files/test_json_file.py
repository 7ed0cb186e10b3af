"""JSON files that a folder from elsewhere may hold: what is none of ours is one line, whoever reads it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rewards.golds import listed
from srm_ray.data.messages import from_json as column
from srm_ray.errors import UserError
from srm_ray.evaluation import results, samples
from srm_ray.files.json_file import read_object
from srm_ray.gguf.architecture import read_architecture
from srm_ray.model.chat_template import read_template
from srm_ray.model.lineage import read_lineage
from srm_ray.report.evaluation_files import find_evaluation, read_json
from srm_ray.runs import trackers
from srm_ray.runs.folder import RunFolder
from srm_ray.speedrun import chain

NONE_OF_OURS = ["[1]", "7", "", "{", "[" * 100_000, '{"a":' * 100_000, "9" * 5000, b"\xff\xfe", '"\x1b]52;c;x\x07"']
READERS: dict[str, Callable[[Path], Any]] = {
    "lineage.json": read_lineage,
    "config.json": read_architecture,
    "results.json": results.read,
    "tax.json": lambda folder: read_json(folder / "tax.json"),
    "stage.json": chain.read,
    "trackers.json": lambda folder: trackers._read_ids(RunFolder(folder, stage="sft")),
    "chat_template.json": lambda folder: read_template(folder / "chat_template.json"),
}


def write(path: Path, content: str | bytes) -> None:
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", NONE_OF_OURS, ids=lambda one: repr(one[:8]))
def test_what_is_no_object_is_refused_in_one_line(tmp_path: Path, name: str, content: str | bytes) -> None:
    write(tmp_path / name, content)
    with pytest.raises(UserError, match=name.split(".")[0]) as refused:
        READERS[name](tmp_path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("lineage.json", {"data": [1]}),
        ("lineage.json", {"eval_loss": "low"}),
        ("results.json", {"model": 1, "fingerprint": "", "suites": [1]}),
        ("results.json", {"suites": {"a": 7}}),
        ("stage.json", {"more": 1}),
        ("chat_template.json", {"chat_template": 7}),
    ],
    ids=str,
)
def test_values_of_other_types_are_refused_in_one_line(tmp_path: Path, name: str, content: dict[str, Any]) -> None:
    write(tmp_path / name, json.dumps(content))
    with pytest.raises(UserError, match=name.split(".")[0]):
        READERS[name](tmp_path)


def test_a_file_without_an_end_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match=r"large\.json cannot be read \(longer than 64 MB"):
        read_object(tmp_path / "large.json")


@pytest.mark.parametrize("content", NONE_OF_OURS, ids=lambda one: repr(one[:8]))
def test_what_is_left_out_is_left_out(tmp_path: Path, content: str | bytes) -> None:
    """Samples from there on; another run's results; a column and a gold as the text that they are."""
    good = b'{"problem": 1}\n'
    (tmp_path / "samples.jsonl").write_bytes(good + (content.encode() if isinstance(content, str) else content) + b"\n")
    assert samples.read(tmp_path / "samples.jsonl") == [{"problem": 1}]
    (tmp_path / "other").mkdir()
    write(tmp_path / "other" / "results.json", content)
    assert find_evaluation([tmp_path], model=tmp_path / "m", fingerprint="") is None
    if isinstance(content, str):
        assert listed(content + '"]') == content + '"]'


def test_a_deep_column_is_the_text_that_it_is() -> None:
    assert column("[" * 100_000, "answer") == "[" * 100_000
