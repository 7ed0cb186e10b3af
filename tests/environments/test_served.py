"""A served model that calls tools: its episodes are collected for SFT, and it is measured."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from srm_ray import evaluate
from srm_ray.config.command_line import build
from srm_ray.config.evaluate import EvaluateConfig
from srm_ray.data.conversations import to_example
from srm_ray.data.rendering import training_sequences
from srm_ray.environments.contract import load
from srm_ray.evaluation.results import read
from tests.environments.templates import HERMES, tokenizer_with
from tests.test_distill import Teacher, run, summary

pytestmark = pytest.mark.integration
CALCULATE = "srm_ray.environments.calculator:calculate"


def calculating(body: dict[str, Any], before: int) -> dict[str, Any]:
    """Calls the calculator for the sum it is asked, then says what came back; of 5 it makes nothing."""
    asked = next(one["content"] for one in reversed(body["messages"]) if one["role"] == "user")
    last = body["messages"][-1]
    if last["role"] == "tool":
        return {"content": rf"\boxed{{{last['content']}}}", "reasoning_content": "As it says."}
    if asked.startswith("5"):
        return {"content": r"\boxed{0}"}
    arguments = json.dumps({"expression": asked.rstrip("?")})
    call = {"id": "c1", "type": "function", "function": {"name": "calculate", "arguments": arguments}}
    return {"content": None, "tool_calls": [call], "finish_reason": "tool_calls"}


@pytest.fixture
def sums(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{n}+1000?", "answer": n + 1000}) + "\n" for n in range(6)))
    return path


def test_episodes_become_sft_data_that_teaches_calls_and_not_results(tmp_path: Path, sums: Path) -> None:
    teacher, folder = Teacher(calculating), tmp_path / "run"
    data = {"path": str(sums), "system": "Be exact."}
    assert run(teacher, folder, sums, data=data, tools=[CALCULATE]) == 0
    found = summary(folder)
    assert (found["answers"], found["right"], found["kept"]) == (6, 5, 5) and found["tokens_out"] == 11 * 20
    asked = teacher.requests[0]
    assert asked["tools"][0]["function"]["name"] == "calculate" and "return" not in asked["tools"][0]["function"]
    assert asked["messages"][0] == {"role": "system", "content": "Be exact."}
    rows = [json.loads(line) for line in (folder / "final" / "sft.jsonl").read_text().splitlines()]
    tools = list(load("", (CALCULATE,)).contract.tools)
    for row in rows:
        assert row["tools"] == tools, "SFT's prompts are those of an episode of training"
        assert [one["role"] for one in row["messages"]] == ["user", "assistant", "tool", "assistant"]
        for template in (None, HERMES):
            tokenizer, example = tokenizer_with(template), to_example(row)
            [(ids, mask)] = training_sequences(tokenizer, example.messages, tools=example.tools).sequences
            learned = tokenizer.decode([token for token, on in zip(ids, mask, strict=True) if on])
            result = row["messages"][2]["content"]
            assert '"expression"' in learned and rf"\boxed{{{result}}}" in learned
            assert f"<tool_response>\n{result}" not in learned and f"<tool_response>\n{result}" in tokenizer.decode(ids)
    assert run(Teacher(lambda body, before: 500), folder, sums, data=data, tools=[CALCULATE]) == 0, "nothing is left"


def test_a_server_is_measured_on_an_environment(tmp_path: Path, sums: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scenario() -> None:
        async with Teacher(calculating) as url:
            values: dict[str, Any] = {"endpoint": url, "model": "teacher", "tools": [CALCULATE]}
            values |= {"rows": {"path": str(sums)}, "run_dir": str(tmp_path / "run")}
            values |= {"sampling": {"samples": 2, "temperature": 1.0}}
            config = build(EvaluateConfig, values)
            assert await evaluate.run(config, evaluate.suites_of(config)) == 0

    asyncio.run(scenario())
    result = read(tmp_path / "run").suites["calculate"]
    assert result.score.value == pytest.approx(5 / 6) and result.more["pass@2"].value == pytest.approx(5 / 6)
    assert result.means["tool calls"].value == pytest.approx(5 / 6)
    assert result.means["turns"].value == pytest.approx(11 / 6) and result.means["turns"].low < 11 / 6
    shown = capsys.readouterr().out
    assert "tool calls" in shown and "environments failed" in shown
    lines = [json.loads(line) for line in (tmp_path / "run" / "samples" / "calculate.jsonl").read_text().splitlines()]
    assert len(lines) == 12 and all(line["episode"]["turns"] for line in lines)
