"""Killable processes: forked from a preloaded one, each ended with SIGKILL when its time is up.

    caller --Pool.run(items)--> Worker (socket) <--fork-- forkserver (`python -m rewards.sandbox.forkserver`)

A forkserver imports what its workers need and then only forks: a worker that was killed is replaced in
milliseconds. No threads or signals of the caller are used, so that it works in Ray actors and in
any thread. Workers die with their forkserver (PR_SET_PDEATHSIG), the forkserver with its owner (its control
socket closes), whatever ended the owner.
"""

import contextlib
import importlib.util
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

HEADER = struct.Struct("!I")
MAX_MESSAGE = 64 << 20


class TimeUp(Exception):
    """The other side did not answer within the time limit."""


class Died(Exception):
    """The other side closed its end without an answer."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an item has no reply: "timeout" or "worker_died"."""

    reason: str


def send(sock: socket.socket, message: Any) -> None:
    """One JSON message with its length before it. Raises `Died` when the other side is gone."""
    body = json.dumps(message).encode()
    try:
        sock.sendall(HEADER.pack(len(body)) + body)
    except OSError as error:
        raise Died(str(error)) from None


def receive(sock: socket.socket, deadline: float | None = None) -> Any:
    """The next message; `deadline` in `time.monotonic` seconds. Raises `TimeUp` or `Died`."""
    (size,) = HEADER.unpack(exactly(sock, HEADER.size, deadline))
    if size > MAX_MESSAGE:
        raise Died("a message beyond the limit")
    return json.loads(exactly(sock, size, deadline))


def exactly(sock: socket.socket, size: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        if deadline is not None:
            sock.settimeout(max(deadline - time.monotonic(), 1e-6))
        try:
            part = sock.recv(min(size - len(parts), 1 << 20))
        except TimeoutError:
            raise TimeUp from None
        except OSError as error:
            raise Died(str(error)) from None
        if not part:
            raise Died("closed")
        parts += part
    return bytes(parts)


class Forkserver:
    """The owner's side of `rewards.sandbox.forkserver`. Thread-safe.

    preload: modules, or "module:attribute", that it imports before it forks. python: interpreter of another Python
    environment, "" for this one; packages: those of ours that are to be found there too.
    """

    def __init__(self, preload: Sequence[str], python: str = "", packages: Sequence[str] = ("rewards",)) -> None:
        self.preload, self.python, self.packages = tuple(preload), python, tuple(packages)
        self.lock = threading.Lock()
        self.process: subprocess.Popen[bytes] | None = None
        self.control: socket.socket | None = None
        self.closed = False

    def fork(self, target: str, memory: int) -> tuple[int, socket.socket]:
        """A new process that runs `target` ("module:function") on its end of a socket pair.

        memory: address-space limit in bytes (RLIMIT_AS). Raises `Died` when no forkserver can start.
        """
        ours, theirs = socket.socketpair()
        try:
            with self.lock:
                return self._request(["fork", target, memory], theirs), ours
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()

    def kill(self, pid: int) -> None:
        """SIGKILL, if the process still lives (only its parent, the forkserver, knows for certain)."""
        with self.lock, contextlib.suppress(Died):
            if self.control is not None:
                self._request(["kill", pid], None)

    def close(self) -> None:
        """End it for good, also while another thread waits for it to start."""
        self.closed = True
        process = self.process
        if process is not None:
            process.kill()
        with self.lock:
            self._stop()

    def _request(self, message: list[Any], pass_on: socket.socket | None) -> int:
        for attempt in range(2):
            if self.closed:
                break
            if self.process is None or self.process.poll() is not None:
                self._stop()
                self._start()
                if self.closed:  # `close` may have come before there was a process to kill
                    break
            assert self.control is not None
            try:
                fds = [pass_on.fileno()] if pass_on is not None else []
                socket.send_fds(self.control, [json.dumps(message).encode()], fds)
                self.control.settimeout(120)
                reply = self.control.recv(64)
                if reply:
                    return int(reply)
            except (OSError, ValueError):
                pass
            self._stop()
            if attempt or message[0] != "fork":
                break
        if self.closed:
            self._stop()
        raise Died("the forkserver does not answer")

    def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asked = [str(theirs.fileno()), *self.preload]
        command = [sys.executable, "-m", "rewards.sandbox.forkserver"]
        if self.python:
            command = [self.python, "-c", ELSEWHERE, json.dumps({name: place_of(name) for name in self.packages})]
        self.process = subprocess.Popen(
            [*command, *asked],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=environment_elsewhere() if self.python else environment(),
            start_new_session=True,
        )
        theirs.close()
        self.control = ours

    def _stop(self) -> None:
        if self.control is not None:
            self.control.close()
            self.control = None
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def environment() -> dict[str, str]:
    """The owner's environment, with its import path, so that a forkserver finds the same modules."""
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    ours = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    # What Reasoning Gym imports warns of its own style.
    return {"PYTHONWARNINGS": "ignore::SyntaxWarning", **os.environ, **ours}


# Packages of ours by their places, so that nothing that lies beside them is found by another interpreter.
ELSEWHERE = """
import importlib.util, json, sys
for name, place in json.loads(sys.argv.pop(1)).items():
    spec = importlib.util.spec_from_file_location(name, place + "/__init__.py", submodule_search_locations=[place])
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
from rewards.sandbox.forkserver import main
main(sys.argv[1:])
"""


def place_of(package: str) -> str:
    found = importlib.util.find_spec(package)
    assert found is not None and found.submodule_search_locations, f"{package} is a package"
    return os.path.abspath(next(iter(found.submodule_search_locations)))


def environment_elsewhere() -> dict[str, str]:
    """As `environment`, for another interpreter: without what this one has installed."""
    ours = [os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    paths = [entry or os.getcwd() for entry in sys.path]
    kept = [path for path in paths if os.path.isdir(path) and not of_an_installation(path, ours)]
    variables = environment() | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(kept))}
    return {name: value for name, value in variables.items() if name not in ("PYTHONHOME", "VIRTUAL_ENV")}


def of_an_installation(path: str, installed: Sequence[str]) -> bool:
    real = os.path.realpath(path)
    inside = any(real == place or real.startswith(place + os.sep) for place in installed)
    return inside or "site-packages" in real.split(os.sep) or "dist-packages" in real.split(os.sep)


class Worker:
    """One killable process that answers requests, one at a time."""

    def __init__(self, forkserver: Forkserver, target: str, memory: int) -> None:
        self.forkserver = forkserver
        self.pid, self.sock = forkserver.fork(target, memory)

    def kill(self) -> None:
        self.sock.close()
        self.forkserver.kill(self.pid)


class Pool:
    """At most `size` workers for one target; callers wait for a free one.

    target: "module:function", called as function(socket) in the worker; it answers each received
        batch `[shared, items]` with one message an item, in order.
    memory: bytes of address space a worker may have. retries: how often an item whose worker died
        is tried again before it is reported as `worker_died`.
    """

    def __init__(
        self, target: str, preload: Sequence[str], size: int = 1, memory: int = 2 << 30, retries: int = 2
    ) -> None:
        self.target, self.memory, self.retries = target, memory, retries
        self.forkserver = Forkserver(preload)
        self.free = threading.Semaphore(size)
        self.lock = threading.Lock()
        self.idle: list[Worker] = []
        self.busy: set[Worker] = set()
        self.closed = False
        self.replaced = 0

    def run(self, items: Sequence[Any], timeout: float, shared: Any = None) -> list[Any]:
        """A reply (or a `Failure`) for each item, in order; each item has `timeout` seconds."""
        replies: list[Any] = []
        tries = 0
        while len(replies) < len(items):
            with self._worker() as worker:
                try:
                    send(worker.sock, [shared, list(items[len(replies) :])])
                    while len(replies) < len(items):
                        replies.append(receive(worker.sock, time.monotonic() + timeout))
                        tries = 0
                    return replies
                except TimeUp:
                    replies.append(Failure("timeout"))
                    tries = 0
                except Died:
                    tries += 1
                    if tries > self.retries or self.closed:
                        replies.append(Failure("worker_died"))
                        tries = 0
                self._discard(worker)
        return replies

    def warm(self) -> None:
        """Start a worker now, so that the first item does not wait for imports."""
        with self._worker():
            pass

    def pids(self) -> list[int]:
        with self.lock:
            return [worker.pid for worker in [*self.idle, *self.busy]]

    def close(self) -> None:
        """End every worker and the forkserver; whatever still runs is reported as `worker_died`."""
        with self.lock:
            self.closed = True
            workers, self.idle = self.idle, []
        for worker in workers:
            worker.sock.close()
        self.forkserver.close()

    @contextlib.contextmanager
    def _worker(self) -> Iterator[Worker]:
        with self.free:
            worker = self._take()
            try:
                yield worker
            except BaseException:
                self._discard(worker)
                raise
            with self.lock:
                if worker in self.busy:
                    self.busy.discard(worker)
                    self.idle.append(worker)

    def _take(self) -> Worker:
        with self.lock:
            while self.idle:
                worker = self.idle.pop()
                if not readable(worker.sock):  # a living idle worker has nothing to say
                    self.busy.add(worker)
                    return worker
                worker.sock.close()
        worker = Worker(self.forkserver, self.target, self.memory)
        with self.lock:
            self.busy.add(worker)
        return worker

    def _discard(self, worker: Worker) -> None:
        with self.lock:
            if worker not in self.busy:
                return
            self.busy.discard(worker)
            self.replaced += 1
        worker.kill()


def readable(sock: socket.socket) -> bool:
    ready, _, _ = select.select([sock], [], [], 0)
    return bool(ready)


def die_with_parent(parent: int) -> None:
    """SIGKILL for this process when its parent ends, also if that has happened already."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:
        os._exit(1)
