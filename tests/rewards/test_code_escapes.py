"""Ways out of a candidate's process, by the kernel's calls: each is refused, in both tiers, and judged False.

`hostile_programs` holds the programs of the specification; here are the calls that no program of a task needs.
"""

# ruff: noqa: E501

import os
import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from rewards.code import Grader, Result
from rewards.code.sandbox import Limits

pytestmark = pytest.mark.integration
TESTS = [{"fn": "f", "args": [7], "expected": 49}]
OTHER = "os.getppid() or 1"  # in landlock the template, in bubblewrap the first process of the namespace
BEGIN = (
    "import ctypes, fcntl, mmap, os, socket, struct\ncall = ctypes.CDLL(None, use_errno=True).syscall\n"
    "call.restype, room = ctypes.c_long, ctypes.create_string_buffer(256)\n"
)
# Name: the call's number on x86-64, and its arguments. Each must be refused before the kernel looks at them (EPERM).
CALLS = {
    "ptrace": f"101, 0x4206, {OTHER}, 0, 0",
    "process_vm_readv": "310, os.getpid(), 0, 0, 0, 0, 0",
    "kcmp": "312, os.getpid(), os.getpid(), 0, 0, 0",
    "pidfd_open": "434, os.getpid(), 0",
    "stop by kill": f"62, {OTHER}, 19",
    "stop itself": "62, os.getpid(), 19",
    "stop by tgkill": f"234, {OTHER}, {OTHER}, 19",
    "stop by tkill": f"200, {OTHER}, 19",
    "rt_sigqueueinfo": f"129, {OTHER}, 19, room",
    "clone": "56, 17, 0, 0, 0, 0",
    "clone into a namespace": "56, 0x10000011, 0, 0, 0, 0",
    "vfork": "58,",
    "unshare": "272, 0x10000000",
    "setns": "308, 0, 0",
    "userfaultfd": "323, 0",
    "io_uring_setup": "425, 4, room",
    "perf_event_open": "298, room, 0, -1, -1, 0",
    "seccomp": "317, 1, 0, 0",
    "add_key": "248, b'user', b'x', b'y', 1, -1",
    "request_key": "249, b'user', b'x', 0, -1",
    "memfd_create": "319, b'x', 0",
    "shmget": "29, 0, 1 << 20, 0o1600",
    "msgget": "68, 0, 0o1600",
    "semget": "64, 0, 1, 0o1600",
    "mq_open": "240, b'q', 0o102, 0o600, 0",
    "timer_create": "222, 0, 0, room",
    "inotify_init": "294, 0",
    "netlink": "41, 16, 3, 0",
    "AF_ALG": "41, 38, 5, 0",
    "vsock": "41, 40, 1, 0",
    "datagram pair": "53, 1, 2, 0, room",
    "sendmsg": "46, 0, room, 0",
    "setpriority": f"141, 0, {OTHER}, 5",
    "sched_setaffinity": f"203, {OTHER}, 8, b'\\x01' + bytes(7)",
    "limits of another": f"302, {OTHER}, 7, 0, room",
    "its own limits": "302, 0, 9, struct.pack('QQ', 1 << 40, 1 << 40), 0",
    "chmod": "90, b'/usr/bin/env', 0o755",
    "link": "86, b'/usr/bin/env', b'/tmp/e'",
    "symlink": "88, b'/etc', b'/tmp/e'",
    "setxattr": "188, b'/usr/bin/env', b'user.x', b'y', 1, 0",
    "utimensat": "280, -100, b'/usr/bin/env', 0, 0",
    "openat2": "437, -100, b'/usr', bytes(24), 24",
    "open_by_handle_at": "304, -100, room, 0",
    "mount": "165, 0, b'/tmp', b'tmpfs', 0, 0",
    "fsopen": "430, b'tmpfs', 0",
    "chroot": "161, b'/tmp'",
    "personality": "135, 0x40000",
    "capset": "126, struct.pack('II', 0x20080522, 0), bytes([255]) * 24",
    "setuid": "105, 0",
    "prctl": "157, 4, 1, 0, 0, 0",
    "a call of x32": "0x40000000 + 39,",
}
REFUSED = """
try: done = call({arguments})
except (TypeError, ctypes.ArgumentError): return 49
assert done >= 0 or ctypes.get_errno() != 1
"""
MACHINE_CODE = """
page = mmap.mmap(-1, 4096, prot=7)
page.write({code!r})
assert ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))() >= 0
"""
PROGRAMS = {
    **{f"system call: {name}": REFUSED.format(arguments=arguments) for name, arguments in CALLS.items()},
    "fork as a 32-bit program": MACHINE_CODE.format(code=b"\xb8\x02\x00\x00\x00\xcd\x80\xc3"),
    "fork by x32": MACHINE_CODE.format(code=b"\xb8\x39\x00\x00\x40\x0f\x05\xc3"),
    # Locks of files that others use, and signals that descriptors send
    "a lock for reading": "fcntl.lockf(os.open('/usr/bin/env', 0), fcntl.LOCK_SH | fcntl.LOCK_NB)",
    "a lock of the open file": "fcntl.fcntl(os.open('/usr/bin/env', 0), 37, struct.pack('hhqqi', 0, 0, 0, 0, 0) + bytes(4))",
    "a lease": "fcntl.fcntl(os.open('/usr/bin/env', 0), 1024, 0)",
    "news of a folder": "fcntl.fcntl(os.open('/usr/bin', 0), 1026, 1)",
    "an owner of signals": f"fcntl.fcntl(os.pipe()[0], 15, struct.pack('ii', 1, {OTHER}))",
    "signals by ioctl": "fcntl.ioctl(os.pipe()[0], 0x5452, struct.pack('i', 1))",
    "typing for others": "fcntl.ioctl(0, 0x5412, b'x')",
    # Memory that the address space does not count
    "large pipes": "fcntl.fcntl(os.pipe()[0], 1031, 1 << 20)",
    "large socket buffers": "socket.socketpair()[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 28)",
    "many descriptors": "kept = [os.pipe() for _ in range(100)]",
    "shared memory": "kept = [mmap.mmap(-1, 64 << 20) for _ in range(40)]",
    "mapped /dev/zero": "kept = [mmap.mmap(os.open('/dev/zero', 2), 64 << 20) for _ in range(40)]",
    "files without a name": (
        "kept = [open(f'/tmp/u{n}', 'wb') for n in range(40)]\nfor n, file in enumerate(kept):\n"
        "    os.unlink(f'/tmp/u{n}')\n    file.write(bytes(1 << 20))\n    file.flush()"
    ),
    "a file of a terabyte": "os.ftruncate(os.open('/tmp/b', os.O_RDWR | os.O_CREAT), 1 << 40)",
    "folders without end": "for _ in range(3000):\n    os.mkdir('d')\n    os.chdir('d')",
    "its process in /proc": "open('/proc/self/status').read()",
    "the parent's program": f"os.readlink(f'/proc/{{{OTHER}}}/exe')",
    "/sys": "open('/sys/kernel/mm/transparent_hugepage/enabled').read()",
    "/dev/shm": "open('/dev/shm/srm_ray_test', 'w').write('x')",
}  # fmt: skip
WHOLE = {
    "a thread that ends the process": "import os, threading, time\ndef f(x):\n    threading.Thread(target=os._exit, args=(0,)).start()\n    time.sleep(9)\n    return 49",
    "threads that never end": "import threading\ndef spin():\n    while True: pass\nfor _ in range(200): threading.Thread(target=spin, daemon=True).start()\ndef f(x): return 0",
    "an alarm that exits": "import signal, sys\nsignal.signal(signal.SIGALRM, lambda *a: sys.exit(0))\nsignal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)\ndef f(x):\n    while True: pass",
    "a hook of exceptions": "import sys\nsys.excepthook = sys.unraisablehook = lambda *a: None\ndef f(x): raise KeyError",
    "what is done at the end": "import atexit, os\natexit.register(os.write, 1, b'PASSED')\nraise SystemExit",
    "all objects": "import gc\ndef f(x):\n    for o in gc.get_objects():\n        if type(o) is dict and {'expected', 'tests', 'steps'} & o.keys(): return 49",
    "its half of the channel": "import socket\nfor fd in range(3, 64):\n    try: socket.socket(fileno=fd).shutdown(2)\n    except OSError: pass\ndef f(x): return 49",
    "urgent data": "import socket\ndef f(x):\n    for fd in range(3, 64):\n        try: socket.socket(fileno=fd).send(b'x', socket.MSG_OOB)\n        except OSError: pass\n    return 0",
    "descriptors that do not wait": "import fcntl, os\nfor fd in range(64):\n    try: fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)\n    except OSError: pass\ndef f(x): return 0",
    "the protocol's functions": "import wire\nwire.decode = lambda *a: 49\nwire.encode = lambda *a, **k: ['T', 'object']\ndef f(x): return 0",
    "unittest": "import sys, unittest\nunittest.TestCase.assertEqual = lambda *a: None\nsys.modules['pytest'] = sys\ndef f(x): return 0",
}  # fmt: skip


def program(body: str) -> str:
    """Returns 49 where all of `body` went well."""
    lines = "\n".join("    " + line for line in body.strip().splitlines())
    return f"{BEGIN}def f(x):\n{lines}\n    return 49\n"


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def grader(request: pytest.FixtureRequest) -> Iterator[Grader]:
    # Long enough for a machine with other work on it to refuse a call, and not to run out of time before.
    ours = Grader(2, Limits(seconds=5.0), only=request.param)
    assert ours.tier == request.param, f"this machine must have both tiers: {ours.sandbox.why}"
    yield ours
    ours.close()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="NOT TESTED: the numbers are those of x86-64")
def test_no_way_out(grader: Grader) -> None:
    codes = {name: program(body) for name, body in PROGRAMS.items()} | WHOLE

    def result(name: str) -> tuple[str, Result]:
        return name, grader.grade(codes[name], TESTS)

    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(result, codes))
    fell = [(name, one) for name, one in found if one.correct is not False]
    assert not fell, "\n".join(map(str, fell))
    refused = {name for name, one in found if one.reason == "runtime_error"}
    assert {f"system call: {name}" for name in CALLS} - refused <= {"system call: a call of x32"}
    assert grader.sandbox.restarts == 0, "a candidate took its template with it"
    assert not os.path.exists("/dev/shm/srm_ray_test")
    assert grader.grade("def f(x): return x * x\n", TESTS).correct is True


def test_buffers_of_sockets_are_bounded(grader: Grader) -> None:
    code = program(
        "total, kept = 0, []\ntry:\n    while True:\n        kept.append(socket.socketpair())\n        for end in kept[-1]:\n"
        "            end.setblocking(False)\n            try:\n                while True: total += end.send(bytes(65536))\n"
        "            except BlockingIOError: pass\nexcept OSError: pass\nassert total > 64 << 20"
    )
    assert grader.grade(code, TESTS).reason == "runtime_error"
