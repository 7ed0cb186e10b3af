"""The checker's side of the channel: the candidate's functions as proxies, its values rebuilt from plain data.

A value that is not plain comes back as an `Opaque`, which may be passed to the candidate again (MBPP builds trees
that way) and is a `bad_type` as soon as a test looks at it.
"""

import builtins
import contextlib
import dataclasses
import math
import operator
import types

import wire

FUNCTIONS = (types.FunctionType, types.ModuleType)
MUTABLE = (list, dict, set, bytearray)


class Stop(BaseException):
    """Nothing more can be learned from this candidate; `reason` is the verdict's."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class Link:
    """The channel to the candidate.

    asked: how often something was asked of it: before the first time, what fails is the tests' own.
    changing: the arguments of a call whose value the tests drop (`in_place`).
    stopped: the first Stop, remembered because tests may swallow it. last_raised: the candidate's last exception.
    classes: names of the candidate's that the tests use as classes. errors: name -> exception class of the checker's,
    of the candidate's exceptions that the tests expect.
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

    def stop(self, reason):
        if self.stopped is None:
            self.stopped = Stop(reason)
        return self.stopped

    def blame(self, reason):
        """`reason`, if something of the candidate's may be the cause; else the tests are bad by themselves."""
        return self.stop(reason if self.asked else "bad_tests")

    def ask(self, request):
        if self.stopped is not None:
            raise self.stopped
        try:
            wire.write_frame(self.fd, request)
        except wire.TooLarge:
            raise self.blame("output_limit") from None
        except wire.Closed:
            raise self.stop("no_result") from None
        self.asked += 1
        return self.reply()

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
            raise self.blame("output_limit") from None
        except (wire.NotPlain, RecursionError):
            raise self.blame("bad_type") from None

    def call(self, function, args, kwargs):
        changes = bool(args) and list(map(id, args)) == list(map(id, self.changing))
        forms, named = [self.form(a) for a in args], {k: self.form(v) for k, v in kwargs.items()}
        said = self.value(self.ask(["change" if changes else "call", function, forms, named]))
        if not changes:
            return said
        if type(said) is not list or len(said) != len(args):
            raise self.stop("bad_type")
        for own, made in ((own, made) for own, made in zip(args, said, strict=True) if type(own) in MUTABLE):
            if type(made) is not type(own):
                raise self.stop("bad_type")
            take_over(own, made)
        return None

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
        return self.value(self.ask(["operation", name, [self.form(a) for a in args]]))

    def equals(self, thing, own):
        """Whether an object of the candidate's is as `own`, an object of a dataclass that the tests themselves have:
        by the class's name and the fields, which are compared here. The candidate never learns what is expected."""
        said = self.value(self.ask(["fields", ["ref", thing._Opaque__id]]))
        if type(said) is not tuple or len(said) != 2 or type(said[1]) is not dict:
            raise self.stop("bad_type")
        wanted = {f.name: getattr(own, f.name) for f in dataclasses.fields(own) if f.compare}
        told = {name: said[1][name] for name in wanted if name in said[1]}
        return said[0] == type(own).__name__ and told == wanted

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
        if is_own(value):
            raise self.stop("bad_tests")
        raise wire.NotPlain(f"a test passes a {type(value).__name__}")

    def incoming(self, form):
        if form[0] == "ref" and type(form[1]) is int:
            return Opaque(self, form[1])
        raise wire.NotPlain("unknown tag")

    def value(self, reply):
        kind = reply[0]
        try:
            if kind == "value":
                if not self.nan and has_nan(reply[1], self.reads_floats):
                    raise wire.NotPlain("no number")
                return wire.decode(reply[1], self.incoming)
        except (wire.NotPlain, IndexError, RecursionError):
            raise self.stop("bad_type") from None
        if kind == "raise" and len(reply) == 4:
            self.last_raised = exception(*reply[1:], self.errors)
            raise self.last_raised
        raise self.stop({"large": "output_limit"}.get(kind, "bad_type"))


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


def exception(name, text, own, expected):
    """The built-in exception that the candidate raised; SystemExit and the like as RuntimeError.

    own: names of its own classes. expected: those that the tests expect: it is an exception of these too.
    StopIteration is a RuntimeError too, as out of a generator: it would end the loop of the tests' that called, and
    `all(map(f, cases))` would be true.
    """
    kind = getattr(builtins, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, Exception)) or issubclass(kind, StopIteration):
        kind = RuntimeError
    kinds = [expected[n] for n in own if isinstance(n, str) and n in expected] if isinstance(own, list) else []
    if kinds:
        kinds = list(dict.fromkeys(kinds))
        with contextlib.suppress(TypeError):  # classes of which no class can be both
            kind = type(kinds[0].__name__, (*kinds, *[kind] * (kind is not Exception)), {})
    try:
        return kind(text if isinstance(text, str) else "")
    except TypeError:  # UnicodeDecodeError wants five arguments
        return RuntimeError(text)


class Proxy:
    """A function or class of the candidate."""

    def __init__(self, link, name):
        self.__link, self.__name = link, name
        self.__name__ = name

    def __call__(self, *args, **kwargs):
        made = self.__link.call(self.__name, args, kwargs)
        if type(made) is Opaque and self.__name in self.__link.classes:
            object.__setattr__(made, "_Opaque__made", True)
        return made

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__link.attribute(self.__name, name)

    def __instancecheck__(self, value):
        return type(value) is Opaque and self.__link.says("isa", ["ref", value._Opaque__id], self.__name)

    def __subclasscheck__(self, kind):
        return type(kind) is Proxy and self.__link.says("issubclass", kind._Proxy__name, self.__name)


class Method:
    """A method of the candidate's class, on a new object at each call: `Solution().add`."""

    def __init__(self, link, owner, name):
        self.__link, self.__owner, self.__name = link, owner, name
        self.__name__ = name

    def __call__(self, *args, **kwargs):
        made = self.__link.call(self.__owner, [], {})
        if type(made) is not Opaque:
            raise self.__link.stop("bad_type")
        return getattr(made, self.__name)(*args, **kwargs)


class Missing:
    """A name that the tests take from the candidate, and it does not have."""

    def __init__(self, link, name):
        self.__link, self.__name = link, name

    def __call__(self, *args, **kwargs):
        self.__getattr__("")

    def __getattr__(self, name):
        link = self.__link
        link.asked += 1
        link.last_raised = NameError(f"name {self.__name!r} is not defined")
        raise link.last_raised

    def __eq__(self, other):
        self.__getattr__("")

    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __getitem__ = __add__ = __mul__ = __sub__ = __eq__
    __bool__ = __len__ = __iter__ = __int__ = __float__ = __index__ = __str__ = __repr__ = __hash__ = __call__


def _looked_at(self, *args):
    raise self._Opaque__link.stop("bad_type")


def _equal(self, other):
    if not dataclasses.is_dataclass(type(other)) or not type(other).__dataclass_params__.eq:
        _looked_at(self)
    return self._Opaque__link.equals(self, other)


def _asked(name, *types):
    """An operation whose result is the candidate's to say, as a method's is; `types`: what it has to be."""

    def ask(self, *args):
        link = self._Opaque__link
        if not link.classes or (args and name in ARITHMETIC and not any(made(value) for value in (self, *args))):
            raise link.stop("bad_type")
        result = link.operation(name, self, *args)
        if types and type(result) not in types:
            raise link.stop("bad_type")
        return iter(result) if name == "__iter__" and type(result) is not Opaque else result

    return ask


def _turned(name):
    """The operation of a plain value and an object that the tests made."""

    def ask(self, other):
        link = self._Opaque__link
        if not link.classes or not made(self):
            raise link.stop("bad_type")
        return link.operation(name, other, self)

    return ask


def made(value):
    """Whether it is an object that the tests made of a class that they test, and no result of the candidate's."""
    return type(value) is Opaque and value._Opaque__made


ARITHMETIC = tuple(f"__{name}__" for name in "add sub mul matmul truediv floordiv mod pow and or xor".split())


class Opaque:
    """A value that lives in the candidate's process.

    It can be an argument, be called, and have attributes read and set (MBPP's setup code links
    nodes that way), all of which happens in the candidate's process. Where the tests are of a class, its length, items,
    text, number and truth can be asked for too, and an object that the tests made themselves takes part in arithmetic:
    what comes of these is compared here. Beside an object of a dataclass of the tests' own or the
    prompt's, its fields are compared. Any other use is `bad_type`: equality, order and `in` would be the candidate's
    word alone, and show it what is expected.
    """

    __slots__ = ("__id", "__link", "__made")

    def __init__(self, link, number):
        object.__setattr__(self, "_Opaque__link", link)
        object.__setattr__(self, "_Opaque__id", number)
        object.__setattr__(self, "_Opaque__made", False)

    def __call__(self, *args, **kwargs):
        return self.__link.call(["ref", self.__id], args, kwargs)

    def __getattr__(self, name):
        if name.startswith("__"):
            _looked_at(self)
        return self.__link.attribute(["ref", self.__id], name)

    def __setattr__(self, name, value):
        link = self.__link
        link.value(link.ask(["setattr", ["ref", self.__id], name, link.form(value)]))

    __eq__, __ne__ = _equal, lambda self, other: not _equal(self, other)
    __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __hash__ = __index__ = _looked_at
    __len__, __bool__ = _asked("__len__", int), _asked("__bool__", bool)
    __str__, __repr__ = _asked("__str__", str), _asked("__repr__", str)
    __int__, __float__ = _asked("__int__", int), _asked("__float__", float)
    __iter__, __next__, __getitem__ = _asked("__iter__"), _asked("__next__"), _asked("__getitem__")
    __setitem__, __delitem__ = _asked("__setitem__"), _asked("__delitem__")
    __neg__, __abs__ = _asked("__neg__"), _asked("__abs__")
    __name__ = property(lambda self: "value")  # unittest looks for it in what is to raise

    def __enter__(self):
        found = _asked("__enter__")(self)
        if type(found) is Opaque:
            object.__setattr__(found, "_Opaque__made", made(self))
        return found

    def __exit__(self, kind, error, trace):
        return bool(_asked("__exit__")(self, *(() if kind is None else (kind.__name__, str(error)))))


for _name in ARITHMETIC:
    setattr(Opaque, _name, _asked(_name))
    setattr(Opaque, f"__r{_name[2:]}", _turned(_name))
