"""Objects of the tests' and the prompt's own classes: the candidate gets copies, and its objects come back as theirs.

    a test's object --form--> ["own", number], its fields sent before the call --> an object of the candidate's class
    of that name, or of a stand-in --fields after the call--> an object of the tests' class

What comes back is made here of its fields, so that what is compared and called afterwards is the tests' own class. It
is the test's object itself as long as nothing in the answer has changed; else it is another one, so that no candidate
changes what a test still holds, unless the call is made for that (`Link.in_place`).
"""

import functools
import types

import wire

DATA = frozenset(
    "__init__ __repr__ __str__ __eq__ __hash__ __module__ __dict__ __weakref__ __doc__ __annotations__ __slots__ "
    "__match_args__ __dataclass_fields__ __dataclass_params__".split()
)


class Objects:
    """space: the tests' names. prompt: the classes that the prompt gives.

    by_key: objects that both sides know, by ("own", number) or, of those that the candidate made, ("ref", number).
    keys: by id, whose objects live as long as this. last: their fields as they were sent or came last.
    waiting: keys and objects whose fields are to be sent. touched: keys of those that were named in what is sent next.
    here: what the keys of the answer that is being read stand for. met: keys and objects that were looked up.
    """

    def __init__(self):
        self.space, self.prompt = {}, frozenset()
        self.local = {}  # classes of what was sent, by name: a class may be a function's
        self.untold = []  # those of them that the candidate does not know yet
        self.by_key, self.keys, self.last = {}, {}, {}
        self.own = 0
        self.waiting, self.touched = [], set()
        self.here, self.met = {}, []

    def named(self, name):
        """The tests' own class of that name, or None."""
        found = self.space.get(name, self.local.get(name))
        return found if is_class(found) and (found in self.prompt or is_fair(found)) else None

    def names(self):
        return [name for name in {**self.local, **self.space} if self.named(name) is not None]

    def can_be_sent(self, value):
        kind = type(value)
        return id(value) in self.keys or (is_class(kind) and (kind in self.prompt or stand_in(kind) is not None))

    def form(self, value):
        if id(value) not in self.keys:
            self.know(("own", self.own), value)
            self.own += 1
            if type(value) not in self.local.values():
                self.local[type(value).__name__] = type(value)
                self.untold.append(type(value))
        key = self.keys[id(value)]
        if key not in self.touched:
            self.touched.add(key)
            self.waiting.append((key, value))
        return list(key)

    def know(self, key, value):
        self.by_key[key] = value
        self.keys[id(value)] = key

    def row(self, key, value, form):
        """[form, name of the class, fields]. form: of a value."""
        fields = {name: form(field) for name, field in wire.fields(value).items()}
        if self.by_key[key] is value:
            self.last[key] = fields
        return [list(key), type(value).__name__, fields]

    def classes(self, form):
        """What the candidate is to know of classes, by name: whether objects are compared by their fields, and
        {name: [what it is, form]} of a class that the prompt does not give it."""
        told = {}
        while self.untold:
            kind = self.untold.pop()
            lent = {} if kind in self.prompt else stand_in(kind) or {}
            compared = is_generated(kind.__eq__) and kind.__eq__ is not object.__eq__
            told[kind.__name__] = [
                compared,
                {name: [how, form(value)] for name, (how, value) in lent.items()},
            ]
        return told

    def forms_in(self, form):
        """Keys that a form names, of the tests' objects and of those of the candidate's that are of their classes."""
        found, waiting = [], [form]
        while waiting:
            part = waiting.pop()
            if isinstance(part, list):
                if part[:1] in (["own"], ["ref"]) and (tuple(part[:2]) in self.by_key or self.of_ours(part)):
                    found.append(part[:2])
                waiting.extend(part)
        return found

    def of_ours(self, form):
        return form[0] == "ref" and len(form) == 3 and isinstance(form[2], str) and self.named(form[2]) is not None

    def place(self, rows, decoded, *, in_place):
        """Objects for rows of [form, fields] that came; raises ValueError, TypeError and the like for what is none.

        in_place: change the tests' own.
        """
        rows = [(form, tuple(form[:2]), fields) for form, fields in rows]
        changed = not in_place and any(key in self.last and self.last[key] != fields for _, key, fields in rows)
        placed = []
        for form, key, fields in rows:
            value = self.by_key.get(key)
            if value is None and form[0] != "ref":
                raise ValueError(form[0])
            if value is None or changed:
                value = object.__new__(self.named(form[2]) if value is None else type(value))
                if key not in self.by_key:
                    self.know(key, value)
            self.here[key] = value
            placed.append((value, key, fields))
        for value, key, fields in placed:
            if self.by_key[key] is value:
                self.last[key] = fields
            take(value, {name: decoded(field) for name, field in fields.items()})

    def found(self, form):
        """The object that a form names; None where it is of no class of the tests'."""
        key = tuple(form[:2])
        value = self.here.get(key)
        if value is not None:
            self.met.append((key, value))
        return value


def take(value, fields):
    """Give an object its fields. ValueError for what cannot be one: a name of the class's own, as a method."""
    kind, slots = type(value), wire.slots(type(value))
    for name in fields:
        own = getattr(kind, name, None)
        if name.startswith("__") or (name not in slots and (callable(own) or hasattr(type(own), "__get__"))):
            raise ValueError(name)
    if hasattr(value, "__dict__"):
        vars(value).clear()
        vars(value).update({name: field for name, field in fields.items() if name not in slots})
    elif fields.keys() - slots:
        raise ValueError("a field too many")
    for name in fields.keys() & slots:
        object.__setattr__(value, name, fields[name])


def is_class(kind):
    """Whether it is a class of the tests' own that derives from nothing else."""
    return type(kind) is type and all(
        type(base) is type and base.__module__ == "__main__" for base in kind.__mro__[:-1]
    )


def members(kind):
    return {name: value for base in kind.__mro__[:-1] for name, value in vars(base).items()}


@functools.cache
def stand_in(kind):
    """{name: (what it is, value)} of a class's members, for one like it that the candidate has; None where there can be
    none. A slot is a field, and no member."""
    found, slots = members(kind), wire.slots(kind)
    told = {name: told_as(kind, name, found[name]) for name in written(found) if name not in slots}
    return told if all(how for how, _ in told.values()) else None


def told_as(kind, name, value):
    """(what it is, value) of a member, "" where it is nothing that a stand-in can have: a method runs where the tests
    do, a property too, and a plain value is copied."""
    if isinstance(value, types.FunctionType):
        return "method", value
    if isinstance(value, property):
        return "property", value.fget
    if isinstance(value, staticmethod | classmethod):
        return "static", getattr(kind, name)
    try:
        wire.encode(value)
    except (wire.NotPlain, wire.TooLarge):
        return "", None
    return "value", value


def written(found):
    """Names of members that somebody wrote, and no compiler made."""
    return [n for n, v in found.items() if n not in DATA or (isinstance(v, types.FunctionType) and not is_generated(v))]


@functools.cache
def is_fair(kind):
    """Whether objects of a class are equal by their fields or not at all: none that the tests have as a wildcard."""
    special = {name: value for name, value in members(kind).items() if name.startswith("__")}
    return all(name in DATA - {"__eq__", "__hash__"} or is_generated(value) for name, value in special.items())


def is_generated(member):
    """Of a dataclass, which compiles what it adds; the hash that it takes away."""
    return member is None or getattr(getattr(member, "__code__", None), "co_filename", "") == "<string>"
