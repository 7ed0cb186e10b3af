"""The checker's side of the channel: the candidate's functions as proxies, its values rebuilt from plain data.

A value that is not plain comes back as an `Opaque`, which may be passed to the candidate again (MBPP builds trees
that way) and is a `bad_type` as soon as a test looks at it.
"""

import builtins
import contextlib
import math
import operator
import types

import wire
from lending import DEPTH, Lending, can_be_lent
from objects import Objects
from proxies import Method, Missing, Opaque, Proxy

FUNCTIONS = (types.FunctionType, types.ModuleType)
MUTABLE = (list, dict, set, bytearray)


class Stop(BaseException):
    """Nothing more can be learned from this candidate; `reason` is the verdict's, `detail` says why tests are bad."""

    def __init__(self, reason, detail=""):
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class Link:
    """The channel to the candidate.

    asked: how often something was asked of it: before the first time, what fails is the tests' own.
    changing: the arguments of a call whose value the tests drop (`in_place`).
    stopped: the first Stop, remembered because tests may swallow it. last_raised: the candidate's last exception.
    classes: names of the candidate's that the tests use as classes. errors: name -> exception class of the checker's,
    of the candidate's exceptions that the tests expect.
    answering: how many calls of the candidate's are being answered: what cannot be sent then is its own doing.
    nan: whether the tests know of values that are no number. Elsewhere one would pass every check of the form
    `if abs(f(x) - y) > limit: fail()`. reads_floats: whether they make floats of what they get, as of the text "nan".
    """

    def __init__(self, fd, nan=False, reads_floats=False, classes=(), errors=()):
        self.fd = fd
        self.classes = frozenset(classes)
        self.errors = {name: type(name, (Exception,), {}) for name in errors}
        self.nan = nan
        self.reads_floats = reads_floats
        self.asked = 0
        self.changing = ()
        self.last_raised = None
        self.stopped = None
        self.lending, self.objects = Lending(), Objects()
        self.answering = 0

    def stop(self, reason, detail=""):
        if self.stopped is None:
            self.stopped = Stop(reason, detail)
        return self.stopped

    def blame(self, reason, detail=""):
        """`reason`, if something of the candidate's may be the cause; else the tests are bad by themselves."""
        return self.stop(reason) if self.asked else self.stop("bad_tests", detail)

    def ask(self, request):
        """The candidate's reply, after what it calls of the tests' functions in the meantime."""
        if self.stopped is not None:
            raise self.stopped
        self.send(request)
        self.asked += 1
        while (reply := self.reply())[0] == "lent":
            self.send(self.lent(reply))
        return reply

    def send(self, frame):
        try:
            wire.write_frame(self.fd, frame)
        except wire.TooLarge:
            raise self.blame("output_limit") from None
        except wire.Closed:
            raise self.stop("no_result") from None

    def lent(self, call):
        """The frame for a call of a function that the tests have given to the candidate."""
        if len(call) != 4 or not self.lending.known(call[1]) or type(call[2]) is not list or type(call[3]) is not dict:
            raise self.stop("bad_type")
        if self.lending.depth == DEPTH:
            raise self.stop("runtime_error")
        _, number, forms, named = call
        values = self.plain(["l", [*forms, *named.values()]])
        met, count = self.objects.met, len(forms)
        fine, made = self.lending.call(number, values[:count], dict(zip(named, values[count:], strict=True)))
        if self.stopped is not None:  # and the function has swallowed it
            raise self.stopped
        self.objects.waiting += met
        self.answering += 1
        answer = ["value", self.form(made)] if fine else made
        self.give()
        self.answering -= 1
        return answer

    def reply(self):
        try:
            reply = wire.read_frame(self.fd)
        except wire.Closed:
            raise self.stop("no_result") from None
        except wire.TooLarge:
            raise self.stop("output_limit") from None
        except wire.NotPlain:
            raise self.stop("bad_type") from None
        if not isinstance(reply, list) or not reply or not isinstance(reply[0], str):
            raise self.stop("bad_type")
        return reply

    def form(self, value):
        """What is sent for an argument of the tests."""
        try:
            return wire.encode(value, self.outgoing)
        except wire.TooLarge:
            raise self.blame("output_limit", "a test hands over more than 8 MiB") from None
        except (wire.NotPlain, RecursionError) as error:
            raise self.blame("bad_type", str(error)) from None

    def call(self, function, args, kwargs):
        changes = bool(args) and list(map(id, args)) == list(map(id, self.changing))
        forms, named = [self.form(a) for a in args], {k: self.form(v) for k, v in kwargs.items()}
        sent = self.give()
        reply = self.ask(["change" if changes else "call", function, forms, named])
        if not changes:
            return self.value(reply)
        if reply[0] == "value":
            self.fetch([*map(list, sent), *self.objects.forms_in(reply)], in_place=True)
        said = self.value(reply, self.decoded)
        if type(said) is not list or len(said) != len(args):
            raise self.stop("bad_type")
        for own, made in ((own, made) for own, made in zip(args, said, strict=True) if type(own) in MUTABLE):
            if type(made) is not type(own):
                raise self.stop("bad_type")
            take_over(own, made)
        return None

    def give(self):
        """Send the fields of the objects that are named in what is sent next; returns the keys of these objects."""
        rows = []
        while self.objects.waiting:
            rows.append(self.objects.row(*self.objects.waiting.pop(), self.form))
        sent, self.objects.touched = self.objects.touched, set()
        if rows:
            self.value(self.ask(["given", rows, self.objects.classes(self.form)]))
        return sent

    def fetch(self, forms, in_place=False):
        """Read these objects as the candidate has them, and all of their kind that hang on them."""
        reply = self.ask(["fields", forms, self.objects.names()]) if forms else ["value", []]
        self.objects.here, self.objects.met = {}, []
        try:
            if reply[0] != "value":
                raise ValueError(reply[0])
            self.objects.place(reply[1], self.decoded, in_place=in_place)
        except (ValueError, TypeError, AttributeError, LookupError):
            raise self.stop("bad_type") from None

    def in_place(self, function, /, *args, **kwargs):
        """A call in the tests whose value is dropped: lists, dicts, sets and bytearrays among its arguments become what
        the candidate makes of them."""
        self.changing = args if type(function) in (Proxy, Method, Opaque) else ()
        try:
            return function(*args, **kwargs)
        finally:
            self.changing = ()

    def get(self, name):
        return self.value(self.ask(["get", name]))

    def attribute(self, target, name):
        return self.value(self.ask(["getattr", target, name]))

    def operation(self, name, *args):
        forms = [self.form(a) for a in args]
        self.give()
        return self.value(self.ask(["operation", name, forms]))

    def says(self, *question):
        """The candidate's word on what its objects and classes are: true or false."""
        said = self.value(self.ask(list(question)))
        if type(said) is not bool:
            raise self.stop("bad_type")
        return said

    def outgoing(self, value):
        if type(value) is Opaque:
            return ["ref", value._Opaque__id]
        if type(value) is Proxy:
            return ["name", value._Proxy__name]
        if (name := known(value)) is not None:
            return ["known", *name]
        if self.objects.can_be_sent(value):
            return self.objects.form(value)
        if can_be_lent(value) and type(value) is not Missing:
            return self.lending.form(value)
        if is_own(value):
            raise self.stop("bad_type" if self.answering else "bad_tests", cannot_go(value))
        raise wire.NotPlain(cannot_go(value))

    def incoming(self, form):
        if form[0] in ("ref", "own") and type(form[1]) is int:
            value = self.objects.found(form)
            return Opaque(self, form[1]) if value is None else value
        if form[0] == "lent" and self.lending.known(form[1]):
            return self.lending.given[form[1]]
        raise wire.NotPlain("unknown tag")

    def value(self, reply, decoded=None):
        kind = reply[0]
        if kind == "value" and len(reply) == 2:
            return (decoded or self.plain)(reply[1])
        if kind == "raise" and len(reply) == 4:
            self.last_raised = exception(*reply[1:], self.errors, self.lending.thrown)
            raise self.last_raised
        raise self.stop({"large": "output_limit"}.get(kind, "bad_type"))

    def plain(self, form):
        """The value of a form that the candidate sent."""
        self.fetch(self.objects.forms_in(form))
        return self.decoded(form)

    def decoded(self, form):
        try:
            if not self.nan and has_nan(form, self.reads_floats):
                raise wire.NotPlain("no number")
            return wire.decode(form, self.incoming)
        except (wire.NotPlain, IndexError, RecursionError):
            raise self.stop("bad_type") from None


def take_over(own, made):
    """Make `own` equal to `made`, of the same type; a list's items stay the objects that they are."""
    if type(own) is list and len(own) == len(made):
        for place, item in enumerate(made):
            if type(item) in MUTABLE and type(item) is type(own[place]):
                take_over(own[place], item)
            else:
                own[place] = item
    elif type(own) in (list, bytearray):
        own[:] = made
    else:
        own.clear()
        own.update(made)


def known(value):
    """(module, name) of what every process has by that name: `len`, `int`, `operator.add`; None for all else."""
    if not isinstance(value, types.BuiltinFunctionType | type):
        return None
    places = (m.__name__ for m in (builtins, math, operator) if vars(m).get(value.__name__) is value)
    return next(((place, value.__name__) for place in places), None)


def cannot_go(value):
    what = f"the class {value.__name__}" if isinstance(value, type) else f"an object of {type(value).__name__}"
    return (
        f"a test hands {what} to the answer; what can be: plain values, functions, objects of classes without methods"
    )


def is_own(value):
    """Whether a value is a function, class or object of the tests', which no candidate can have sent here; a method or
    the type of a value may be one of its own."""
    if isinstance(value, types.BuiltinFunctionType):
        return isinstance(value.__self__, types.ModuleType)
    value = value.__self__ if isinstance(value, types.MethodType) else value
    owner = value if isinstance(value, type) else type(value)
    return isinstance(value, FUNCTIONS) or owner.__module__ in ("__main__", "pytest")


def has_nan(form, texts=False):
    """Whether a value's form holds a float, a complex or a Decimal that is no number; texts: or a text that says so."""
    waiting = [form]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            if part[:1] in (["f"], ["D"], ["c"]) and "nan" in str(part[1:]).lower():
                return True
            waiting.extend(part)
        elif part != part or (texts and isinstance(part, str) and "nan" in part.lower()):
            return True
    return False


def exception(name, text, own, expected, thrown):
    """The built-in exception that the candidate raised; SystemExit and the like as RuntimeError.

    own: names of its own classes. expected: those that the tests expect: it is an exception of these too. thrown: those
    of the tests' that have come out of functions of theirs that it called: it is that one.
    StopIteration is a RuntimeError too, as out of a generator: it would end the loop of the tests' that called, and
    `all(map(f, cases))` would be true.
    """
    names = [n for n in own if isinstance(n, str)] if isinstance(own, list) else []
    if own_error := next((thrown[n] for n in names if n in thrown), None):
        return own_error
    made = wire.built(name, text)
    kind = RuntimeError if isinstance(made, StopIteration) else type(made)
    if kinds := list(dict.fromkeys(expected[n] for n in names if n in expected)):
        with contextlib.suppress(TypeError):  # classes of which no class can be both
            kind = type(kinds[0].__name__, (*kinds, *[kind] * (kind is not Exception)), {})
    return made if kind is type(made) else kind(*made.args)
