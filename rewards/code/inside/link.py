"""The checker's side of the channel: the candidate's functions as proxies, its values rebuilt from plain data.

A value that is not plain comes back as an `Opaque`, which may be passed to the candidate again (MBPP builds trees
that way) and is a `bad_type` as soon as a test looks at it.
"""

import builtins
import types

import wire

FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type)


class Stop(BaseException):
    """Nothing more can be learned from this candidate; `reason` is the verdict's."""

    def __init__(self, reason):
        super().__init__(reason)
        self.reason = reason


class Link:
    """The channel to the candidate.

    asked: how often something was asked of it: before the first time, what fails is the tests' own.
    stopped: the first Stop, remembered because tests may swallow it. last_raised: the candidate's last exception.
    """

    def __init__(self, fd):
        self.fd = fd
        self.asked = 0
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
        forms = [self.form(a) for a in args]
        return self.value(self.ask(["call", function, forms, {k: self.form(v) for k, v in kwargs.items()}]))

    def get(self, name):
        return self.value(self.ask(["get", name]))

    def attribute(self, target, name):
        return self.value(self.ask(["getattr", target, name]))

    def outgoing(self, value):
        if type(value) is Opaque:
            return ["ref", value._Opaque__id]
        if type(value) is Proxy:
            return ["name", value._Proxy__name]
        if isinstance(value, FUNCTIONS) or type(value).__module__ in ("__main__", "pytest"):
            raise self.stop("bad_tests")  # a function or an object of the tests': no candidate can send one here
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
            raise self.stop("bad_type") from None
        if kind == "raise" and len(reply) == 3:
            self.last_raised = exception(*reply[1:])
            raise self.last_raised
        raise self.stop({"large": "output_limit"}.get(kind, "bad_type"))


def exception(name, text):
    """The built-in exception that the candidate raised; SystemExit and the like as RuntimeError."""
    kind = getattr(builtins, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = RuntimeError
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
        return self.__link.call(self.__name, args, kwargs)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self.__link.attribute(self.__name, name)


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
            _looked_at(self)
        return self.__link.attribute(["ref", self.__id], name)

    def __setattr__(self, name, value):
        link = self.__link
        link.value(link.ask(["setattr", ["ref", self.__id], name, link.form(value)]))

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __len__ = __iter__ = __hash__ = _looked_at
    __getitem__ = __contains__ = __int__ = __float__ = __index__ = __str__ = __repr__ = __abs__ = _looked_at
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __mod__ = __neg__ = _looked_at
