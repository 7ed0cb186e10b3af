"""The process that candidates are forked from. It never reads a byte that a candidate wrote.

Control messages (JSON on a SEQPACKET socket, descriptors attached):
    ["start", [[role, private, descriptors]...]]  forks each; answered by ["started"] or ["failed", why]
    ["end"]                                       kills and reaps them; answered by ["ended", statuses]
Ends when the control socket closes.
"""

import collections
import gc
import json
import os
import signal
import site
import socket

import candidate
import checker
import isolate

# What solutions import most, so that no candidate pays for it.
PRELOADED = (
    "abc array bisect cmath collections copy dataclasses datetime decimal enum fractions functools heapq itertools "
    "json keyword math operator random re statistics string sys textwrap time typing types numbers hashlib calendar"
)
ROLES = {"candidate": candidate.serve, "program": candidate.run_program, "checker": checker.serve}


def main(control_fd, tier):
    for name in PRELOADED.split():
        __import__(name)
    site.setquit()  # exit and quit, which -S leaves out
    control = socket.socket(fileno=control_fd)
    hello = json.loads(control.recv(1 << 16))
    limits, program = hello["limits"], bytes.fromhex(hello["filter"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    children = []
    gc.collect()
    gc.freeze()
    threads = isolate.Threads(control_fd)
    able = {"landlock": isolate.landlock_version(), "count_threads": isolate.can_count_threads()}
    control.send(json.dumps(["ready", able]).encode())
    while True:
        threads.until(control_fd)
        message, fds, _, _ = socket.recv_fds(control, 4096, 16)
        if not message:
            return
        request = json.loads(message)
        if request[0] == "start":
            reply = start(request[1], fds, children, Confinement(tier, limits, program, threads))
            for fd in fds:
                os.close(fd)
        else:
            reply = ["ended", end(children)]
            threads.clear()
        control.send(json.dumps(reply).encode())


Confinement = collections.namedtuple("Confinement", "tier limits program threads")


def start(roles, fds, children, how):
    try:
        for role, private, wanted in roles:
            asks = how.threads.pair() if private and how.tier != "none" else None
            pid = isolate.fork(isolate.namespaces(how.tier) if private else 0)
            if pid == 0:
                become(role, [fds[index] for index in wanted], how, private, asks)
            children.append(pid)
            if asks:
                asks.close()
    except OSError as error:
        end(children)
        how.threads.clear()
        return ["failed", str(error)]
    return ["started"]


def become(role, fds, how, private, asks):
    """The child: the last descriptor is its output, a program's last but one its input, the others are channels."""
    try:
        null = source = os.open("/dev/null", os.O_RDWR)
        *channels, output = fds
        if role == "program":
            source = channels.pop()
        channels = [os.dup(fd) for fd in channels]
        for fd, target in ((source, 0), (output, 1), (null if role == "program" else output, 2)):
            os.dup2(fd, target)
        isolate.confine(how.tier, how.limits, how.program, [0, 1, 2, *channels], private, asks)
        ROLES[role](*channels)
    except BaseException as error:
        report(error)
    finally:
        os._exit(0)


def report(error):
    if not isinstance(error, SystemExit):
        os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="replace")[:500])
        os._exit(70)


def end(children):
    """Kill and reap all; [[exit code or minus the signal, was still running]...] in order."""
    statuses = []
    for pid in children:
        done, status, running = 0, 0, False
        done, status = os.waitpid(pid, os.WNOHANG)
        if not done:
            running = True
            os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
        statuses.append([os.waitstatus_to_exitcode(status), running])
    children.clear()
    return statuses
