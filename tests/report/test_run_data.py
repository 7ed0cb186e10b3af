"""What is read from a run folder: columns, intervals, events, tokens, and which steps go into a file."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from srm_ray.report import events, rollout_data, run_data, token_text
from srm_ray.report.plain import packed
from srm_ray.runs.folder import RunFolder
from tests.report import example_run


def unpack(content: bytes | None) -> dict:
    assert content is not None
    return json.loads(gzip.decompress(content))


def test_columns_intervals_and_summary(tmp_path: Path) -> None:
    run = run_data.load(example_run.make(tmp_path / "r", steps=3))
    assert run["metrics"]["step"] == [1, 2, 3]
    assert {len(column) for column in run["metrics"].values()} == {3}
    for value, low, high in zip(
        *(run["metrics"][f"reward/accuracy{end}"] for end in ("", "_low", "_high")), strict=True
    ):
        assert low <= value <= high
    assert run["before"]["accuracy"]["value"] == 0.43
    assert run["config"]["rollout.group_size"] == 4
    assert run["steps"] == [1, 2, 3]


@pytest.mark.parametrize("spoiled", [{"logprobs": [{"a": 1}]}, {"token_ids": [[1]]}, {"learner_logprobs": "x"}])
def test_a_step_with_what_no_run_writes_is_left_out_of_a_report(tmp_path: Path, spoiled: dict[str, Any]) -> None:
    folder = example_run.make(tmp_path / "r", steps=3)
    path = rollout_data.rollout_log.path_of(folder.rollouts, 2)
    first, *rest = path.read_text().splitlines()
    path.write_text("\n".join([json.dumps(json.loads(first) | spoiled), *rest, ""]))
    assert [one.step for one in rollout_data.choose(folder, [1, 2, 3], 10_000_000)] == [1, 3]


def test_a_metric_that_appears_late_and_one_that_is_not_a_number() -> None:
    columns = run_data.columns([{"step": 1}, {"step": 2, "eval/accuracy": math.nan}])
    assert columns["eval/accuracy"][0] is None
    assert unpack(packed(columns))["eval/accuracy"] == [None, None]


def test_an_empty_folder_and_a_half_written_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "r", stage="grpo")
    folder.create()
    assert run_data.load(folder)["metrics"] == {}
    folder.metrics.write_text('{"step": 1, "reward/mean": 0.5}\n{"step": 2, "rew')
    assert run_data.load(folder)["metrics"]["step"] == [1]


def test_accuracy_before_is_known_while_the_run_goes_on(tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", complete=False)
    checkpoint = folder.checkpoints / "step_2"
    checkpoint.mkdir(parents=True)
    (checkpoint / "COMPLETE").write_text("")
    (checkpoint / "driver.json").write_text(json.dumps({"before": {"accuracy": {"value": 0.4}}}))
    folder.record_event("continued", step=2)  # the second time
    run = run_data.load(folder)
    assert run["before"] == {"accuracy": {"value": 0.4}}
    assert "2 times" in run["events"][0]["text"]


def line(step: int, stale: int = 0, restarts: int = 0) -> dict[str, Any]:
    return {"step": step, "groups/kept": 4, "groups/dropped_uniform": 1, "groups/dropped_stale": stale,
            "restarts/rollout": restarts}  # fmt: skip


def test_events_of_neighbouring_steps_are_one() -> None:
    found = events.find([line(1), line(2, 2), line(3, 1, 1), line(4, 0, 1), line(5, 1, 3)], None, [])
    told = [(event.kind, event.first, event.last) for event in found]
    assert told == [("no signal", 0, 0), ("stale", 2, 3), ("restart", 3, 3), ("restart", 5, 5), ("stale", 5, 5)]
    assert "3 groups" in found[1].text
    assert found[3].text == "2 × rollout restarted"


def test_what_the_run_recorded_is_told() -> None:
    alarm = {"event": "alarm", "alarm": "entropy", "about": "", "text": "policy entropy fell"}
    recorded = [
        {"event": "started", "time": 1.0, "step": 0, "model": "m"},
        {"event": "restarted", "time": 2.0, "step": 2, "role": "rollout", "worker": "rollout-0", "cause": "killed"},
        {"event": "scaled", "time": 3.0, "step": 3, "role": "rollout", "workers": 2},
        {"event": "joined", "time": 3.5, "step": 4, "role": "rollout", "worker": "rollout-1", "seconds": 12.4},
        alarm | {"step": 2},
        {"event": "alarm_over", "alarm": "entropy", "about": "", "step": 4},
        alarm | {"step": 5},
        alarm | {"step": 5, "alarm": "stalled", "about": "rollout", "text": "rollout has finished nothing"},
        {"event": "gave_up", "time": 9.0, "step": 6, "role": "reward", "worker": "reward-0", "cause": "no memory"},
    ]
    found = events.find([line(step, restarts=step // 2) for step in range(1, 7)], None, recorded)
    told = [(event.kind, event.first, event.last, event.text, event.warning) for event in found[1:]]
    assert told == [
        ("alarm: entropy", 2, 3, "policy entropy fell", True),
        ("restart", 2, 2, "rollout-0 replaced: killed", True),  # and not a second time from the metric
        ("scaling", 3, 3, "2 rollout workers wanted", False),
        ("scaling", 4, 4, "rollout-1 joined after 12 s", False),
        ("alarm: entropy", 5, 6, "policy entropy fell", True),
        ("alarm: stalled", 5, 5, "rollout has finished nothing", True),
        ("gave up", 6, 6, "no more replacements of reward workers, the last was reward-0: no memory", True),
    ]


def test_every_step_group_and_completion_is_there(tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", steps=2, groups=5, group_size=3)
    blocks = rollout_data.choose(folder, [1, 2], 10_000_000)
    assert [(one.step, one.groups, one.completions) for one in blocks] == [(1, 5, 15), (2, 5, 15)]
    texts, tokens = unpack(blocks[1].texts), unpack(blocks[1].tokens)
    lines = [json.loads(line) for line in (folder.rollouts / "step_000002.jsonl").read_text().splitlines()]
    shown = [completion for group in texts["groups"] for completion in group["completions"]]
    assert [one["text"] for one in shown] == [line["completion"] for line in lines]
    assert [one["advantage"] for one in shown] == [line["advantage"] for line in lines]
    assert [one["seed"] for one in shown] == [str(line["seed"]) for line in lines]
    assert shown[0]["parts"].keys() == {"math", "format"}
    flat = [completion for group in tokens["groups"] for completion in group]
    assert [one["ids"] for one in flat] == [line["token_ids"] for line in lines]
    assert [len(one["logprobs"]) for one in flat] == [len(line["logprobs"]) for line in lines]
    for one, line in zip(flat, lines, strict=True):
        assert len(one["mismatch"]) == (len(line["token_ids"]) if line["kept"] else 0)
        for apart, sampled, own in zip(
            one["mismatch"], line["logprobs"], line.get("learner_logprobs", ()), strict=False
        ):
            assert apart == pytest.approx(own - sampled, abs=1e-5)
    for one, line in zip(flat, lines, strict=True):
        spelled = "".join(tokens["vocabulary"][str(token)] for token in one["ids"])
        assert spelled == line["completion"] + "<|im_end|>"


def test_steps_are_taken_newest_first_then_spread() -> None:
    order = rollout_data.by_interest(list(range(1, 10)))
    assert order[:4] == [9, 1, 5, 3]
    assert sorted(order) == list(range(1, 10))
    assert rollout_data.by_interest([]) == []
    assert rollout_data.by_interest([4]) == [4]


def test_what_is_too_large_is_left_out_and_counted(tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", steps=9, groups=6)
    whole = rollout_data.choose(folder, list(range(1, 10)), 10_000_000)
    budget = sum(one.size for one in whole) // 2
    some = rollout_data.choose(folder, list(range(1, 10)), budget)
    assert sum(one.size for one in some) <= budget
    assert {1, 5, 9} <= {one.step for one in some} < set(range(1, 10))
    tiny = rollout_data.choose(folder, [9], len(whole[-1].texts) // 2)
    assert tiny[0].tokens is None
    assert 0 < tiny[0].completions < tiny[0].total_completions == 24


def test_a_tokenizer_of_another_model_is_not_used(tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", steps=1)
    groups = rollout_data.read(folder, 1)
    assert rollout_data.tokenizer_of(folder, groups) is not None
    path = folder.final / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["vocab"] = {token: 255 - number for token, number in tokenizer["model"]["vocab"].items()}
    path.write_text(json.dumps(tokenizer))
    assert rollout_data.tokenizer_of(folder, groups) is None


@pytest.mark.parametrize(
    ("decoder", "token", "expected"),
    [
        ("ByteLevel", "Ġhello", b" hello"),
        ("ByteLevel", "Ċ", b"\n"),
        ("Fuse", "▁hello", b" hello"),
        ("Fuse", "<0x0A>", b"\n"),
    ],
)
def test_bytes_of_a_token(tmp_path: Path, decoder: str, token: str, expected: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({"model": {"vocab": {token: 3}}, "decoder": {"type": decoder}, "added_tokens": []}))
    found = token_text.read(path)
    assert found is not None
    assert found.by_id[3] == expected


def test_no_tokenizer(tmp_path: Path) -> None:
    assert token_text.read(tmp_path / "none.json") is None
    (tmp_path / "bad.json").write_text("{")
    assert token_text.read(tmp_path / "bad.json") is None
