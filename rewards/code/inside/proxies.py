"""What stands for the candidate's functions, classes and objects in the tests: a use is asked for over the `link`."""


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
    what comes of these is compared here. Any other use is `bad_type`: equality, order and `in` would be the
    candidate's word alone, and show it what is expected. (Of a class that the tests or the prompt define, it is an
    object of theirs instead: `objects`.)
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
        form = link.form(value)
        link.give()
        link.value(link.ask(["setattr", ["ref", self.__id], name, form]))

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __contains__ = __hash__ = __index__ = _looked_at
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
