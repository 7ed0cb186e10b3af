"""Inside the sandbox: a candidate's code, as a server of calls or as a program.

What it sends is only ever data: whatever a candidate does to this process, it can change no more
than the values that it returns, which is what it is asked for anyway.
"""

import ast
import atexit
import builtins
import contextlib
import dataclasses
import io
import operator
import os
import sys
import threading
import types

import wire

RECURSION = 1100
# What the checker may ask of an object of a class that is tested (`link.Opaque`).
OPERATIONS = {
    **{f"__{f.__name__}__": f for f in (len, next, str, repr, bool, int, float, abs)},
    "__iter__": lambda thing: iter(list(wire.limited(thing))),
    "__enter__": lambda thing: thing.__enter__(),
    "__exit__": lambda thing, *error: left(thing, *error),
    **{
        f"__{name}__": getattr(operator, f"__{name}__")
        for name in "getitem setitem delitem neg pos add sub mul matmul truediv floordiv mod pow and or xor".split()
    },
}
STDIN = "/tmp/.stdin"


def serve(channel):
    """Load the code of the first frame, then answer calls.

    In: ["call", target, args, kwargs], ["change", target, args, kwargs] (a call of which args as they are afterwards
        are the value), ["get", name], ["getattr", target, name], ["setattr", target, name, form],
        ["operation", name, args] (`OPERATIONS`), ["fields", target], ["isa", target, name], ["issubclass", name, name];
        target: a name or ["ref", id].
    Out: ["ready", {name: kind}], ["value", form], ["raise", class, text, its own classes' names], ["large"],
        ["bad", why].
    """
    references = {}
    first = wire.read_frame(channel)
    sys.stdin = io.StringIO()
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    space = module.__dict__
    promise(first["prelude"], space)
    sys.setrecursionlimit(RECURSION)
    reply = attempt(lambda: load(first["code"], space))
    wire.write_frame(channel, reply)
    while True:
        try:
            request = wire.read_frame(channel)
        except wire.Closed:
            return
        try:
            reply = attempt(lambda request=request: answer(request, space, references))
            wire.write_frame(channel, reply)
        except wire.TooLarge:
            wire.write_frame(channel, ["large"])


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


def attempt(action):
    """The reply of `action`; what it raises becomes a reply too."""
    try:
        return action()
    except wire.TooLarge:
        return ["large"]
    except wire.NotPlain as error:
        return ["bad", str(error)[:200]]
    except wire.Closed:
        raise
    except BaseException as error:
        return raised(error)


def raised(error):
    kind = next((k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins"), "Exception")
    try:
        text = str(error)[:500]
    except BaseException:
        text = ""
    own = [k.__name__ for k in type(error).__mro__ if k.__module__ != "builtins"]
    return ["raise", kind, text, own[:20]]


def answer(request, space, references):
    def reference(value):
        references[len(references)] = value
        return ["ref", len(references) - 1]

    def of_form(form):
        if form[0] == "ref":
            return references[form[1]]
        if form[0] == "name":
            return space[form[1]]
        if form[0] == "known":
            return getattr(sys.modules[form[1]], form[2])
        raise wire.NotPlain("unknown tag")

    def target(form):
        return references[form[1]] if isinstance(form, list) else space[form]

    if request[0] == "get":
        return ["value", wire.encode(space[request[1]], reference)]
    if request[0] == "getattr":
        return ["value", wire.encode(getattr(target(request[1]), request[2]), reference)]
    if request[0] == "setattr":
        setattr(target(request[1]), request[2], wire.decode(request[3], of_form))
        return ["value", None]
    if request[0] == "operation":
        operation = OPERATIONS[request[1]]
        return ["value", wire.encode(operation(*[wire.decode(a, of_form) for a in request[2]]), reference)]
    if request[0] == "fields":
        return ["value", wire.encode(fields_of(target(request[1])), reference)]
    if request[0] == "isa":
        return ["value", isinstance(target(request[1]), space[request[2]])]
    if request[0] == "issubclass":
        return ["value", issubclass(space[request[1]], space[request[2]])]
    kind, function, forms, kwargs = request
    args = [wire.decode(a, of_form) for a in forms]
    result = target(function)(*args, **{name: wire.decode(v, of_form) for name, v in kwargs.items()})
    return ["value", wire.encode(args if kind == "change" else result, reference)]


def fields_of(thing):
    """(class, {field: value}) of a dataclass's object."""
    kind = type(thing)
    if not dataclasses.is_dataclass(kind):
        raise wire.NotPlain(kind.__name__)
    return kind.__name__, {field.name: getattr(thing, field.name) for field in dataclasses.fields(kind)}


def left(thing, name="", text=""):
    """The end of a `with`; name: of the exception that ends it."""
    kind = getattr(builtins, name, RuntimeError) if name else None
    return bool(thing.__exit__(kind, kind(text) if kind else None, None))


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
        return raised(error) if status == ["done"] else status
    return status


def flush(out):
    for stream in (sys.stdout, out):
        with contextlib.suppress(ValueError):  # closed by the program
            stream.flush()
