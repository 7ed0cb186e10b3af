"""The sandbox, from its owner's side: start it, run a candidate in it, end it.

    Slot (one at a time) --control--> template (inside) --fork--> candidate <--calls--> checker
                         <--------------------- verdict --------------------------------'

Each slot owns one template process (inside bubblewrap where that works), from which every candidate
is forked into namespaces of its own. A slot that misbehaves is killed and replaced.
"""

import contextlib
import json
import logging
import os
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewards.code import cgroups
from rewards.code.pipes import Pipes

INSIDE = Path(__file__).parent / "inside"
TIERS = ("bubblewrap", "landlock", "none")
START_TIMEOUT = 60.0  # seconds for a template to start on a busy machine
CONTROL_TIMEOUT = 10.0  # seconds for it to answer; it never waits for a candidate
ATTEMPTS = 3  # templates that may die over one job
ROLES = 2  # processes of a candidate's job: its own, and the checker's
OVERHEAD = 512 << 20  # bytes of a template, of /tmp and of the kernel
TASKS = 600  # threads of a slot: those of its roles (256 each at most), the template and bubblewrap

NO_THREADS = "(no threads for candidates: this kernel cannot count them)"
# The rows of the table in `rewards.code` that are open, or open in part.
OPEN = {
    "bubblewrap": ("learning the machine's kernel", "bugs of the kernel's system calls"),
    "landlock": (
        "learning which files and users exist",
        "learning the machine's name and kernel",
        "bugs of the kernel's system calls",
    ),
    "none": ("anything but what ends the candidate: it runs as its owner, with its files, network and processes",),
}

logger = logging.getLogger(__name__)


class Broken(Exception):
    """The template did not start, or does not answer."""


class Lost(Broken):
    """The template went away while a candidate ran in it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one candidate may use.

    seconds: wall-clock time for all tests of one candidate. memory: bytes of address space.
    output: bytes on standard output and error together. file: bytes of a file it writes.
    """

    seconds: float = 10.0
    memory: int = 1 << 30
    output: int = 1 << 20
    file: int = 16 << 20


@dataclass(frozen=True, slots=True)
class Ended:
    """How the processes of one candidate ended.

    frame: what the checker or the program sent last, or None. output: standard output, cut at the
    limit. reason: "" or "timeout", "output_limit", "no_result". codes: exit code (or minus the signal) of each
    process; still_running: whether each had to be killed.
    """

    frame: Any
    output: bytes
    reason: str
    codes: tuple[int, ...] = ()
    still_running: tuple[bool, ...] = ()


class Template:
    """One running template process."""

    def __init__(self, tier: str, limits: Limits, program: bytes) -> None:
        self.tier, self.limits = tier, limits
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.group = None if tier == "none" else cgroups.make(ROLES * limits.memory + OVERHEAD, TASKS)
        with theirs:
            fd = theirs.fileno()
            words = command(tier, fd)
            self.process = keeper(lambda: start(self.group.command(words) if self.group else words, fd))
        self.control = ours
        try:
            hello = {"limits": inside_limits(limits), "filter": program.hex()}
            (self.able,) = self.request(hello, START_TIMEOUT, "ready")
        except BaseException:
            self.close()
            raise

    def request(self, message: Any, timeout: float, expected: str, fds: Sequence[int] = ()) -> Any:
        self.control.settimeout(timeout)
        try:
            socket.send_fds(self.control, [json.dumps(message).encode()], list(fds))
            reply = json.loads(self.control.recv(1 << 16) or b'["closed"]')
        except OSError as error:
            raise Broken(f"{self.tier}: {error or type(error).__name__}{self.complaint()}") from None
        if reply[0] != expected:
            raise Broken(f"{self.tier}: {reply}{self.complaint()}")
        return reply[1:]

    def complaint(self) -> str:
        """What the template wrote on standard error, if it has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.5)
            text = self.process.stderr.read(500) if self.process.stderr else b""
            return f" ({text.decode(errors='replace').strip()})"
        return ""

    def close(self) -> None:
        self.control.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()
        if self.process.stderr:
            self.process.stderr.close()
        if self.group:
            self.group.close()

    def run(self, roles: list[list[Any]], pipes: Pipes, first: list[tuple[int, Any]], seconds: float) -> Ended:
        """Start `roles`, send the `first` frames, collect until an answer, a limit or the end."""
        deadline = time.monotonic() + seconds
        self.request(["start", roles], CONTROL_TIMEOUT, "started", pipes.theirs)
        pipes.close_theirs()
        try:
            frame, output, reason = pipes.collect(first, deadline, self.limits.output)
        finally:
            try:
                (statuses,) = self.request(["end"], CONTROL_TIMEOUT, "ended")
            except Broken as error:
                raise Lost(str(error)) from None
        return Ended(frame, output, reason, tuple(s[0] for s in statuses), tuple(s[1] for s in statuses))


_keeper = ThreadPoolExecutor(1, thread_name_prefix="sandbox-keeper")


def keeper(action: Callable[[], "subprocess.Popen[bytes]"]) -> "subprocess.Popen[bytes]":
    """Run `action` in a thread that lives as long as this process: `--die-with-parent` means the thread."""
    return _keeper.submit(action).result()


def start(words: list[str], fd: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        words,
        env={"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8"},
        pass_fds=[fd],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
    )


def installation() -> list[str]:
    """Folders that a Python process needs to read: its own installation and the C library's."""
    base = os.path.realpath(sys.base_prefix)
    return ["/usr"] if base.startswith("/usr/") and not base.startswith("/usr/local") else ["/usr", base]


def command(tier: str, fd: int) -> list[str]:
    """The template's command line."""
    inside = "/srm" if tier == "bubblewrap" else str(INSIDE)
    python = os.path.realpath(sys.executable)
    script = f"import sys; sys.path.insert(0, {inside!r}); import template; template.main({fd}, {tier!r})"
    words = [python, "-s", "-S", "-P", "-B", "-c", script]
    return [*bubblewrap(), *words] if tier == "bubblewrap" else words


def bubblewrap() -> list[str]:
    words = [
        shutil.which("bwrap") or "bwrap",
        "--unshare-all",
        "--unshare-user",
        "--disable-userns",
        "--die-with-parent",
        "--new-session",
    ]
    words += ["--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP", "--hostname", "sandbox"]
    for folder in installation():
        words += ["--ro-bind", folder, folder]
    for link in ("lib", "lib64", "bin"):
        if os.path.islink(f"/{link}"):
            words += ["--symlink", f"usr/{link}", f"/{link}"]
        elif os.path.isdir(f"/{link}"):
            words += ["--ro-bind", f"/{link}", f"/{link}"]
    for device in ("/dev/null", "/dev/zero", "/dev/urandom"):
        words += ["--dev-bind", device, device]
    for name in ("stdin", "fd/0"):
        words += ["--symlink", "/tmp/.stdin", f"/dev/{name}"]
    return [*words, "--ro-bind", str(INSIDE), "/srm", "--dir", "/tmp", "--remount-ro", "/", "--chdir", "/"]


def inside_limits(limits: Limits) -> dict[str, Any]:
    return {
        "memory": limits.memory,
        "cpu": int(limits.seconds) + 2,
        "file": limits.file,
        "readable": [*installation(), "/lib", "/lib64", str(INSIDE)],
    }


class Sandbox:
    """`slots` candidates at once, in the best tier that works here. Thread-safe.

    tier: "bubblewrap", "landlock", "none" (only with `allow_unsafe`) or "" (nothing holds: `run`
    raises `Broken`, callers report `sandbox_unavailable`). why: for each better tier, what failed.
    gaps: what the tier does not stop, or cannot offer, on this kernel. only: use this tier or none at all.
    """

    def __init__(
        self, slots: int = 1, limits: Limits | None = None, allow_unsafe: bool = False, only: str = ""
    ) -> None:
        self.limits = limits or Limits()
        self.why: dict[str, str] = {}
        self.program = b""
        self.slots: queue.Queue[Template | None] = queue.Queue()
        self.restarts = 0
        self.closed = False
        self.lock = threading.Lock()
        self.templates: set[Template] = set()
        self.gaps: tuple[str, ...] = ()
        self.tier = self._choose(allow_unsafe, only)
        for _ in range(slots):
            self.slots.put(None)
        logger.info("code sandbox: %s%s", self.promise(), f", because {self.why}" if self.why else "")

    def promise(self) -> str:
        """The tier, and what it does not stop here."""
        return f"tier {self.tier}, which does not stop: {'; '.join(self.gaps)}" if self.tier else "no tier holds"

    def _choose(self, allow_unsafe: bool, only: str) -> str:
        for tier in TIERS:
            if (only and tier != only) or (tier == "none" and not allow_unsafe):
                continue
            why = self._try(tier)
            if not why:
                return tier
            self.why[tier] = why
        return ""

    def _try(self, tier: str) -> str:
        """ "" if a template of this tier starts and runs something, else what failed."""
        if not sys.platform.startswith("linux"):
            return "Linux only"
        if tier == "bubblewrap" and not shutil.which("bwrap"):
            return "bwrap is not installed (Debian package bubblewrap)"
        if tier != "none":
            try:
                from rewards.code.seccomp import compiled

                self.program = compiled()
            except (ImportError, OSError, RuntimeError) as error:
                return f"no seccomp filter: {error}"
        try:
            template = self._template(tier)
            try:
                works = call_probe(template)
            finally:
                self._forget(template)
        except Broken as error:
            return str(error)
        passed = works.frame["passed"] if isinstance(works.frame, dict) else 0
        if passed < len(PROBES) - 1:
            return f"a probe failed: {works}"
        self.gaps = OPEN[tier] if passed == len(PROBES) else (*OPEN[tier], NO_THREADS)
        return ""

    def _template(self, tier: str) -> Template:
        template = Template(tier, self.limits, b"" if tier == "none" else self.program)
        with self.lock:
            self.templates.add(template)
        return template

    def _forget(self, template: Template) -> None:
        with self.lock:
            self.templates.discard(template)
        template.close()

    @contextlib.contextmanager
    def _slot(self) -> Iterator[Template]:
        template = self.slots.get()
        try:
            if self.closed or not self.tier:
                raise Broken("no sandbox")
            if template is None:
                template = self._template(self.tier)
            yield template
        except BaseException:
            if template is not None:
                self._forget(template)
                template = None
                self.restarts += 1
            raise
        finally:
            self.slots.put(template)

    def run(self, job: Callable[[Template], Ended]) -> Ended:
        """Run one job in a free slot; a template that died is replaced and the job tried again.

        A job that loses its template every time, where a harmless candidate runs, has itself to blame: "no_result".
        """
        lost = 0
        for attempt in range(ATTEMPTS):
            try:
                with self._slot() as template:
                    return job(template)
            except Broken as error:
                lost += isinstance(error, Lost)
                if self.closed or not self.tier or (attempt == ATTEMPTS - 1 and lost < ATTEMPTS):
                    raise
        if why := self._try(self.tier):
            raise Broken(why)
        return Ended(None, b"", "no_result")

    def pids(self) -> list[int]:
        with self.lock:
            return [template.process.pid for template in self.templates]

    def close(self) -> None:
        """End every process of the sandbox, running candidates included."""
        self.closed = True
        with self.lock:
            templates, self.templates = list(self.templates), set()
        for template in templates:
            template.close()


def call_job(code: str, job: dict[str, Any], seconds: float) -> Callable[[Template], Ended]:
    """A candidate as a server of calls, and a checker that runs the tests of `job`."""

    def run(template: Template) -> Ended:
        pipes = Pipes()
        try:
            results, checker_end = pipes.pair()
            candidate_side, checker_side = pipes.inner_pair()
            output = pipes.output()
            roles = [
                ["checker", False, [checker_end, checker_side, output]],
                ["candidate", True, [candidate_side, output]],
            ]
            return template.run(roles, pipes, [(results, {**job, "code": code})], seconds)
        finally:
            pipes.close()

    return run


def program_job(code: str, prelude: str, stdin: bytes, seconds: float) -> Callable[[Template], Ended]:
    """A candidate as a program whose standard input is `stdin`."""

    def run(template: Template) -> Ended:
        pipes = Pipes()
        try:
            channel, inside = pipes.pair()
            roles = [["program", True, [inside, pipes.stdin(stdin), pipes.output()]]]
            return template.run(roles, pipes, [(channel, {"code": code, "prelude": prelude})], seconds)
        finally:
            pipes.close()

    return run


PROBED = """
def f(x):
    return x * x

def threads():
    import threading
    ran = []
    thread = threading.Thread(target=ran.append, args=(True,))
    thread.start()
    thread.join()
    return bool(ran)
"""
PROBES: list[dict[str, Any]] = [{"fn": "f", "args": [n], "expected": n * n} for n in (7, 8)]
PROBES += [{"fn": "threads", "args": [], "expected": True}]
PROBE = {"kind": "calls", "tests": PROBES, "total": len(PROBES), "prelude": ""}
call_probe = call_job(PROBED, PROBE, START_TIMEOUT)
