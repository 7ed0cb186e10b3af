"""A process that imports modules once and then forks workers on request.

    python -m rewards.sandbox.forkserver CONTROL_FD MODULE[:ATTRIBUTE]...

Requests come over a SEQPACKET socket, JSON: ["fork", "module:function", memory] with the worker's
socket attached, answered by its pid; ["kill", pid], answered by 0. Only the forkserver reaps, so a pid
that it kills is still its child's. It ends when the control socket closes.
"""

import gc
import importlib
import json
import operator
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Callable

from rewards.sandbox.processes import Died, die_with_parent


def main(argv: list[str]) -> None:
    control = socket.socket(fileno=int(argv[0]))
    for named in argv[1:]:
        module, _, attribute = named.partition(":")
        found = importlib.import_module(module)
        if attribute:  # which may take long to make
            operator.attrgetter(attribute)(found)
    gc.freeze()
    children: set[int] = set()
    while True:
        ready, _, _ = select.select([control], [], [], 1.0)
        reap(children)
        if not ready:
            continue
        message, fds, _, _ = socket.recv_fds(control, 4096, 1)
        if not message:
            return
        request = json.loads(message)
        if request[0] == "fork":
            pid = os.fork()
            if pid == 0:
                child(control, fds[0], request[1], request[2])
            children.add(pid)
            os.close(fds[0])
            control.send(str(pid).encode())
        else:
            end(request[1], children)
            control.send(b"0")


def reap(children: set[int]) -> None:
    while children:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        children.discard(pid)


def end(pid: int, children: set[int]) -> None:
    if pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        children.discard(pid)


def child(control: socket.socket, fd: int, target: str, memory: int) -> None:
    """The worker: limits first, then its function; never returns."""
    status = 1
    try:
        parent = os.getppid()
        control.close()
        die_with_parent(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        load(target)(socket.socket(fileno=fd))
        status = 0
    except (Died, KeyboardInterrupt, SystemExit):
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def load(target: str) -> Callable[..., object]:
    module, _, name = target.partition(":")
    function: Callable[..., object] = getattr(importlib.import_module(module), name)
    return function


if __name__ == "__main__":
    main(sys.argv[1:])
