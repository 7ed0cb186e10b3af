"""Functions of the tests' that the candidate is given as arguments: it gets a number, and what it calls is run here.

    a test's value --form--> ["lent", number, name, parameters] --> a function of the candidate's process that asks
    ["lent", number, arguments, named] --call--> ["value", form] | ["raise", class, text, its own classes' names]

What a function changes of its arguments stays here.
"""

import types

import wire

DEPTH = 100  # calls within calls: a test's function may call the candidate's again
STARS = 0x4 | 0x8  # *args and **kwargs, of `co_flags`


class Lending:
    """given: functions by number. thrown: by the name of its class, the last exception of a class of the tests' own
    that came out of one. broken: whether one failed an assertion: the test has failed, whoever swallows the exception.
    """

    def __init__(self):
        self.given = []
        self.numbers = {}
        self.thrown = {}
        self.broken = False
        self.depth = 0

    def form(self, function):
        number = self.numbers.setdefault(id(function), len(self.given))
        if number == len(self.given):
            self.given.append(function)
        name = getattr(function, "__name__", None)
        return ["lent", number, name if type(name) is str else "function", parameters(function)]

    def known(self, number):
        return type(number) is int and 0 <= number < len(self.given)

    def call(self, number, args, kwargs):
        """(True, result), or (False, frame of the exception). Only a `Stop` goes through."""
        self.depth += 1
        try:
            return True, self.given[number](*args, **kwargs)
        except (Exception, SystemExit) as error:
            self.broken = self.broken or isinstance(error, AssertionError)
            if type(error).__module__ == "__main__":
                self.thrown[type(error).__name__] = error
            return False, wire.raised(error)
        finally:
            self.depth -= 1


def can_be_lent(value):
    return callable(value) and not isinstance(value, type)


def parameters(function):
    """The names, where a function takes nothing but these; None where it takes more, or what it takes is not known."""
    if not isinstance(function, types.FunctionType):
        return None
    code = function.__code__
    plain = not (code.co_flags & STARS or code.co_kwonlyargcount or code.co_posonlyargcount or function.__defaults__)
    return list(code.co_varnames[: code.co_argcount]) if plain else None
