"""The other process: runs the tests, with the candidate's functions as proxies.

Test code is run unchanged; whatever a proxy returns was rebuilt here from plain data, so that `==`
is Python's own. A value that is not plain comes back as an `Opaque`, which may be passed to the
candidate again (MBPP builds trees that way) and is a `bad_type` as soon as a test looks at it.

Names that a test uses and nobody here defines are looked up in the candidate: its functions and
classes as proxies, its plain values by value, standard modules as the checker's own. A built-in
name is the candidate's only where it is the very function that the tests ask for.
"""

import ast
import builtins
import contextlib
import importlib
import sys

import wire


class Stop(BaseException):
    """Nothing more can be learned from this candidate; `reason` is the verdict's."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class Link:
    """The channel to the candidate."""

    def __init__(self, fd):
        self.fd = fd
        self.last_raised = None

    def ask(self, request):
        try:
            wire.write_frame(self.fd, request)
        except wire.TooLarge:
            raise Stop("bad_tests") from None
        except wire.Closed:
            raise Stop("no_result") from None
        return self.reply()

    def reply(self):
        try:
            reply = wire.read_frame(self.fd)
        except wire.Closed:
            raise Stop("no_result") from None
        except wire.TooLarge:
            raise Stop("output_limit") from None
        except wire.NotPlain:
            raise Stop("bad_type") from None
        if not isinstance(reply, list) or not reply or not isinstance(reply[0], str):
            raise Stop("bad_type")
        return reply

    def call(self, function, args, kwargs):
        forms = [wire.encode(a, self.outgoing) for a in args]
        return self.value(
            self.ask(["call", function, forms, {k: wire.encode(v, self.outgoing) for k, v in kwargs.items()}])
        )

    def get(self, name):
        return self.value(self.ask(["get", name]))

    def outgoing(self, value):
        if type(value) is Opaque:
            return ["ref", value._Opaque__id]
        if type(value) is Proxy and isinstance(value._Proxy__name, str):
            return ["name", value._Proxy__name]
        raise wire.NotPlain(f"a test passes a {type(value).__name__}")

    def incoming(self, form):
        if form[0] == "ref" and type(form[1]) is int:
            return Opaque(self, form[1])
        raise wire.NotPlain("unknown tag")

    def value(self, reply):
        kind = reply[0]
        try:
            if kind == "value":
                return wire.decode(reply[1], self.incoming)
        except (wire.NotPlain, IndexError, RecursionError):
            raise Stop("bad_type") from None
        if kind == "raise" and len(reply) == 3:
            self.last_raised = exception(*reply[1:])
            raise self.last_raised
        raise Stop({"large": "output_limit"}.get(kind, "bad_type"))


def exception(name, text):
    """The built-in exception that the candidate raised; SystemExit and the like as RuntimeError."""
    kind = getattr(builtins, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = RuntimeError
    try:
        return kind(text)
    except TypeError:  # UnicodeDecodeError wants five arguments
        return RuntimeError(text)


class Proxy:
    """A function of the candidate."""

    def __init__(self, link, name):
        self.__link, self.__name = link, name
        self.__name__ = name if isinstance(name, str) else "candidate"

    def __call__(self, *args, **kwargs):
        return self.__link.call(self.__name, args, kwargs)


def _looked_at(self, *args):
    raise Stop("bad_type")


class Opaque:
    """A value that lives in the candidate's process.

    It can be an argument, be called, and have attributes read and set (MBPP's setup code links
    nodes that way), all of which happens in the candidate's process. Any other use is `bad_type`.
    """

    __slots__ = ("__id", "__link")

    def __init__(self, link, number):
        object.__setattr__(self, "_Opaque__link", link)
        object.__setattr__(self, "_Opaque__id", number)

    def __call__(self, *args, **kwargs):
        return self.__link.call(["ref", self.__id], args, kwargs)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise Stop("bad_type")
        return self.__link.value(self.__link.ask(["getattr", self.__id, name]))

    def __setattr__(self, name, value):
        link = self.__link
        link.value(link.ask(["setattr", self.__id, name, wire.encode(value, link.outgoing)]))

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __len__ = __iter__ = __hash__ = _looked_at
    __getitem__ = __contains__ = __int__ = __float__ = __index__ = __str__ = __repr__ = __abs__ = _looked_at
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __mod__ = __neg__ = _looked_at


def serve(results, channel):
    """Tests from `results`, the candidate behind `channel`; one frame back.

    In: {"code": the candidate's, passed on unread, "kind": "calls" | "asserts" | "script", "tests": ...,
        "entry_point": name or None, "prompt": text or None}
    Out: {"passed": n, "total": n, "reason": word}
    """
    job = wire.read_frame(results, limit=64 << 20)
    wire.write_frame(channel, {"code": job.pop("code")})
    outcome = {"passed": 0, "total": total_of(job), "reason": "correct"}
    sys.setrecursionlimit(10_000)
    try:
        RUN[job["kind"]](job, Link(channel), outcome)
    except Stop as stop:
        outcome["reason"] = stop.reason
    except MemoryError:
        outcome["reason"] = "bad_type"
    wire.write_frame(results, outcome)


def total_of(job):
    if job["kind"] == "asserts":
        return sum(is_test(statement) for statement in job["tests"])
    return len(job["tests"]) if job["kind"] == "calls" else 1


def is_test(statement):
    try:
        return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(statement)))
    except (SyntaxError, ValueError, RecursionError):
        return True


def loaded(link):
    """The names that the candidate's code defines."""
    reply = link.reply()
    if reply[0] == "ready" and len(reply) == 2 and isinstance(reply[1], dict):
        return {name: kind for name, kind in reply[1].items() if isinstance(kind, str)}
    if reply[0] == "raise" and len(reply) == 3 and isinstance(reply[1], str):
        if reply[1] in ("SyntaxError", "IndentationError", "TabError"):
            raise Stop("rejected_syntax")
        raise Stop("memory" if reply[1] == "MemoryError" else "runtime_error")
    raise Stop("bad_type")


def run_calls(job, link, outcome):
    names = loaded(link)
    for test in job["tests"]:
        if test["fn"] not in names:
            raise Stop("no_answer")
        with judged(link, outcome):
            result = link.call(test["fn"], [wire.decode(a) for a in test["args"]], {})
            assert equal(result, wire.decode(test["expected"]))


def equal(result, expected):
    """Equality in which a list of the tests (JSON has no tuples) accepts a tuple."""
    if type(result) is Opaque:
        raise Stop("bad_type")
    if isinstance(expected, list) and isinstance(result, list | tuple):
        return len(result) == len(expected) and all(equal(r, e) for r, e in zip(result, expected, strict=True))
    if isinstance(expected, dict) and isinstance(result, dict):
        return result.keys() == expected.keys() and all(equal(result[k], e) for k, e in expected.items())
    if isinstance(expected, bool) is not isinstance(result, bool):
        return False
    return result == expected


def run_asserts(job, link, outcome):
    names = loaded(link)
    trees = [ast.parse(statement) for statement in job["tests"]]
    space = trusted(job)
    asked = {job["entry_point"]} if job["entry_point"] else asked_for(trees, names)
    if not asked & names.keys() and any(is_test(s) for s in job["tests"]) and not used(trees) & names.keys():
        raise Stop("no_answer")
    fill(space, used(trees), names, asked, link)
    for statement, tree in zip(job["tests"], trees, strict=True):
        code = compile(tree, "test", "exec")
        if is_test(statement):
            with judged(link, outcome):
                exec(code, space)
        else:
            run_trusted(code, space)


def run_script(job, link, outcome):
    names = loaded(link)
    tree = ast.parse(job["tests"])
    entry = job["entry_point"]
    space = trusted(job)
    if entry and entry not in names:
        raise Stop("no_answer")
    fill(space, used([tree]), names, {entry} if entry else asked_for([tree], names), link)
    if entry:
        space["candidate"] = Proxy(link, entry)
    with judged(link, outcome):
        exec(compile(tree, "test", "exec"), space)
        if entry and callable(space.get("check")):
            space["check"](space["candidate"])


def trusted(job):
    """A namespace with the helpers that the prompt defines, which are the tests' own."""
    space = {"__name__": "tests"}
    if job.get("prompt"):
        run_trusted(compile(job["prompt"], "prompt", "exec"), space)
        space.pop(job["entry_point"], None)  # the prompt has only its signature
    return space


def run_trusted(code, space):
    try:
        exec(code, space)
    except Exception:
        raise Stop("bad_tests") from None


@contextlib.contextmanager
def judged(link, outcome):
    """Count one test; the first that fails gives the reason."""
    reason = None
    try:
        yield
    except Stop:
        raise
    except (wire.NotPlain, wire.TooLarge):
        raise Stop("bad_tests") from None
    except BaseException as error:
        reason = "wrong"
        if error is link.last_raised:
            reason = "memory" if isinstance(error, MemoryError) else "runtime_error"
    if reason is None:
        outcome["passed"] += 1
    elif outcome["reason"] == "correct":
        outcome["reason"] = reason


def asked_for(trees, names):
    """The functions that every assert calls: those of the candidate, built-in names only as a last resort."""
    called = [
        {n.func.id for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Assert)
    ]
    everywhere = set.intersection(*called) if called else set()
    own = {name for name in everywhere if name in names}
    return {name for name in own if not hasattr(builtins, name)} or own


def used(trees):
    return {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}


def fill(space, wanted, names, asked, link):
    """Give the tests what they use and only the candidate defines."""
    for name in wanted & names.keys():
        if name in space or (hasattr(builtins, name) and name not in asked):
            continue
        kind = names[name]
        if kind.startswith("module "):
            module = kind.removeprefix("module ")
            if module.partition(".")[0] in sys.stdlib_module_names:
                space[name] = importlib.import_module(module)
        elif kind == "callable":
            space[name] = Proxy(link, name)
        else:
            space[name] = link.get(name)


RUN = {"calls": run_calls, "asserts": run_asserts, "script": run_script}
