"""Plain values between a candidate and the checker, as JSON with tags.

Exact built-in types and the standard library's value types only: an object of any other class is
not taken apart here, and its methods are never called. Decoding builds fresh values and cannot run
anything.
"""

import builtins
import collections
import datetime
import decimal
import fractions
import json
import math
import os
import struct

MAX_FRAME = 8 << 20
MAX_DEPTH = 200
MAX_ITEMS = 1_000_000
TYPES = {
    t.__name__: t for t in (int, float, str, bool, list, tuple, dict, set, frozenset, bytes, complex, object, type)
}
TYPES["NoneType"] = type(None)
EMPTY: dict = {}
EMPTIES: tuple = ([], (), EMPTY, "", range(0), frozenset())
ITERATORS = (map, filter, zip, reversed, enumerate, *(type(iter(empty)) for empty in EMPTIES))
ITERATORS += (type(reversed([])), type(item for item in EMPTIES))
KEYS, VALUES, ITEMS = type(EMPTY.keys()), type(EMPTY.values()), type(EMPTY.items())
HEADER = struct.Struct("!I")


class NotPlain(Exception):
    """The value is not plain data."""


class TooLarge(Exception):
    """The value is larger than is sent."""


class Closed(Exception):
    """The other side went away."""


def encode(value, other=None):
    """JSON-able form; `other(value)` gives the form of a value that is not plain, or raises NotPlain."""
    budget = [MAX_ITEMS]

    def items(values, depth):
        return [form(v, depth + 1) for v in values]

    def form(v, depth):
        budget[0] -= 1
        if budget[0] < 0:
            raise TooLarge
        if depth > MAX_DEPTH:
            raise NotPlain("nested too deeply")
        kind = type(v)
        if v is None or kind is bool:
            return v
        if kind is str:
            if len(v) > MAX_FRAME:
                raise TooLarge
            return v
        if kind is int:
            if v.bit_length() > 8 * MAX_FRAME:
                raise TooLarge
            return v if v.bit_length() < 4096 else ["i", hex(v)]
        if kind is float:
            return v if math.isfinite(v) else ["f", repr(v)]
        encoder = ENCODERS.get(kind)
        if encoder is not None:
            return encoder(v, lambda values: items(values, depth))
        if kind in ITERATORS:
            return ["it", items(limited(v), depth)]
        if kind is type and TYPES.get(v.__name__) is v:
            return ["T", v.__name__]
        if type(kind) is type and kind.__bases__ == (tuple,) and is_namedtuple(kind):
            return ["t", items(tuple.__iter__(v), depth)]
        if other is None:
            raise NotPlain(kind.__name__)
        return other(v)

    return form(value, 0)


def is_namedtuple(kind):
    """A class as `collections.namedtuple` makes it: nothing of its own about equality."""
    own = type.__getattribute__(kind, "__dict__")
    return "_fields" in own and not {"__eq__", "__ne__", "__hash__", "__iter__", "__getitem__"} & set(own)


def limited(values):
    for n, v in enumerate(values):
        if n >= MAX_ITEMS:
            raise TooLarge
        yield v


def pairs(mapping, items):
    return [list(p) for p in zip(items(dict.keys(mapping)), items(dict.values(mapping)), strict=True)]


def of_defaultdict(v, items):
    factory = v.default_factory
    name = factory.__name__ if type(factory) is type and TYPES.get(factory.__name__) is factory else None
    return ["dd", name, pairs(v, items)]


ENCODERS = {
    list: lambda v, items: ["l", items(v)],
    tuple: lambda v, items: ["t", items(v)],
    set: lambda v, items: ["s", items(v)],
    frozenset: lambda v, items: ["fs", items(v)],
    dict: lambda v, items: ["d", pairs(v, items)],
    collections.OrderedDict: lambda v, items: ["od", pairs(v, items)],
    collections.Counter: lambda v, items: ["C", pairs(v, items)],
    collections.defaultdict: of_defaultdict,
    collections.deque: lambda v, items: ["dq", items(v), v.maxlen],
    bytes: lambda v, items: ["b", v.hex()],
    bytearray: lambda v, items: ["ba", v.hex()],
    complex: lambda v, items: ["c", items((v.real, v.imag))],
    range: lambda v, items: ["r", items((v.start, v.stop, v.step))],
    decimal.Decimal: lambda v, items: ["D", str(v)],
    fractions.Fraction: lambda v, items: ["F", items((v.numerator, v.denominator))],
    datetime.date: lambda v, items: ["date", v.isoformat()],
    datetime.time: lambda v, items: ["time", v.isoformat()],
    datetime.datetime: lambda v, items: ["datetime", v.isoformat()],
    datetime.timedelta: lambda v, items: ["delta", [v.days, v.seconds, v.microseconds]],
    KEYS: lambda v, items: ["keys", items(v)],
    VALUES: lambda v, items: ["l", items(v)],
    ITEMS: lambda v, items: ["items", items(v)],
    type(...): lambda v, items: ["..."],
}


def decode(form, handle=None):
    """The value of an encoded form. Raises NotPlain for anything malformed; `handle(tag, ...)` builds references."""
    try:
        return _decode(form, handle)
    except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, OverflowError) as error:
        raise NotPlain(f"malformed: {error}") from None


def _decode(form, handle):
    if form is None or type(form) in (bool, int, float, str):
        return form
    tag = form[0]
    if tag in DECODERS:
        return DECODERS[tag](form[1], lambda v: _decode(v, handle))
    if tag == "dd":
        return collections.defaultdict(TYPES[form[1]] if form[1] else None, decode_pairs(form[2], handle))
    if tag == "dq":
        return collections.deque([_decode(v, handle) for v in form[1]], form[2])
    if tag == "...":
        return ...
    if handle is not None:
        return handle(form)
    raise NotPlain(f"unknown tag {tag!r}")


def decode_pairs(values, handle):
    return {_decode(k, handle): _decode(v, handle) for k, v in values}


def _mapping(kind):
    return lambda v, sub: kind({sub(k): sub(x) for k, x in v})


def _sequence(kind):
    return lambda v, sub: kind([sub(x) for x in v])


DECODERS = {
    "l": _sequence(list), "t": _sequence(tuple), "s": _sequence(set), "fs": _sequence(frozenset), "it": _sequence(iter),
    "d": _mapping(dict), "od": _mapping(collections.OrderedDict), "C": _mapping(collections.Counter),
    "i": lambda v, sub: int(v, 16), "f": lambda v, sub: float(v), "b": lambda v, sub: bytes.fromhex(v),
    "ba": lambda v, sub: bytearray.fromhex(v), "c": lambda v, sub: complex(*(sub(x) for x in v)),
    "r": lambda v, sub: range(*v), "D": lambda v, sub: decimal.Decimal(v), "F": lambda v, sub: fractions.Fraction(*v),
    "T": lambda v, sub: TYPES[v], "date": lambda v, sub: datetime.date.fromisoformat(v),
    "time": lambda v, sub: datetime.time.fromisoformat(v),
    "datetime": lambda v, sub: datetime.datetime.fromisoformat(v),
    "delta": lambda v, sub: datetime.timedelta(*v), "keys": lambda v, sub: dict.fromkeys(sub(x) for x in v).keys(),
    "items": lambda v, sub: dict(sub(x) for x in v).items(),
}  # fmt: skip


# Objects, as fields by name


def slots(kind):
    """Names of the fields that a class holds in slots."""
    own = [vars(base).get("__slots__", ()) for base in kind.__mro__]
    return {name for names in own for name in ([names] if type(names) is str else names)} - {"__dict__", "__weakref__"}


def fields(thing):
    found = dict(getattr(thing, "__dict__", {}))
    for name in slots(type(thing)):
        try:
            found[name] = object.__getattribute__(thing, name)
        except AttributeError:
            continue
    return found


# Exceptions, as a class's name and a text


def raised(error):
    """["raise", built-in class, text, names of classes that are not built in], the most special first."""
    kind = next((k.__name__ for k in type(error).__mro__ if k.__module__ == "builtins"), "Exception")
    try:
        text = str(error)[:500]
    except BaseException:
        text = ""
    own = [k.__name__ for k in type(error).__mro__ if k.__module__ != "builtins"]
    return ["raise", kind, text, own[:20]]


def built(name, text):
    """The built-in exception of that name; RuntimeError where there is none, or it is one that ends a process."""
    kind = getattr(builtins, name, None) if isinstance(name, str) else None
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        kind = RuntimeError
    try:
        return kind(text if isinstance(text, str) else "")
    except TypeError:  # UnicodeDecodeError wants five arguments
        return RuntimeError(text)


# Frames on a file descriptor. The functions keep their own references, so that a candidate that
# patches `os` or `json` changes nothing here (and could change only what it says itself anyway).


def write_frame(fd, message, *, dumps=json.dumps, write=os.write):
    body = dumps(message).encode()
    if len(body) > MAX_FRAME:
        raise TooLarge
    data = memoryview(HEADER.pack(len(body)) + body)
    while data:
        try:
            data = data[write(fd, data) :]
        except OSError:
            raise Closed from None


def read_frame(fd, limit=MAX_FRAME, *, loads=json.loads, read=os.read):
    """The next frame. Raises Closed at its end, TooLarge past `limit`, NotPlain where it is no JSON."""
    (size,) = HEADER.unpack(_exactly(fd, HEADER.size, read))
    if size > limit:
        raise TooLarge
    body = _exactly(fd, size, read)
    try:
        return loads(body)
    except (ValueError, RecursionError) as error:
        raise NotPlain(str(error)) from None


def _exactly(fd, size, read):
    parts = bytearray()
    while len(parts) < size:
        try:
            part = read(fd, min(size - len(parts), 1 << 20))
        except OSError:
            raise Closed from None
        if not part:
            raise Closed
        parts += part
    return bytes(parts)
