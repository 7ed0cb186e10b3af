"""Inside the sandbox: a candidate's code, as a server of calls or as a program.

What it sends is only ever data: whatever a candidate does to this process, it can change no more
than the values that it returns, which is what it is asked for anyway.
"""

import ast
import atexit
import builtins
import contextlib
import io
import os
import sys
import threading
import types

import wire
from serving import Server, attempt

RECURSION = 1100
STDIN = "/tmp/.stdin"


def serve(channel):
    """Load the code of the first frame, then answer calls (`serving.Server`).

    In: {"code", "prelude"}. Out: ["ready", {name: kind}], or ["raise", ...] as for a call.
    """
    first = wire.read_frame(channel)
    sys.stdin = io.StringIO()
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    space = module.__dict__
    promise(first["prelude"], space)
    sys.setrecursionlimit(RECURSION)
    wire.write_frame(channel, attempt(lambda: load(first["code"], space)))
    Server(channel, space).run()


def promise(source, space):
    """What the prompt promises (its imports and helpers) becomes built in: what the code defines itself goes first."""
    if not source:
        return
    given = {"__name__": "prompt"}
    for statement in ast.parse(source).body:
        with contextlib.suppress(Exception):  # an import that is not here is missed by the code that uses it
            exec(compile(ast.Module([statement], []), "prompt", "exec"), given)
    names = {name: value for name, value in given.items() if not name.startswith("__")}
    space["__builtins__"] = {**names, **vars(builtins)}


def load(code, space):
    exec(compile(code, "solution.py", "exec"), space)
    return ["ready", {name: kind_of(value) for name, value in space.items() if not name.startswith("__")}]


def kind_of(value):
    if isinstance(value, types.ModuleType):
        return "module " + value.__name__
    return "callable" if callable(value) else "value"


def run_program(channel):
    """Run the code as a script, whose standard input is descriptor 0; it ends as a script does.

    Threads are waited for, then what `atexit` holds is run.
    """
    first = wire.read_frame(channel)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    out = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    sys.stdout = out
    vars(sys).update(__stdin__=sys.stdin, __stdout__=out)
    copy_stdin()
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv = ["solution.py"]
    sys.setrecursionlimit(RECURSION)
    promise(first["prelude"], module.__dict__)
    status = ended(lambda: exec(compile(first["code"], "solution.py", "exec"), module.__dict__), ["done"])
    status = ended(threading._shutdown, status)
    status = ended(atexit._run_exitfuncs, status)
    status = ended(lambda: flush(out), status)
    wire.write_frame(channel, status)
    os._exit(0)


def copy_stdin():
    """Where there is no /proc for /dev/stdin to point to, it points to a copy (bubblewrap's private /tmp)."""
    with contextlib.suppress(OSError):
        if os.readlink("/dev/stdin") == STDIN:
            with open(STDIN, "wb") as file:
                os.sendfile(file.fileno(), 0, 0, os.fstat(0).st_size)


def ended(action, status):
    """The status after one more part of the program's end: the first that fails is reported."""
    try:
        action()
    except SystemExit as error:
        return ["raise", "SystemExit", "", []] if error.code not in (None, 0) else status
    except BaseException as error:
        return wire.raised(error) if status == ["done"] else status
    return status


def flush(out):
    for stream in (sys.stdout, out):
        with contextlib.suppress(ValueError):  # closed by the program
            stream.flush()
