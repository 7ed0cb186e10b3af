"""The sandbox holds: hostile programs by tier, the table of `rewards.code`, nothing left behind."""

# ruff: noqa: E501

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import rewards.code
from rewards.code import Grader, Result, cgroups
from rewards.code.sandbox import INSIDE, Limits
from tests.process_tree import children_of, gone
from tests.rewards.hostile_programs import HOSTILE

pytestmark = pytest.mark.integration

TESTS = [{"fn": "f", "args": [7], "expected": 49}]
GOOD = "def f(x):\n    return x * x\n"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def grader(request: pytest.FixtureRequest) -> Iterator[Grader]:
    os.environ["SRM_SECRET"] = "hunter2"
    with_tier = Grader(2, Limits(seconds=2.0), only=request.param)
    assert with_tier.tier == request.param, f"this machine must have both tiers: {with_tier.sandbox.why}"
    yield with_tier
    with_tier.close()


def inside_one_slot(grader: Grader) -> int:
    """Processes below an idle slot's own: bubblewrap's helpers, none for landlock."""
    return max(len(children_of(pid)) for pid in grader.pids())


def test_hostile_programs_have_their_verdicts_and_leave_nothing(grader: Grader) -> None:
    before = set(os.listdir("/tmp"))
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda code: grader.grade(code, TESTS), [GOOD] * 8))  # both slots are started
        idle = len(grader.pids()) * inside_one_slot(grader)
        results = list(threads.map(lambda program: grader.grade(program.code, TESTS), HOSTILE))
    for at, program in enumerate(HOSTILE):  # a busy machine may take its two seconds from a program: again, alone
        if results[at].reason == "timeout" and "timeout" not in program.reasons:
            results[at] = grader.grade(program.code, TESTS)
    surprises = [
        (program.name, result)
        for program, result in zip(HOSTILE, results, strict=True)
        if result.correct is not False or result.reason not in program.reasons or result.seconds > 5.0
    ]
    assert not surprises, "\n".join(map(str, surprises))
    assert {result.sandbox for result in results} == {grader.tier}
    assert grader.grade(GOOD, TESTS).correct is True
    new_files = {name for name in set(os.listdir("/tmp")) - before if re.match(r"fill|\d+$|z$|e$|sda", name)}
    assert not new_files
    assert sum(len(children_of(pid)) for pid in grader.pids()) <= idle  # templates alone, no candidate


def test_there_are_twenty_programs_of_our_own() -> None:
    assert len({program.name for program in HOSTILE}) == len(HOSTILE) >= 40


def test_files_of_one_candidate_are_not_seen_by_the_next(grader: Grader) -> None:
    writes = "def f(x):\n    try: open('/tmp/mark', 'w').write('x')\n    except OSError: pass\n    return 49\n"
    looks = "import os\ndef f(x): return 49 if os.path.exists('/tmp/mark') else 0\n"
    assert grader.grade(writes, TESTS).correct is True
    assert grader.grade(looks, TESTS).reason == "wrong"
    assert not Path("/tmp/mark").exists()


# The table of rewards.code: each row is an attack that returns "open" or "stopped"

TRY = """
def f(x):
    try:
{body}
    except (OSError, PermissionError, ImportError, KeyError, AssertionError, ValueError):
        return "stopped"
    return "open"
"""
ROWS = {
    "ending the process, faking the result": "import os\nprint('PASSED')\nos._exit(0)",
    "objects that lie about equality": "class A:\n    def __eq__(self, o): return True\ndef f(x): return A()",
    "endless loop, endless output": "while True: print()",
    "memory beyond the limit": "def f(x):\n    try: bytearray(2 << 30)\n    except MemoryError: return 'stopped'\n    return 'open'",
    "fork bomb, daemon, exec of programs": "import os\nif os.fork() == 0: os._exit(0)\nos.wait()",
    "threads without end, by raw clone too": (
        "import ctypes, mmap\nlibc = ctypes.CDLL(None)\nlibc.clone.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int, ctypes.c_void_p]\n"
        "room = mmap.mmap(-1, 1 << 24)\nfirst = ctypes.c_char.from_buffer(room)\nbase, ctypes.kept = ctypes.addressof(first), (room, first)\n"
        "pause = ctypes.cast(libc.pause, ctypes.c_void_p)\n"
        "for n in range(1, 400):\n    if libc.clone(pause, base + 8192 * n, 0x50F00, None) < 0: raise OSError"
    ),
    "sockets: TCP, UDP, abstract Unix": (
        "import socket\nfor kind in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):\n"
        "    for how in (socket.SOCK_STREAM, socket.SOCK_DGRAM):\n"
        "        try: socket.socket(kind, how)\n        except OSError: continue\n        return 'open'\n"
        "raise OSError"
    ),
    "signals to other processes": "import os\nos.kill({victim}, 0)",
    "signals by way of fcntl": "import fcntl, os\nfcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, {victim})",
    "times, locks and truncation of files": (
        "import fcntl, os\nfor action in (lambda: os.utime('/usr'), lambda: os.utime(os.open('/usr/bin/env', os.O_RDONLY)),\n"
        "        lambda: fcntl.flock(open('/usr/bin/env'), fcntl.LOCK_EX | fcntl.LOCK_NB),\n"
        "        lambda: fcntl.lockf(open('/usr/bin/env'), fcntl.LOCK_SH | fcntl.LOCK_NB),\n"
        "        lambda: os.open('{scratch}/there', os.O_RDONLY | os.O_TRUNC), lambda: os.truncate('{scratch}/there', 0)):\n"
        "    try: action()\n    except OSError: continue\n    break\nelse:\n    raise OSError"
    ),
    "reading files of the machine": "open('/etc/passwd').read()",
    "writing files": "open('{scratch}/written', 'w').write('x')",
    "filling the disk": "for n in range(40): open(f'{scratch}/fill{{n}}', 'wb').write(b'x' * (1 << 20))",
    "environment of other processes": "assert 'PATH' in open('/proc/{victim}/environ').read()",
    "learning which files and users exist": "import os\nos.stat('/etc/passwd')",
    "learning the machine's name and kernel": "import os\nassert os.uname().nodename != 'sandbox'",
}


def table() -> dict[str, dict[str, str]]:
    """The docstring's table: row -> tier -> word."""
    rows = {}
    for line in (rewards.code.__doc__ or "").splitlines():
        match = re.match(r"    (\S.*?)\s{2,}(\S.*?)\s{2,}(\S.*?)\s{2,}(\S+)$", line)
        if match and match.group(1) != "attack":
            rows[match.group(1)] = dict(zip(("bubblewrap", "landlock", "none"), match.groups()[1:], strict=True))
    return rows


def attack(grader: Grader, body: str, scratch: Path, victim: int) -> str:
    if "def f" in body or ("_exit(0)" in body and "fork" not in body) or "while True" in body:
        code = body
    else:
        filled = body.format(victim=victim, scratch=scratch)
        code = TRY.format(body="\n".join("        " + line for line in filled.splitlines()))
    open_ = grader.grade(code, [{"fn": "f", "args": [7], "expected": "open"}])
    assert open_.sandbox == grader.tier
    return "open" if open_.correct else "stopped"


@pytest.mark.parametrize("tier", ["bubblewrap", "landlock", "none"])
def test_the_table_says_what_each_tier_stops(tier: str, tmp_path: Path) -> None:
    documented = table()
    assert set(documented) == {*ROWS, "bugs of the kernel's system calls"}
    grader = Grader(1, Limits(seconds=1.0), allow_unsafe=tier == "none", only=tier)
    (tmp_path / "there").write_text("x")
    # A process of its own: a parallel test runner writes its title over its environment.
    victim = subprocess.Popen(["sleep", "600"])
    wrong = {}
    try:
        open_rows = {row for row, says in documented.items() if says[tier] in ("open", "kernel only")}
        said = {gap.replace("machine's kernel", "machine's name and kernel") for gap in grader.sandbox.gaps}
        assert said == open_rows or tier == "none", "what a tier says at its start is what the table says"
        for row, body in ROWS.items():
            says = documented[row][tier]
            expected = {"/tmp only**": "stopped", "kernel only": "stopped", "stopped*": "stopped"}.get(says, says)
            found = attack(grader, body, tmp_path, victim.pid)
            if found != expected:
                wrong[row] = (says, found)
    finally:
        grader.close()
        victim.kill()
        victim.wait()
    assert not wrong


def test_tmp_is_private_and_small_in_bubblewrap() -> None:
    grader = Grader(1, Limits(seconds=5.0), only="bubblewrap")
    code = (
        "def f(x):\n    open('/tmp/a', 'w').write('x' * 100)\n    total = 0\n    try:\n"
        "        for n in range(64):\n            total += open(f'/tmp/b{n}', 'wb').write(b'x' * (1 << 20))\n"
        "    except OSError: pass\n    return [open('/tmp/a').read(1), total < 17 << 20]\n"
    )
    try:
        assert grader.grade(code, [{"fn": "f", "args": [7], "expected": ["x", True]}]).correct is True
    finally:
        grader.close()


# Control groups


@pytest.mark.parametrize("tier", ["bubblewrap", "landlock"])
def test_a_slot_is_in_a_control_group_of_its_own_where_there_are_any(tier: str) -> None:
    probe = cgroups.make(1 << 30, 100)
    if probe is None:
        pytest.skip("NOT TESTED: this user may make no control group here")
    probe.close()
    grader = Grader(1, Limits(seconds=5.0), only=tier)
    try:
        assert grader.grade(GOOD, TESTS).correct is True
        [template] = grader.sandbox.templates
        assert template.group is not None
        members = [set((folder / "cgroup.procs").read_text().split()) for folder in template.group.folders]
        for pid in (template.process.pid, *children_of(template.process.pid)):
            assert all(str(pid) in one for one in members)
    finally:
        grader.close()
    assert not any(folder.exists() for folder in template.group.folders)


def test_without_control_groups_the_sandbox_holds_all_the_same(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text("")
    monkeypatch.setattr(cgroups, "MOUNTS", mounts)
    grader = Grader(1, Limits(seconds=5.0))
    try:
        assert grader.grade(GOOD, TESTS).correct is True
        assert [template.group for template in grader.sandbox.templates] == [None]
    finally:
        grader.close()


# Tiers: the next one, or a refusal


def run_here(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


REPORT = "from rewards.code import Grader; g = Grader(); print(g.tier, sorted(g.sandbox.why)); g.close()"


def test_without_bubblewrap_the_next_tier_is_used_and_said() -> None:
    assert run_here(REPORT, PATH="/nowhere") == "landlock ['bubblewrap']"


def test_a_bubblewrap_that_fails_is_passed_over(tmp_path: Path) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho no namespaces here >&2\nexit 1\n")
    fake.chmod(0o755)
    code = REPORT.replace("sorted(g.sandbox.why)", "'no namespaces here' in g.sandbox.why['bubblewrap']")
    assert run_here(code, PATH=f"{tmp_path}:{os.environ['PATH']}") == "landlock True"


def test_a_kernel_that_cannot_count_threads_gives_none_and_says_so(tmp_path: Path) -> None:
    """As on a kernel without seccomp's notifications: the copy of the sandbox asks for one that does not exist."""
    copy = tmp_path / "inside"
    shutil.copytree(INSIDE, copy)
    isolate = copy / "isolate.py"
    isolate.write_text(isolate.read_text().replace("load_clone_filter(ACTION_NOTIFY, 1 << 3)", "-1"))
    code = (
        f"import pathlib, rewards.code.sandbox as s\ns.INSIDE = pathlib.Path({str(copy)!r})\n"
        "from rewards.code import Grader\ng = Grader(only='bubblewrap')\nprint(g.tier, s.NO_THREADS in g.sandbox.gaps)\n"
        "t = 'import threading\\ndef f(x):\\n    threading.Thread(target=print).start()\\n    return 49'\n"
        f"print([g.grade(c, {TESTS!r}).reason for c in (t, 'def f(x): return 49')])\ng.close()"
    )
    assert run_here(code) == "bubblewrap True\n['runtime_error', 'correct']"


@pytest.mark.parametrize(("unsafe", "tier", "reason"), [(False, "", "sandbox_unavailable"), (True, "none", "correct")])
def test_no_tier_means_refusal_unless_unsafe_is_asked_for(
    unsafe: bool, tier: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> bytes:
        raise OSError("no libseccomp")

    monkeypatch.setattr("rewards.code.seccomp.compiled", broken)
    grader = Grader(allow_unsafe=unsafe)
    try:
        result = grader.grade(GOOD, TESTS)
        assert (grader.tier, result.reason, result.correct) == (tier, reason, True if unsafe else None)
        assert set(grader.sandbox.why) == {"bubblewrap", "landlock"}
    finally:
        grader.close()


def test_an_ordinary_user_gets_a_sandbox_too() -> None:
    """As user 65534 with the system's Python: the project's may lie where that user cannot read."""
    if os.getuid() != 0:
        assert Grader().tier in ("bubblewrap", "landlock")
        return
    python = "/usr/bin/python3"
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", python, "-c", REPORT]
    done = subprocess.run(
        command,
        env={"PYTHONPATH": f"{ROOT}:{packages}", "PATH": os.environ["PATH"]},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert done.stdout.split(" ")[0] in ("bubblewrap", "landlock"), done.stderr


# Processes


def test_killing_the_template_costs_nothing(grader: Grader) -> None:
    assert grader.grade(GOOD, TESTS).correct is True
    for pid in grader.pids():
        os.kill(pid, 9)
    results = [grader.grade(GOOD, TESTS) for _ in range(4)]
    assert [result.correct for result in results] == [True] * 4


def test_killing_it_in_the_middle_runs_the_candidate_again(grader: Grader) -> None:
    slow = "import time\ndef f(x):\n    time.sleep(0.7)\n    return 49\n"
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(grader.grade, slow, TESTS)
        time.sleep(0.3)
        for pid in grader.pids():
            os.kill(pid, 9)
        result: Result = running.result()
    assert result.correct is True


def test_the_sandbox_ends_with_its_owner() -> None:
    code = (
        "import threading, time\nfrom rewards.code import Grader\ng = Grader(2)\n"
        f"threading.Thread(target=g.grade, args=('while True: pass', {TESTS!r}), daemon=True).start()\n"
        "time.sleep(1)\nprint('running', flush=True)\ntime.sleep(100)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == b"running\n"
        started = children_of(owner.pid)
        owner.kill()
    assert len(started) >= 2 and gone(started)


def test_the_environment_inside_is_empty(grader: Grader) -> None:
    code = "import os\ndef f(x): return sorted(os.environ)\n"
    tests = [{"fn": "f", "args": [7], "expected": ["LC_ALL", "PYTHONHASHSEED"]}]
    result = grader.grade(code, tests)
    if grader.tier == "bubblewrap":  # which sets PWD itself
        tests[0]["expected"] = ["LC_ALL", "PWD", "PYTHONHASHSEED"]
        result = grader.grade(code, tests)
    assert result.correct is True
