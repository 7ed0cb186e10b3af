"""The printed `vllm serve` command, run as it is printed, and a real OpenAI client."""

import os
import shlex
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from srm_ray import chat
from srm_ray.errors import UserError
from srm_ray.inference import serving

pytestmark = pytest.mark.integration

QUESTION = [{"role": "user", "content": "What is 47+36+29?"}]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="module")
def client(trained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """An OpenAI client of a server started by the first line of `serving_notes`."""
    import openai

    port = free_port()
    line = serving.serving_notes(str(trained_model), name="tiny", port=port).splitlines()[0]
    command = shlex.split(line)
    log = tmp_path_factory.mktemp("serve") / "log"
    environment = os.environ | {"VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_CI_ENV": "1", "OMP_NUM_THREADS": "1"}
    with log.open("w") as output:
        server = subprocess.Popen(
            command, stdout=output, stderr=output, env=environment, cwd=log.parent, start_new_session=True
        )
    try:
        wait_until_ready(server, port, log)
        yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none")
    finally:
        server.terminate()
        try:
            server.wait(120)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, 9)


def wait_until_ready(server: subprocess.Popen, port: int, log: Path) -> None:
    deadline = time.monotonic() + 560
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError(f"no server after 240 s: {log.read_text()[-3000:]}")


@pytest.mark.timeout(900)
def test_a_client_gets_thinking_apart_from_the_answer(client) -> None:
    told = [
        client.chat.completions.create(
            model="tiny", messages=[{"role": "user", "content": f"What is {a}+36+29?"}], temperature=0, max_tokens=80
        )
        .choices[0]
        .message
        for a in range(30, 50)
    ]
    assert all("\\boxed{" in message.content for message in told)
    assert all("think>" not in (message.reasoning or "") + message.content for message in told)
    thinking = [message for message in told if (message.reasoning or "").strip()]
    assert thinking, "none of twenty answers has thinking"
    assert all("=" in message.reasoning for message in thinking)


def test_streamed_pieces_are_told_apart_too(client) -> None:
    stream = client.chat.completions.create(
        model="tiny", messages=QUESTION, temperature=1, seed=4, max_tokens=80, stream=True
    )
    reasoning, content = "", ""
    for event in stream:
        delta = event.choices[0].delta
        assert not (content and getattr(delta, "reasoning", None)), "thinking after the answer began"
        reasoning += getattr(delta, "reasoning", None) or ""
        content += delta.content or ""
    assert "\\boxed{" in content
    assert "think>" not in reasoning + content


def test_thinking_that_is_cut_is_not_an_answer(client) -> None:
    choice = client.chat.completions.create(model="tiny", messages=QUESTION, temperature=0, max_tokens=1).choices[0]
    assert choice.finish_reason == "length"
    assert not (choice.message.content or "").strip()


def test_the_chat_command_prints_it(trained_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert chat.main(["--model", str(trained_model), "--serve_command"]) == 0
    shown = capsys.readouterr().out
    assert f" {trained_model} --served-model-name " in shown.splitlines()[0]
    assert "--reasoning-parser deepseek_r1" in shown


def test_what_vllm_does_not_serve_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match="merge it first"):
        serving.serve_command(str(tmp_path))
    with pytest.raises(UserError, match="serves Hugging Face folders"):
        serving.serve_command(str(tmp_path / "x.gguf"))


def test_names() -> None:
    assert serving.model_name("runs/grpo/final") == "grpo"
    assert serving.model_name("Qwen/Qwen3-0.6B") == "Qwen3-0.6B"
