"""The page as a file, the command, and the live server; without a browser."""

import contextlib
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from srm_ray import view
from srm_ray.report.page import write_report
from srm_ray.report.server import ReportServer
from srm_ray.runs.folder import RunFolder
from tests.report import example_run


def test_nothing_of_a_completion_is_in_the_markup(tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "<b>r&amp;", texts={3: example_run.HOSTILE})
    page = write_report(folder).read_text()
    assert "owned" not in page
    assert page.count("<script") == page.count("</script>") == 1 + 1 + 2 * 3  # the page's, the run, two a step
    assert "<b>r&amp;" not in page
    assert "&lt;b&gt;r&amp;amp;" in page


def test_the_page_loads_nothing(tmp_path: Path) -> None:
    page = write_report(example_run.make(tmp_path / "r")).read_text()
    assert re.findall(r"https?://[^\s\"'<)]+", page) == ["http://www.w3.org/2000/svg"]
    assert "connect-src 'none'" in page
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(", page)


def test_write_twice_and_while_unfinished(tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", complete=False)
    first = write_report(folder)
    example_run.add_step(folder, 4)
    assert write_report(folder) == first == folder.report
    assert 'id="texts-4"' in first.read_text()


def test_a_run_ends_with_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from srm_ray.report import grpo_summary
    from srm_ray.rl.state import State

    folder = example_run.make(tmp_path / "r", complete=False)
    grpo_summary.finish(folder, State(step=3), None, 1.0, ended="done")
    assert f"report {folder.report}" in capsys.readouterr().out
    assert folder.report.stat().st_mtime >= folder.summary.stat().st_mtime


def test_command_writes_and_names_the_runs_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SRM_RAY_RUNS", str(tmp_path))
    example_run.make(tmp_path / "monday", steps=1)
    assert view.main(["--run", "monday", "--write"]) == 0
    assert str(tmp_path / "monday" / "report.html") in capsys.readouterr().out
    assert view.main(["--run", str(tmp_path / "monday"), "--write"]) == 0
    assert view.main(["--run", "mondey"]) == 2
    assert "did you mean monday?" in capsys.readouterr().err
    assert view.main([]) == 2


@contextlib.contextmanager
def serving(folder: RunFolder) -> Iterator[str]:
    with ReportServer(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.url
        server.shutdown()
        thread.join()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[RunFolder, str]]:
    folder = example_run.make(tmp_path / "r", steps=2, complete=False)
    with serving(folder) as url:
        yield folder, url


def get(url: str, **headers: str) -> tuple[dict, str]:
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return json.loads(gzip.decompress(answer.read())), answer.headers["ETag"]


def status(url: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_server_tells_new_steps(served: tuple[RunFolder, str]) -> None:
    folder, url = served
    run, tag = get(url + "run")
    assert (run["steps"], run["metrics"]["step"]) == ([1, 2], [1, 2])
    assert status(url + "run", **{"If-None-Match": tag}) == 304
    example_run.add_step(folder, 3, text="fresh")
    run, _ = get(url + "run", **{"If-None-Match": tag})
    assert (run["steps"], run["metrics"]["step"]) == ([1, 2, 3], [1, 2, 3])
    texts, _ = get(url + "texts/3")
    assert texts["groups"][0]["completions"][0]["text"].endswith("fresh")
    assert len(get(url + "tokens/3")[0]["groups"]) == len(texts["groups"])


def test_server_refuses(served: tuple[RunFolder, str]) -> None:
    _, url = served
    assert status(url) == 200
    assert status(url + "texts/99") == 404
    assert status(url + "texts/..%2f..%2fconfig.yaml") == 404
    assert status(url + "config.yaml") == 404
    assert status(url, Host="evil.example:80") == 403


def test_no_address_leads_out_of_the_run(served: tuple[RunFolder, str]) -> None:
    for path in ("%2e%2e/config.yaml", "texts/%2e%2e", "texts/1/../../config.yaml", "//config.yaml", "texts/1%00"):
        assert status(served[1] + path) == 404
    for number in ("%D9%A1", "-1", "9" * 5000):
        assert status(served[1] + f"texts/{number}") == 404


def test_a_name_that_another_site_points_here_is_refused(served: tuple[RunFolder, str]) -> None:
    hosts = ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "[::1", "localhost:80@evil.example"]
    for host in [*hosts, "localhost:x", "127.0.0.1:80:evil.example", "localhost:", "localhost, evil.example", ""]:
        assert status(served[1] + "run", Host=host) == 403, host
    assert status(served[1] + "run", Host="localhost:80") == 200


def test_a_request_of_two_hosts_or_without_a_path_says_nothing_of_the_run(
    served: tuple[RunFolder, str], capsys: pytest.CaptureFixture[str]
) -> None:
    port = urlsplit(served[1]).port
    for lines, code in (
        ("GET /run HTTP/1.1\r\nHost: localhost\r\nHost: evil.example", 403),
        ("GET http://[ HTTP/1.1\r\nHost: localhost", 404),
        ("GET http://evil.example/run HTTP/1.1\r\nHost: localhost", 404),
    ):
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(f"{lines}\r\n\r\n".encode())
            assert raw.recv(100).split()[1] == str(code).encode()
    assert capsys.readouterr().out == ""


def test_a_step_that_is_a_folder_is_no_traceback(
    served: tuple[RunFolder, str], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, url = served
    (folder.rollouts / "step_000009.jsonl").mkdir()
    (folder.rollouts / "step_².jsonl").touch()
    assert status(url + "run") == 200
    assert status(url + "texts/9") == 422
    assert capsys.readouterr().err == ""
    assert view.main(["--run", str(folder.path), "--write"]) == 0


def test_a_link_out_of_the_run_folder_is_not_followed(
    served: tuple[RunFolder, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, url = served
    secret = tmp_path / "secret.jsonl"
    secret.write_text(json.dumps({"prompt_index": 0, "draw": 0, "sample": 0, "prompt": "secret", "completion": ""}))
    link = folder.rollouts / "step_000007.jsonl"
    link.symlink_to(secret)
    assert status(url + "texts/7") == status(url + "run") == 403
    for option in ("--write", "--port=0"):
        assert view.main(["--run", str(folder.path), option]) == 2
        assert f"{link} leads out of the run folder" in capsys.readouterr().err
    link.unlink()
    link.symlink_to(folder.rollouts / "step_000001.jsonl")  # as an evaluation's samples are shown
    assert status(url + "texts/7") == 200


FILES = ["metrics.jsonl", "events.jsonl", "summary.json", "config.yaml", "rollouts/step_000001.jsonl"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_none_of_ours_is_no_defect(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = example_run.make(tmp_path / "r", steps=2)
    for text in ("[1]\n", "{}\n", '{"a":' * 5000, "9" * 9000 + "\n", '"text"\n', "\x00", ""):
        (folder.path / name).write_text(text)
        assert view.main(["--run", str(folder.path), "--write"]) in (0, 2)
        assert "Traceback" not in capsys.readouterr().err


MALFORMED = {
    "events.jsonl": ['{"event": "alarm"}', '{"event": "alarm", "step": [], "alarm": {}, "about": 1, "text": 2}',
                     '{"event": "restarted", "step": "x", "worker": {"\\u001b]52;c;x": 1}}', '{"event": 5}'],
    "metrics.jsonl": ['{"step": 1, "reward/accuracy": "\\u001b[2J", "groups/kept": {}}', '{"step": 1e999}',
                      '{"step": 1, "eval/accuracy": 1e308, "groups/kept": 1e308, "reward/accuracy": 1e308}'],
    "summary.json": ['{"suites": [1], "restarts": "many", "before": 7}', '{"restarts": {}}', '{"suites": "x"}'],
    "config.yaml": ["rollout: {group_size: many}", "steps: {a: 1}", "model: [1]"],
    "rollouts/step_000001.jsonl": ['{"prompt_index": 0, "draw": 0, "sample": [], "token_ids": "x", "logprobs": 7}',
                                   '{"prompt_index": 0, "draw": 0, "logprobs": ["x"], "token_ids": [{}]}'],
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_values_of_other_types_are_told_in_one_line(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = example_run.make(tmp_path / "r", steps=2)
    for text in MALFORMED[name]:
        (folder.path / name).write_text(text + "\n")
        with serving(folder) as url:
            answers = {status(url + path) for path in ("", "run", "texts/1", "tokens/1")}
        said = capsys.readouterr()
        assert answers <= {200, 404, 422}, text
        assert "Traceback" not in said.err and "\x1b" not in said.out + said.err
        assert view.main(["--run", str(folder.path), "--write"]) in (0, 2)
        said = capsys.readouterr()
        assert "Traceback" not in said.err and "\x1b" not in said.out + said.err


def test_a_pipe_in_a_run_folder_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = example_run.make(tmp_path / "r", steps=2)
    os.mkfifo(folder.rollouts / "step_000009.jsonl")
    assert view.main(["--run", str(folder.path), "--write"]) == 2
    assert "step_000009.jsonl is a pipe or a device" in capsys.readouterr().err
    with serving(folder) as url:
        assert status(url + "texts/9") == 403


@pytest.mark.integration
def test_ctrl_c_ends_the_command(tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", steps=1)
    command = [sys.executable, "-m", "srm_ray.view", "--run", str(folder.path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None
    line = process.stdout.readline()
    assert status(line.split(" is at ")[1].split()[0]) == 200
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "stopped" in out


@pytest.mark.integration
def test_library_does_not_need_ray_or_torch(tmp_path: Path) -> None:
    folder = example_run.make(tmp_path / "r", steps=1)
    program = (
        "import sys; from srm_ray import view; view.main(['--run', sys.argv[1], '--write']);"
        "heavy = {'ray', 'torch', 'vllm', 'transformers', 'deepspeed'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program, str(folder.path)], check=True)
