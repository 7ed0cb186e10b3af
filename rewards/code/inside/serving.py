"""The candidate's side of the channel: what the checker asks is answered, and the tests' functions are asked for."""

import builtins
import contextlib
import operator
import sys
import threading

import wire

# What the checker may ask of an object of a class that is tested (`proxies.Opaque`).
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
WRAPS = {"property": property, "static": staticmethod}


class Server:
    """Answers calls, of which one is at work at a time.

    In: ["call", target, args, kwargs], ["change", target, args, kwargs] (a call of which args as they are afterwards
        are the value), ["get", name], ["getattr", target, name], ["setattr", target, name, form],
        ["operation", name, args] (`OPERATIONS`), ["isa", target, name], ["issubclass", name, name],
        ["given", rows, classes] (`objects.Objects`), ["fields", forms, names]; target: a name or ["ref", id].
    Out: ["value", form], ["raise", class, text, its own classes' names], ["large"], ["bad", why]; before it any number
        of ["lent", number, args, kwargs], a call of a function of the tests', which is answered in the same words after
        what else is asked in the meantime.
    """

    def __init__(self, channel, space):
        self.channel, self.space = channel, space
        self.references = []
        self.stubs = {}  # the tests' functions, by number
        self.stand_ins = {}
        self.own = {}  # copies of the tests' objects, by number
        self.forms = {}  # by id, of all of these
        self.asked = False  # whether a question is under way
        self.talking = threading.RLock()  # one thread at a time asks for what was lent

    def run(self):
        with contextlib.suppress(wire.Closed):
            while True:
                request = wire.read_frame(self.channel)
                self.asked = True
                reply = attempt(lambda request=request: self.answer(request))
                with self.talking:
                    self.asked = False
                    self.reply(reply)

    def reply(self, frame):
        try:
            wire.write_frame(self.channel, frame)
        except wire.TooLarge:
            wire.write_frame(self.channel, ["large"])

    def lent(self, number, args, kwargs):
        """What a function of the tests' gives; raises what it raises."""
        forms, named = [self.form(one) for one in args], {name: self.form(one) for name, one in kwargs.items()}
        with self.talking:
            if not self.asked:
                raise RuntimeError("a function of the tests' is called when nothing is asked")
            wire.write_frame(self.channel, ["lent", number, forms, named])
            while (said := wire.read_frame(self.channel))[0] not in ("value", "raise"):
                self.reply(attempt(lambda said=said: self.answer(said)))
        if said[0] == "value":
            return wire.decode(said[1], self.of_form)
        raise thrown(*said[1:])

    def stub(self, number, name, parameters):
        if number not in self.stubs:
            made = function(lambda args, kwargs: self.lent(number, args, kwargs), parameters)
            made.__name__ = made.__qualname__ = name
            self.stubs[number] = made
            self.forms[id(made)] = ["lent", number]
        return self.stubs[number]

    def form(self, value):
        return wire.encode(value, self.reference)

    def reference(self, value):
        if id(value) not in self.forms:
            self.forms[id(value)] = ["ref", len(self.references), type(value).__name__]
            self.references.append(value)
        return self.forms[id(value)]

    def of_form(self, form):
        if form[0] == "ref":
            return self.references[form[1]]
        if form[0] == "name":
            return self.space[form[1]]
        if form[0] == "known":
            return getattr(sys.modules[form[1]], form[2])
        if form[0] == "lent":
            return self.stub(*form[1:])
        if form[0] == "own":
            return self.own[form[1]]
        raise wire.NotPlain("unknown tag")

    def given(self, rows, classes):
        """Objects of the tests', made or changed."""
        for name, (compared, members) in classes.items():
            self.stand_in(name, compared, members)
        for (kind, number), name, _ in rows:
            if kind == "own" and number not in self.own:
                self.own[number] = new(self.kind(name))
                self.forms[id(self.own[number])] = ["own", number]
        for form, _, fields in rows:
            set_fields(self.of_form(form), {name: wire.decode(field, self.of_form) for name, field in fields.items()})
        return ["value", None]

    def kind(self, name):
        """The candidate's class of that name, or the stand-in."""
        here = self.space["__builtins__"]
        found = self.space.get(name, here.get(name) if isinstance(here, dict) else None)
        return found if type(found) is type else self.stand_ins[name]

    def stand_in(self, name, compared, members):
        made = {"__eq__": lambda self, other: vars(self) == vars(other)} if compared else {}
        for member, (what, form) in members.items():
            value = wire.decode(form, self.of_form)
            made[member] = WRAPS[what](value) if what in WRAPS else value
        self.stand_ins[name] = type(name, (), made)

    def fields(self, forms, names):
        """[form, fields] of these objects and of what hangs on them, as far as it is of classes of these names."""
        rows, waiting, seen = [], [self.of_form(form) for form in forms], set()

        def hangs(value):
            form = self.reference(value)
            if form[0] == "own" or type(value).__name__ in names:
                waiting.append(value)
            return form

        while waiting:
            thing = waiting.pop()
            if id(thing) in seen:
                continue
            seen.add(id(thing))
            fields = {name: wire.encode(field, hangs) for name, field in wire.fields(thing).items()}
            rows.append([self.reference(thing), fields])
        return ["value", rows]

    def target(self, form):
        return self.references[form[1]] if isinstance(form, list) else self.space[form]

    def answer(self, request):
        space, target = self.space, self.target
        if request[0] == "get":
            return ["value", self.form(space[request[1]])]
        if request[0] == "getattr":
            return ["value", self.form(getattr(target(request[1]), request[2]))]
        if request[0] == "setattr":
            setattr(target(request[1]), request[2], wire.decode(request[3], self.of_form))
            return ["value", None]
        if request[0] == "operation":
            operation = OPERATIONS[request[1]]
            return ["value", self.form(operation(*[wire.decode(a, self.of_form) for a in request[2]]))]
        if request[0] == "given":
            return self.given(*request[1:])
        if request[0] == "fields":
            return self.fields(*request[1:])
        if request[0] == "isa":
            return ["value", isinstance(target(request[1]), space[request[2]])]
        if request[0] == "issubclass":
            return ["value", issubclass(space[request[1]], space[request[2]])]
        kind, named, forms, kwargs = request
        args = [wire.decode(a, self.of_form) for a in forms]
        result = target(named)(*args, **{name: wire.decode(v, self.of_form) for name, v in kwargs.items()})
        return ["value", self.form(args if kind == "change" else result)]


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
        return wire.raised(error)


def function(ask, parameters):
    """A function that asks; with these parameters, where they are known, for who counts them."""
    if parameters is None:
        return lambda *args, **kwargs: ask(args, kwargs)
    space = {"__ask__": ask}
    names = ", ".join(parameters)
    exec(f"def made({names}): return __ask__([{names}], {{}})", space)
    return space["made"]


def thrown(kind, text, own):
    """An exception as a function of the tests' raised it; of a class of the same name where that is the tests' own."""
    error = wire.built(kind, text)
    return type(own[0], (type(error),), {"__module__": "tests"})(*error.args) if own else error


def new(kind):
    try:
        return object.__new__(kind)
    except TypeError:  # of a class that is a list, say
        return object.__new__(type(kind.__name__, (), {}))


def set_fields(thing, fields):
    slots = wire.slots(type(thing))
    for name in fields.keys() & slots:
        object.__setattr__(thing, name, fields[name])
    if hasattr(thing, "__dict__"):
        vars(thing).clear()
        vars(thing).update({name: field for name, field in fields.items() if name not in slots})


def left(thing, name="", text=""):
    """The end of a `with`; name: of the exception that ends it."""
    kind = getattr(builtins, name, RuntimeError) if name else None
    return bool(thing.__exit__(kind, kind(text) if kind else None, None))
