"""Distillation: what is asked, paid for, accepted, and what happens when a server does not do its part."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from srm_ray import distill
from srm_ray.config.command_line import build
from srm_ray.config.distill import DistillConfig
from srm_ray.distillation.ledger import whole
from srm_ray.errors import RunError, UserError
from srm_ray.runs.folder import RunFolder
from tests.examples import examples_in

Handler = Callable[[dict[str, Any], int], Awaitable[Any]]


class Teacher:
    """A server on this machine that answers as it is told, and remembers what it was asked.

    say: (request, how many came before) -> reply (dict: a message; int: a status; str: a body that is no JSON).
    """

    def __init__(self, say: Callable[[dict[str, Any], int], Any], *, key: str = "", models: Any = ("teacher",)):
        self.say, self.key, self.models = say, key, models
        self.requests: list[dict[str, Any]] = []

    async def __aenter__(self) -> str:
        app = web.Application()
        app.router.add_get("/v1/models", self.list)
        app.router.add_post("/v1/chat/completions", self.complete)
        self.runner = web.AppRunner(app)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    async def __aexit__(self, *exception: object) -> None:
        await self.runner.cleanup()

    async def list(self, request: web.Request) -> web.Response:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": "wrong key"}, status=401)
        return web.json_response({"data": [{"id": name} for name in self.models]})

    async def complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        said = self.say(body, len(self.requests))
        self.requests.append(body)
        if isinstance(said, int):
            return web.json_response({"error": "told to"}, status=said, headers={"Retry-After": "0"})
        if isinstance(said, str):
            return web.Response(text=said, content_type="application/json")
        finish = said.pop("finish_reason", "stop")
        choice = {"message": {"role": "assistant", **said}, "finish_reason": finish}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 20}})


def right(body: dict[str, Any], before: int) -> dict[str, Any]:
    """The right answer to "n?"."""
    return {"content": rf"<think>So.</think> \boxed{{{body['messages'][-1]['content'][:-1]}}}"}


@pytest.fixture
def problems(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{n}?", "answer": n}) + "\n" for n in range(6)))
    return path


def run(teacher: Teacher, folder: Path, problems: Path, **options: Any) -> int:
    async def scenario() -> int:
        async with teacher as url:
            endpoint = {"url": url, "backoff": 0.0, "concurrency": 2} | options.pop("endpoint", {})
            values = {"endpoint": endpoint, "data": {"path": str(problems)}, "run_dir": str(folder)} | options
            config = build(DistillConfig, values)
            made = RunFolder(config.run_dir, stage="distill")
            made.create()
            # The port differs from one server to the next, which to a user it would not.
            made.check_config(config, may_change=distill.MAY_CHANGE | {"endpoint.url"})
            return await distill.run(config, made)

    return asyncio.run(scenario())


def summary(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


@pytest.mark.integration
def test_right_answers_become_sft_data_with_counts_and_cost(tmp_path: Path, problems: Path) -> None:
    def say(body: dict[str, Any], before: int) -> dict[str, Any]:
        asked = int(body["messages"][-1]["content"][:-1])
        if asked == 1:
            return {"content": r"<think>Hm.</think> \boxed{7}"}
        if asked == 2:
            return {"content": r"<think>Hm.</think> \boxed{2}", "finish_reason": "length"}
        if asked == 3:
            return {"content": r"\boxed{3}", "reasoning_content": "Kept apart."}
        return right(body, before)

    teacher, folder = Teacher(say), tmp_path / "run"
    options = {"samples": 3, "endpoint": {"price_in": 1.0, "price_out": 10.0, "body": {"top_p": 0.5}}}
    assert run(teacher, folder, problems, data={"path": str(problems), "system": "Think."}, **options) == 0
    assert len(teacher.requests) == 18
    assert len({request["seed"] for request in teacher.requests}) == 18
    first = teacher.requests[0]
    assert first["model"] == "teacher" and first["top_p"] == 0.5 and first["messages"][0]["content"] == "Think."
    found = summary(folder)
    assert (found["answers"], found["right"], found["kept"], found["missing"]) == (18, 12, 4, 0)
    assert found["reasons"] == {"correct": 12, "wrong": 3, "truncated": 3}
    assert (found["tokens_in"], found["tokens_out"]) == (1800, 360)
    assert found["cost_dollars"] == pytest.approx(1800e-6 + 3600e-6)
    examples = examples_in(folder / "final" / "sft.jsonl")
    assert len(examples) == 4 and all(len(example.messages) == 2 for example in examples)
    assert "<think>\nKept apart.\n</think>\n\\boxed{3}" in {example.messages[1]["content"] for example in examples}
    lineage = json.loads((folder / "final" / "lineage.json").read_text())
    assert lineage["stage"] == "distill"
    assert lineage["parent"] == found["teacher"]
    assert found["teacher"].startswith("teacher at http://127.0.0.1:")


@pytest.mark.integration
def test_nothing_is_paid_for_twice(tmp_path: Path, problems: Path) -> None:
    folder = tmp_path / "run"
    failing = Teacher(lambda body, before: right(body, before) if before < 4 else 503)
    with pytest.raises(RunError, match=r"2 of 6 completions are missing, 2 requests failed.*HTTP 503.*4 are saved"):
        run(failing, folder, problems, endpoint={"attempts": 3})
    assert len(failing.requests) == 4 + 2 * 3
    assert not (folder / "final").exists() and not (folder / "summary.json").exists()

    # A kill may leave half a line, and answers without grades.
    with (folder / "answers.jsonl").open("a") as file:
        file.write('{"index": 5, "sam')
    grades = (folder / "grades.jsonl").read_text().splitlines(keepends=True)
    (folder / "grades.jsonl").write_text("".join(grades[:2]))
    second = Teacher(right)
    assert run(second, folder, problems) == 0
    assert len(second.requests) == 2
    assert summary(folder)["kept"] == 6 and summary(folder)["tokens_in"] == 600

    third = Teacher(right)
    assert run(third, folder, problems) == 0
    assert third.requests == []
    assert run(third, folder, problems, samples=2) == 0  # more of them, where more are asked for
    assert len(third.requests) == 6
    assert len((folder / "answers.jsonl").read_text().splitlines()) == 12


@pytest.mark.integration
def test_data_that_changed_is_not_mixed_with_old_answers(tmp_path: Path, problems: Path) -> None:
    folder = tmp_path / "run"
    assert run(Teacher(right), folder, problems, limit=4) == 0
    problems.write_text(problems.read_text().replace("?", "??"))
    with pytest.raises(UserError, match="is not the one that was answered in this run folder: the data has changed"):
        run(Teacher(right), folder, problems, limit=6)


@pytest.mark.integration
def test_failures_that_pass_are_tried_again(tmp_path: Path, problems: Path) -> None:
    statuses = iter([429, 500, "<html>", 503])
    teacher = Teacher(lambda body, before: next(statuses, None) or right(body, before))
    assert run(teacher, tmp_path / "run", problems) == 0
    assert len(teacher.requests) == 6 + 4
    assert summary(tmp_path / "run")["kept"] == 6


@pytest.mark.integration
def test_a_request_that_is_refused_is_not_asked_again(
    tmp_path: Path, problems: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher = Teacher(lambda body, before: 400 if body["messages"][0]["content"] == "2?" else right(body, before))
    assert run(teacher, tmp_path / "run", problems) == 0
    assert len(teacher.requests) == 6
    assert summary(tmp_path / "run")["reasons"] == {"correct": 5, "refused": 1}
    assert "1 requests were refused, the last one with: HTTP 400" in capsys.readouterr().out


@pytest.mark.integration
def test_a_server_that_refuses_everything_is_the_users_to_know(tmp_path: Path, problems: Path) -> None:
    with pytest.raises(UserError, match=r"refuses every request: HTTP 400 .*told to"):
        run(Teacher(lambda body, before: 400), tmp_path / "run", problems)
    assert not (tmp_path / "run" / "final").exists()


@pytest.mark.integration
def test_a_server_that_is_gone_is_not_asked_for_everything(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{n}?", "answer": n}) + "\n" for n in range(500)))
    teacher = Teacher(lambda body, before: 500)
    with pytest.raises(RunError, match="500 of 500 completions are missing"):
        run(teacher, tmp_path / "run", path, endpoint={"attempts": 2})
    assert len(teacher.requests) <= 2 * (distill.GIVE_UP + 2)


@pytest.mark.integration
def test_a_budget_ends_the_asking(tmp_path: Path, problems: Path) -> None:
    price = {"price_in": 1e4, "price_out": 0.0, "concurrency": 1}  # a dollar a completion
    teacher, folder = Teacher(right), tmp_path / "run"
    assert run(teacher, folder, problems, budget=3.0, endpoint=price) == 0
    assert len(teacher.requests) == 3
    assert (summary(folder)["missing"], summary(folder)["cost_dollars"]) == (3, 3.0)
    assert run(teacher, folder, problems, budget=10.0, endpoint=price) == 0
    assert len(teacher.requests) == 6 and summary(folder)["missing"] == 0


@pytest.mark.integration
@pytest.mark.parametrize(
    ("teacher", "options", "message"),
    [
        (Teacher(right, key="secret"), {}, "HTTP 401"),
        (Teacher(right, models=("a", "b")), {}, "--endpoint.model is needed: the server has a, b"),
        (Teacher(right), {"endpoint": {"model": "big"}}, "--endpoint.model big: the server has teacher"),
        (Teacher(lambda body, before: 403), {}, "HTTP 403"),
        (Teacher(right), {"endpoint": {"url": "http://127.0.0.1:9"}}, "http://127.0.0.1:9/v1: no answer"),
        (Teacher(right), {"endpoint": {"url": "localhost:8000"}}, "an address begins with http://"),
        (Teacher(right), {"data": {}}, "these problems never end: give --limit"),
    ],
)
def test_what_the_user_must_put_right(
    tmp_path: Path, problems: Path, teacher: Teacher, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        run(teacher, tmp_path / "run", problems, **options)
    assert not (tmp_path / "run" / "final").exists()


@pytest.mark.integration
def test_the_key_comes_from_the_environment(tmp_path: Path, problems: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    assert run(Teacher(right, key="secret"), tmp_path / "run", problems, endpoint={"key": "MY_KEY"}) == 0
    assert "secret" not in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.integration
def test_an_answer_of_another_form_is_a_failure(tmp_path: Path, problems: Path) -> None:
    with pytest.raises(RunError, match="not a chat completion"):
        run(Teacher(lambda body, before: "[]"), tmp_path / "run", problems)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "one teacher is needed"),
        (["--model", "a", "--endpoint.url", "http://b"], "one teacher is needed"),
        (["--endpoint.url", "http://b", "--budget", "3"], "budget needs endpoint.price_in"),
        (["--endpoint.ulr", "http://b"], "did you mean endpoint.url"),
    ],
)
def test_contradictions(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert distill.main(argv) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "reasoning", "text"),
    [
        ("a", "", "a"),
        ("5", " So. ", "<think>\nSo.\n</think>\n5"),
        ("So.\n</think>\n5", "", "<think>\nSo.\n</think>\n5"),
        ("<think>So.</think>5", "", "<think>So.</think>5"),
    ],
)
def test_thinking_is_put_where_sft_data_has_it(content: str, reasoning: str, text: str) -> None:
    assert whole(content, reasoning) == text


# A real server


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture(scope="module")
def served(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory):
    """`vllm serve` with the tiny model; its address."""
    port, log = free_port(), tmp_path_factory.mktemp("served") / "log"
    environment = os.environ | {
        "VLLM_CPU_CI_ENV": "1",
        "TORCHDYNAMO_DISABLE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "OMP_NUM_THREADS": "1",
    }
    words = [
        sys.executable,
        "-m",
        "vllm.entrypoints.openai.api_server",
        "--model",
        str(tiny_model),
        "--port",
        str(port),
    ]
    words += ["--served-model-name", "tiny", "--dtype", "float32", "--enforce-eager", "--no-enable-chunked-prefill"]
    words += ["--kv-cache-memory-bytes", str(1 << 28), "--max-num-batched-tokens", "4096", "--host", "127.0.0.1"]
    with log.open("w") as out:
        server = subprocess.Popen(words, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + 560
        while not answers(port):
            assert server.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, 15)
        try:
            server.wait(120)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, 9)
            server.wait()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


@pytest.mark.integration
@pytest.mark.timeout(900)
def test_a_vllm_server_teaches(served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A random model's completions, and a reward that likes about half of them."""
    folder, path = tmp_path / "run", tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"What is {n} + 1?"}) + "\n" for n in range(6)))
    words = ["--endpoint.url", served, "--samples", "8", "--run_dir", str(folder), "--data.path", str(path)]
    words += ["--rollout.max_new_tokens", "128"]  # a random model ends its turn now and then
    words += ["--reward", "tests.loop.parity_reward:reward", "--endpoint.price_out", "2", "--endpoint.price_in", "0.5"]
    assert distill.main([*words, "--limit", "5"]) == 0, capsys.readouterr()
    found = summary(folder)
    assert found["answers"] == 40 and found["tokens_in"] > 40 * 10 and 40 <= found["tokens_out"] <= 40 * 128
    assert 0 < found["kept"] < 40
    assert found["cost_dollars"] == pytest.approx((0.5 * found["tokens_in"] + 2 * found["tokens_out"]) / 1e6)
    assert len(examples_in(folder / "final" / "sft.jsonl")) == found["kept"]
    recorded = (folder / "answers.jsonl").read_text()
    assert distill.main([*words, "--limit", "6"]) == 0
    assert (folder / "answers.jsonl").read_text().startswith(recorded)
    assert summary(folder)["answers"] == 48
