"""An OpenAI-compatible server in place of a checkpoint: over real HTTP, with the failures that servers have."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from srm_ray import evaluate
from srm_ray.data.arithmetic import problems
from srm_ray.errors import RunError, UserError
from srm_ray.evaluation.endpoint import Endpoint
from srm_ray.evaluation.results import read
from srm_ray.inference import openai_client
from srm_ray.inference.completers import Sampling


class Server(ThreadingHTTPServer):
    """Answers sums: those of even problems in the answer's text, the rest with their thinking kept apart."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.failures: list[int] = []
        self.asked: list[dict] = []
        self.keys: list[str | None] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address) -> None:
        """A client that ends in mid-answer is not an error."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.send(200, {"data": [{"id": "sums"}]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append(body)
        self.server.keys.append(self.headers["Authorization"])
        if self.server.failures:
            return self.send(self.server.failures.pop(), {"error": "not now"})
        question = body["messages"][-1]["content"]
        total = sum(map(int, question.removeprefix("What is ").removesuffix("?").split("+")))
        answer = rf"\boxed{{{total}}}"
        message = {"content": f"<think>\nx\n</think>\n{answer}"}
        if total % 2:
            message = {"content": answer, "reasoning_content": "x"}
        choice = {"message": message, "finish_reason": "length" if body["max_tokens"] < 5 else "stop"}
        self.send(200, {"choices": [choice], "usage": {"completion_tokens": 7}})

    def send(self, status: int, content: dict) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not news."""


@pytest.fixture
def server():
    made = Server()
    yield made
    made.shutdown()
    made.server_close()


def ask(server: Server, *, model: str = "sums", sampling: Sampling | None = None, seeds=(1, 2)):
    async def run():
        async with Endpoint(server.url, model, "SUMS_KEY") as completer:
            messages = [{"role": "user", "content": "What is 1+2+4?"}]
            return await completer.answer(messages, seeds, sampling or Sampling(0.5, 40, 0.9))

    return asyncio.run(run())


def test_one_request_a_completion_with_its_own_seed(server, monkeypatch) -> None:
    monkeypatch.setenv("SUMS_KEY", "secret")
    said = ask(server)
    assert [one.text for one in said] == ["<think>\nx\n</think>\n\\boxed{7}"] * 2
    assert [(one.tokens, one.truncated) for one in said] == [(7, False)] * 2
    assert sorted(body["seed"] for body in server.asked) == [1, 2]
    assert {(b["temperature"], b["top_p"], b["max_tokens"]) for b in server.asked} == {(0.5, 0.9, 40)}
    assert server.keys == ["Bearer secret"] * 2


def test_truncation_is_told(server) -> None:
    assert ask(server, sampling=Sampling(0, 4), seeds=(0,))[0].truncated


def test_what_may_pass_is_tried_again_what_may_not_is_told(server, monkeypatch) -> None:
    async def at_once(seconds: float) -> None:
        """No waiting in a test."""

    monkeypatch.setattr(openai_client.asyncio, "sleep", at_once)
    server.failures = [503, 429]
    assert len(ask(server, seeds=(1,))) == 1
    assert len(server.asked) == 3
    server.failures = [400]
    with pytest.raises(RunError, match="400"):
        ask(server, seeds=(1,))
    server.failures = [500] * 5
    with pytest.raises(RunError, match=r"500 .*\(5 attempts\)"):
        ask(server, seeds=(1,))


def test_a_wrong_model_or_server_is_the_users_to_know(server) -> None:
    with pytest.raises(UserError, match="--model other: the server has sums"):
        ask(server, model="other")
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match="--endpoint http"):
        ask(server)


@pytest.mark.integration
def test_the_command_measures_an_endpoint(ray_session, server, tmp_path: Path, capsys, monkeypatch) -> None:
    from actors.reward.pool import RewardPool

    graded, grade = [], RewardPool.grade

    async def counted(pool, problem, *text, **how):
        graded.append(problem)
        return await grade(pool, problem, *text, **how)

    monkeypatch.setattr(RewardPool, "grade", counted)
    options = ["--endpoint", server.url, "--model", "sums", "--limit", "12", "--run_dir", str(tmp_path / "run")]
    assert evaluate.main(options) == 0
    out = capsys.readouterr().out
    assert "arithmetic  pass@1  100.00" in out
    result = read(tmp_path / "run").suites["arithmetic"]
    assert result.values == [1.0] * 12
    assert result.finished is not None and result.finished.value == 1.0
    asked = len(server.asked)
    assert asked == len(graded) == 12, "each on a reward worker"
    assert evaluate.main(options) == 0  # nothing is asked twice
    assert len(server.asked) == asked
    assert read(tmp_path / "run").suites["arithmetic"] == result


@pytest.mark.integration
def test_against_a_finished_evaluation(ray_session, server, tmp_path: Path, capsys) -> None:
    common = ["--endpoint", server.url, "--model", "sums", "--limit", "12"]
    assert evaluate.main([*common, "--run_dir", str(tmp_path / "a")]) == 0
    assert evaluate.main([*common, "--run_dir", str(tmp_path / "b"), "--against", str(tmp_path / "a")]) == 0
    assert "real losses: none" in capsys.readouterr().out
    tax = json.loads((tmp_path / "b" / "tax.json").read_text())
    assert [(one["suite"], one["delta"], one["verdict"]) for one in tax["suites"]] == [("arithmetic", 0.0, "")]
    assert (
        evaluate.main([*common, "--run_dir", str(tmp_path / "c"), "--seed", "9", "--against", str(tmp_path / "a")]) == 2
    )
    assert "seed is 9 here and 3407 there" in capsys.readouterr().err
    assert len(server.asked) == 2 * 12  # it is said before anything is asked
    other = [*common, "--run_dir", str(tmp_path / "d"), "--tasks", "arithmetic,numerals"]
    assert evaluate.main([*other, "--against", str(tmp_path / "a")]) == 2
    assert "sums was not measured on numerals: nothing to compare with" in capsys.readouterr().err
    assert len(server.asked) == 2 * 12


@pytest.mark.integration
def test_a_killed_evaluation_goes_on_and_gives_the_same_file(ray_session, server, tmp_path: Path) -> None:
    options = ["--endpoint", server.url, "--model", "sums", "--limit", "12", "--run_dir", str(tmp_path / "run")]
    assert evaluate.main(options) == 0
    samples = tmp_path / "run" / "samples" / "arithmetic.jsonl"
    whole = samples.read_text()
    lines = whole.splitlines(keepends=True)
    samples.write_text("".join(reversed(lines[4:])) + lines[1][:30])  # as they came, the last one cut short
    assert evaluate.main(options) == 0
    assert len(server.asked) == 12 + 4
    assert samples.read_text() == whole


@pytest.mark.integration
def test_other_settings_or_weights_do_not_go_on(ray_session, server, tmp_path: Path, capsys) -> None:
    options = ["--endpoint", server.url, "--model", "sums", "--limit", "4", "--run_dir", str(tmp_path / "run")]
    assert evaluate.main(options) == 0
    assert evaluate.main([*options, "--sampling.max_new_tokens", "9"]) == 2
    assert "was run with sampling.max_new_tokens 2048, this command has 9" in capsys.readouterr().err
    assert evaluate.main([*options, "--sampling.max_new_tokens", "9", "--resume", "never"]) == 0
    assert evaluate.main([*options, "--sampling.max_new_tokens", "9", "--limit", "6"]) == 0  # more of the same
    assert len(read(tmp_path / "run").suites["arithmetic"].values) == 6


@pytest.mark.integration
def test_suites_that_need_log_likelihoods_are_refused(server, local_suites, tmp_path: Path, capsys) -> None:
    pytest.importorskip("lm_eval", reason="lm-evaluation-harness is not installed: pip install 'srm-ray[eval]'")
    options = [
        "--endpoint",
        server.url,
        "--model",
        "sums",
        "--tasks",
        "arc_challenge",
        "--data.path",
        str(local_suites),
    ]
    assert evaluate.main([*options, "--run_dir", str(tmp_path / "run")]) == 2
    assert "needs log-likelihoods" in capsys.readouterr().err
    assert not (tmp_path / "run" / "results.json").exists()


@pytest.mark.integration
def test_a_suite_that_fails_fails_the_command(ray_session, server, tmp_path: Path, capsys, monkeypatch) -> None:
    server.failures = [400] * 3
    options = ["--endpoint", server.url, "--model", "sums", "--limit", "3", "--run_dir", str(tmp_path / "run")]
    assert evaluate.main(options) == 1
    assert "suite arithmetic: endpoint" in capsys.readouterr().err
    assert not (tmp_path / "run" / "results.json").exists()


@pytest.mark.integration
def test_samples_of_the_server_are_those_of_the_seeds(ray_session, server, tmp_path: Path) -> None:
    """pass@k and maj@k from several samples, each with a seed of its own."""
    options = ["--endpoint", server.url, "--model", "sums", "--limit", "3", "--run_dir", str(tmp_path / "run")]
    assert evaluate.main([*options, "--sampling.samples", "4", "--sampling.temperature", "1"]) == 0
    assert len({(body["seed"], body["messages"][-1]["content"]) for body in server.asked}) == 12
    result = read(tmp_path / "run").suites["arithmetic"]
    assert set(result.more) == {"pass@2", "pass@4", "maj@2", "maj@4"}
    assert problems(0, 3, "held_out")[0].question in {body["messages"][-1]["content"] for body in server.asked}
