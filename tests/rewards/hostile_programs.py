"""Programs that attack, for the task f(7) == 49: each returns 49 only if its attack succeeded.

Each has the reasons with which it may be judged; `correct` is False for all of them.
"""

from typing import NamedTuple


class Hostile(NamedTuple):
    name: str
    code: str
    reasons: frozenset[str]


def define(name: str, reasons: str, code: str) -> Hostile:
    return Hostile(name, code, frozenset(reasons.split()))


def calling(body: str) -> str:
    """A function f that runs `body` and then claims success."""
    lines = "\n".join("    " + line for line in body.strip().splitlines())
    return f"def f(x):\n{lines}\n    return 49\n"


HOSTILE = [
    # The list of the specification
    define("exit at import", "runtime_error no_result", "import sys\nsys.exit(0)"),
    define(
        "always equal",
        "bad_type",
        "class A:\n    def __eq__(self, o): return True\n    __hash__ = None\ndef f(x): return A()",
    ),
    define(
        "int that is always equal", "bad_type", "class I(int):\n    def __eq__(self, o): return True\ndef f(x): return I(1)"
    ),
    define("claims and leaves", "no_result", "import os\nprint('PASSED', flush=True)\nos._exit(0)"),
    define("fork bomb", "runtime_error timeout", calling("import os\nwhile True: os.fork()")),
    define(
        "daemon",
        "runtime_error no_result",
        calling("import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(1000)\n    os._exit(0)"),
    ),
    define("8 GB", "memory", calling("a = bytearray(8 << 30)")),
    define("8 GB in pieces", "memory no_result timeout", calling("a = []\nwhile True: a.append(bytearray(1 << 24))")),
    define(
        "fills the disk",
        "runtime_error",
        calling("for n in range(100000):\n    open(f'/tmp/fill{n}', 'wb').write(b'x' * (1 << 20))\nopen('/tmp/z', 'w')"),
    ),
    define(
        "loopback", "runtime_error", calling("import socket\nsocket.create_connection(('127.0.0.1', 22), 1)")
    ),
    define(
        "abstract socket",
        "runtime_error",
        calling("import socket\ns = socket.socket(socket.AF_UNIX)\ns.bind('\\0srm')\ns.listen()"),
    ),
    define("environment of 1", "runtime_error", calling("assert 'SRM_SECRET' in open('/proc/1/environ').read()")),
    define("passwd", "runtime_error", calling("assert 'root' in open('/etc/passwd').read()")),
    define(
        "frames",
        "wrong",
        "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n        for v in list(frame.f_locals.values()):\n"
        "            if isinstance(v, dict) and 'expected' in v: return v['expected']\n        frame = frame.f_back\n",
    ),
    define(
        "ignores signals",
        "timeout",
        "import signal\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n    except Exception: pass\nwhile True: pass",
    ),
    define("endless output", "output_limit", "while True: print('x' * 1000)"),
    define("200 MB value", "output_limit memory", "def f(x): return 'x' * 200_000_000"),
    define("segfault", "no_result", calling("import ctypes\nctypes.string_at(0)")),
    define("patched json", "wrong", "import json\njson.dumps = lambda *a, **k: '[\"value\", 49]'\ndef f(x): return 0"),
    define("huge integer", "output_limit timeout", "def f(x): return 10 ** (10 ** 8)"),
    # More
    define("exit in the call", "runtime_error", "import sys\ndef f(x): sys.exit(0)"),
    define("os._exit in the call", "no_result", "import os\ndef f(x): os._exit(0)"),
    define("abort", "no_result", "import os\ndef f(x): os.abort()"),
    define("kills everyone", "runtime_error", calling("import os\nos.kill(-1, 9)")),
    define("kills the parent", "runtime_error", calling("import os\nos.kill(os.getppid() or 1, 9)")),
    define("kills the group", "runtime_error", calling("import os\nos.killpg(0, 9)")),
    define("subprocess", "runtime_error", calling("import subprocess\nsubprocess.run(['/usr/bin/true'], check=True)")),
    define("system", "runtime_error", calling("import os\nassert os.system('true') == 0")),
    define("exec", "runtime_error", calling("import os\nos.execv('/usr/bin/true', ['true'])")),
    define(
        "memfd and exec",
        "runtime_error",
        calling("import os\nfd = os.memfd_create('x')\nos.write(fd, b'#!/bin/sh')\nos.execv(f'/proc/self/fd/{fd}', ['x'])"),
    ),
    define("multiprocessing", "runtime_error no_result", calling("import multiprocessing as m\nm.Process(target=print).start()")),
    *[
        define(
            f"system call {name}",
            "runtime_error",
            calling(f"import ctypes\nassert ctypes.CDLL(None).syscall({number}, 0, 0, 0, 0) >= 0"),
        )
        for name, number in (("ptrace", 101), ("mount", 165), ("unshare", 272), ("bpf", 321), ("io_uring", 425), ("keyctl", 250))
    ],
    define(
        "user namespace", "runtime_error", calling("import ctypes\nassert ctypes.CDLL(None).unshare(0x10000000) == 0")
    ),
    define(
        "raises its limits",
        "runtime_error",
        calling("import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))"),
    ),
    define(
        "raises its priority", "runtime_error", calling("import os\nos.setpriority(os.PRIO_PROCESS, 0, -10)")
    ),
    define("thread bomb", "runtime_error memory timeout no_result", calling(
        "import threading, time\nthreading.stack_size(65536)\nwhile True: threading.Thread(target=time.sleep, args=(99,)).start()"
    )),
    define("recursion", "runtime_error", "def f(x): return f(x)"),
    define(
        "deep recursion in C", "runtime_error no_result memory",
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(x):\n    class A: pass\n    a = A()\n    a.__class__.__repr__ = lambda s: repr(s)\n    return repr(a)",
    ),
    define("patched builtins", "wrong no_result", "import builtins\nbuiltins.isinstance = builtins.all = lambda *a: True\ndef f(x): return 0"),
    define("own equal", "wrong", "def equal(a, b): return True\ndef judged(*a): pass\ndef f(x): return 0"),
    define(
        "patches the server",
        "wrong bad_type no_result",
        "import sys\nfor m in list(sys.modules.values()):\n    for n in ('equal', 'judged', 'run_calls'):\n"
        "        if hasattr(m, n): setattr(m, n, lambda *a: True)\ndef f(x): return 0",
    ),
    define("garbage on every descriptor", "bad_type no_result output_limit wrong",
        "import os\ndef f(x):\n    for fd in range(64):\n        try: os.write(fd, b'PASSED' * 10)\n        except OSError: pass\n    return 0"),
    define("endless frame", "output_limit bad_type no_result timeout",
        "import os\ndef f(x):\n    for fd in range(3, 64):\n        try: os.write(fd, b'\\xff' * 1000)\n        except OSError: pass\n    return 0"),
    define("closes everything", "no_result", "import os\nos.closerange(0, 100)\ndef f(x): return 49"),
    define("str that is always equal", "bad_type", "class S(str):\n    def __eq__(self, o): return True\n    __hash__ = str.__hash__\ndef f(x): return S('')"),
    define("pretends its class", "bad_type", "class P:\n    @property\n    def __class__(self): return int\n    def __eq__(self, o): return True\ndef f(x): return P()"),
    define("always-equal inside a list", "bad_type wrong", "class A:\n    def __eq__(self, o): return True\ndef f(x): return [A()]"),
    define("own metaclass", "bad_type wrong", "class M(type):\n    def __eq__(self, o): return True\n    __hash__ = None\nclass A(metaclass=M): pass\ndef f(x): return A"),
    define("endless generator", "output_limit timeout", "def f(x):\n    while True: yield 49"),
    define("cyclic list", "bad_type", "def f(x):\n    a = []\n    a.append(a)\n    return a"),
    define("deep list", "bad_type runtime_error", "def f(x):\n    a = []\n    for _ in range(100000): a = [a]\n    return a"),
    define("nan", "wrong", "def f(x): return float('nan')"),
    define("True", "wrong", "def f(x): return True"),
    define("raises BaseException", "runtime_error", "class E(BaseException): pass\ndef f(x): raise E"),
    define("raises with a hostile text", "runtime_error", "class E(Exception):\n    def __str__(self): raise SystemExit\ndef f(x): raise E"),
    define("raises StopIteration", "runtime_error", "def f(x): raise StopIteration(49)"),
    define("raises AssertionError", "runtime_error", "def f(x): raise AssertionError"),
    define("reads its memory", "runtime_error", calling("open('/proc/self/mem', 'rb').read(1)")),
    define("overwrites the checker", "runtime_error", calling("import wire\nopen(wire.__file__, 'w').write('')")),
    define("writes to /usr", "runtime_error", calling("open('/usr/srm', 'w').write('x')")),
    define("link out", "runtime_error", calling("import os\nos.symlink('/etc', '/tmp/e')\nos.listdir('/tmp/e')\nopen('/tmp/e/shadow')")),
    define("device node", "runtime_error", calling("import os\nos.mknod('/tmp/sda', 0o60666, os.makedev(8, 0))\nopen('/tmp/sda')")),
    define("many files", "runtime_error", calling("for n in range(10**6): open(f'/tmp/{n}', 'w').close()")),
    define("sleeps", "timeout", "import time\ndef f(x): time.sleep(1000)"),
    define("waits for input", "runtime_error wrong", "def f(x): return input()"),
    define("slow regex", "timeout", "import re\ndef f(x): return re.match('(a+)+$', 'a' * 60 + 'b') or 49"),
    define("not Python", "rejected_syntax", "def f(x) return 49"),
    define("NUL", "rejected_syntax runtime_error", "def f(x): return 49\0"),
    define("nested parentheses", "rejected_syntax runtime_error memory", "x = " + "(" * 5000 + ")" * 5000),
    define("another name", "no_answer", "def g(x): return 49"),
    define("empty", "no_answer", ""),
]  # fmt: skip
