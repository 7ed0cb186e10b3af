"""Inside the sandbox: a candidate's code, as a server of calls or as a program.

What it sends is only ever data: whatever a candidate does to this process, it can change no more
than the values that it returns, which is what it is asked for anyway.
"""

import io
import os
import sys
import types

import wire

RECURSION = 1100


def serve(channel):
    """Load the code of the first frame, then answer calls.

    In: ["call", function, args, kwargs], ["get", name], ["getattr", id, name],
        ["setattr", id, name, form]; function: a name or ["ref", id].
    Out: ["ready", {name: kind}], ["value", form], ["raise", class, text], ["large"], ["bad", why].
    """
    references = {}
    code = wire.read_frame(channel)["code"]
    sys.stdin = io.StringIO()
    module = types.ModuleType("solution")
    sys.modules["solution"] = module
    space = module.__dict__
    sys.setrecursionlimit(RECURSION)
    reply = attempt(lambda: load(code, space))
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
    return ["raise", kind, text]


def answer(request, space, references):
    def reference(value):
        references[len(references)] = value
        return ["ref", len(references) - 1]

    def of_form(form):
        if form[0] == "ref":
            return references[form[1]]
        if form[0] == "name":
            return space[form[1]]
        raise wire.NotPlain("unknown tag")

    if request[0] == "get":
        return ["value", wire.encode(space[request[1]], reference)]
    if request[0] == "getattr":
        return ["value", wire.encode(getattr(references[request[1]], request[2]), reference)]
    if request[0] == "setattr":
        setattr(references[request[1]], request[2], wire.decode(request[3], of_form))
        return ["value", None]
    _, function, args, kwargs = request
    target = references[function[1]] if isinstance(function, list) else space[function]
    result = target(
        *[wire.decode(a, of_form) for a in args], **{name: wire.decode(v, of_form) for name, v in kwargs.items()}
    )
    return ["value", wire.encode(result, reference)]


def run_program(channel):
    """Run the code as a script: standard input from the first frame; exits as a script does."""
    first = wire.read_frame(channel)
    sys.stdin = io.TextIOWrapper(io.BytesIO(first["stdin"].encode()), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv = ["solution.py"]
    sys.setrecursionlimit(RECURSION)
    status = ["done"]
    try:
        exec(compile(first["code"], "solution.py", "exec"), module.__dict__)
    except SystemExit as error:
        if error.code not in (None, 0):
            status = ["raise", "SystemExit", ""]
    except BaseException as error:
        status = raised(error)
    try:
        sys.stdout.flush()
    except BaseException:
        status = ["raise", "OSError", "standard output"]
    wire.write_frame(channel, status)
    os._exit(0)
