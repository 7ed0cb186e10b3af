"""Tests that hand functions and objects of their own to the answer, and get such objects back."""

# ruff: noqa: E501

import pytest

from rewards.code import Grader

pytestmark = pytest.mark.integration
P = "class P:\n    def __init__(self, x, y=0):\n        self.x, self.y = x, y\n"
D = "from dataclasses import dataclass\n@dataclass\nclass D:\n    a: int\n    b: list\n"
T = "class T:\n    def __init__(self, v, l=None, r=None):\n        self.v, self.l, self.r = v, l, r\n"
MEMO = "import functools\ndef f(g):\n    known = {}\n    @functools.wraps(g)\n    def made(*a):\n        if a not in known: known[a] = g(*a)\n        return known[a]\n    return made"
RETRY = "def f(g, n):\n    for i in range(n):\n        try: return g()\n        except ValueError:\n            if i == n - 1: raise"
CURRY = "def f(g):\n    n = g.__code__.co_argcount\n    def made(*a):\n        return g(*a) if len(a) >= n else lambda *b: made(*a, *b)\n    return made"
FLAKY = "import pytest\nclass Boom(ValueError): pass\ntries = []\ndef flaky():\n    tries.append(1)\n    if len(tries) < 3: raise Boom('early')\n    return 'ok'\nassert f(flaky, 5) == 'ok'\ndef bad():\n    raise Boom('never')\nwith pytest.raises(Boom, match='never'):\n    f(bad, 2)"
CALLED = "from unittest.mock import Mock\nmock = Mock()\nf(mock)\nmock.assert_called_once_with(1)"
CHAIN = P + "def f(n):\n    p = None\n    for i in range(n): p = P(p)\n    return p"
COUNT = "def f(p):\n    n = 0\n    while p is not None: p, n = p.x, n + 1\n    return n"
RIGHT = {
    "mapped": ("def f(g, xs): return [g(x) for x in xs]", "assert f(lambda x: x + 1, [1, 2]) == [2, 3]"),
    "kept": (MEMO, "calls = []\ndef slow(x):\n    calls.append(x)\n    return x * x\nfast = f(slow)\nassert fast(3) == fast(3) == 9\nassert calls == [3]"),
    "own exception": (RETRY, FLAKY),
    "parameters counted": (CURRY, "assert f(lambda a, b, c: a + b + c)(1)(2)(3) == 6"),
    "composed": ("def f(g, h): return lambda x: g(h(x))", "assert f(lambda x: x + 1, lambda x: x * 2)(3) == 7"),
    "same function": ("def f(g): return g", "def z(a): return a\nassert f(z) is z"),
    "by name": ("def f(g): return g(1) + g(b=2, a=3)", "def g(a, b=10): return a * b\nassert f(g) == 16"),
    "mock": ("def f(g): g(1)", CALLED),
    "through one another": ("def f(g, n): return g(lambda k: f(g, k), n)", "assert f(lambda self, n: 1 if n == 0 else n * self(n - 1), 10) == 3628800"),
    "keys": ("def f(xs, key): return max(xs, key=key)", "assert f(['a', 'bbb'], key=len) == 'bbb'\nassert f(['a', 'bbb'], key=lambda s: -len(s)) == 'a'\nassert f(['a', 'B'], str.upper) == 'B'"),
    "threads": ("from concurrent.futures import ThreadPoolExecutor\ndef f(g, xs):\n    with ThreadPoolExecutor(4) as pool: return list(pool.map(g, xs))", "assert f(lambda x: x * 2, list(range(50))) == [2 * i for i in range(50)]"),
    "fields": ("def f(p): return p.x + p.y", P + "assert f(P(1, 2)) == 3"),
    "same object": ("def f(p): return p", P + "p = P(1)\nassert f(p) is p"),
    "changed for its own sake": ("def f(p): p.x = 7", P + "p = P(1)\nf(p)\nassert p.x == 7"),
    "list of a field": ("def f(p): p.x.append(2)", P + "p = P([1])\nf(p)\nassert p.x == [1, 2]"),
    "in order": ("def f(ps): return sorted(ps, key=lambda p: p.x)", P + "ps = [P(3), P(1)]\nassert [q.x for q in f(ps)] == sorted(p.x for p in ps)"),
    "made": (P + "def f(a): return P(a, 2)", P + "r = f(1)\nassert (r.x, r.y) == (1, 2)"),
    "dataclass": (D + "def f(a): return D(a, [1])", D + "assert f(1) == D(1, [1])"),
    "slots": ("def f(p):\n    p.a += 1\n    return p", "class S:\n    __slots__ = ('a',)\n    def __init__(self, a): self.a = a\nassert f(S(1)).a == 2"),
    "node of a tree": ("def f(t, v):\n    if t is None or t.v == v: return t\n    return f(t.l, v) or f(t.r, v)", T + "a = T(4)\ntop = T(1, T(2, a), T(3))\nassert f(top, 4) is a\nassert f(top, 9) is None"),
    "mirrored": ("def f(t):\n    if t: t.l, t.r = f(t.r), f(t.l)\n    return t", T + "m = f(T(1, T(2), T(3)))\nassert (m.l.v, m.r.v) == (3, 2)"),
    "visited": ("def f(t, see):\n    if t:\n        f(t.l, see)\n        see(t)\n        f(t.r, see)", T + "seen = []\nf(T(2, T(1), T(3)), lambda n: seen.append(n.v))\nassert seen == [1, 2, 3]"),
    "changed by a function": ("def f(t, up):\n    up(t)\n    return t.v", T + "def up(t): t.v += 1\nassert f(T(2), up) == 3"),
    "changed before and by a function": ("def f(t, up):\n    t.v = 10\n    up(t)\n    return t", T + "def up(t): t.v += 1\nt = T(2)\nassert f(t, up).v == 11"),
    "methods": ("def f(p): return p.area() + p.twice", P + "    def area(self): return self.x * self.y\n    @property\n    def twice(self): return self.x * 2\nassert f(P(2, 3)) == 10"),
    "methods that change": ("def f(s):\n    s.push(3)\n    s.push(4)\n    return s.pop() + len(s) + s.size", "class S:\n    size = 5\n    def __init__(self): self.held = []\n    def push(self, x): self.held.append(x)\n    def pop(self): return self.held.pop()\n    def __len__(self): return len(self.held)\ns = S()\nassert f(s) == 10\nassert s.held == [3]"),
    "order of the tests' own": ("def f(xs): return sorted(xs)", "class V:\n    def __init__(self, n): self.n = n\n    def __lt__(self, other): return self.n > other.n\nassert [v.n for v in f([V(1), V(3), V(2)])] == [3, 2, 1]"),
    "equal as the tests say": ("def f(p, q): return p == q, p == 5, len({p, q}), repr(p)", P + "    def __eq__(self, other): return isinstance(other, P) and self.x == other.x\n    def __hash__(self): return hash(self.x)\n    def __repr__(self): return f'P({self.x})'\nassert f(P(1), P(1, 2)) == (True, False, 1, 'P(1)')"),
    "another of its kind": ("def f(p): return type(p)(p.x + 1, y=3)", P + "q = f(P(1))\nassert (q.x, q.y) == (2, 3)\nassert isinstance(q, P)"),
    "made by a function": ("def f(g): return g(3).x", P + "assert f(lambda a: P(a)) == 3"),
    "called and looked at": ("def f(p): return p(3) + p.x", P + "    def __call__(self, n): return n\nassert f(P(1)) == 4"),
    "added to a list": (P + "def f(ps, n): ps.append(P(n))", P + "ps = [P(1)]\nf(ps, 2)\nassert [p.x for p in ps] == [1, 2]"),
    "static": ("def f(p): return p.of(4) + p.all()", P + "    @staticmethod\n    def of(n): return n\n    @classmethod\n    def all(cls): return 2\nassert f(P(1)) == 6"),
    "long chain made": (CHAIN, P + "r, n = f(5000), 0\nwhile r is not None: r, n = r.x, n + 1\nassert n == 5000"),
    "long chain given": (COUNT, P + "p = None\nfor i in range(5000): p = P(p)\nassert f(p) == 5000"),
}  # fmt: skip
WRONG = {
    "mock called otherwise": ("def f(g): g(2)", CALLED),
    "failed check swallowed": ("def f(g):\n    try: g(2)\n    except BaseException: pass\n    return 1", "def g(x):\n    assert x == 1\nassert f(g) == 1"),
    "failure swallowed": ("def f(g):\n    try: g(2)\n    except BaseException: pass\n    return 1", "import pytest\ndef g(x): pytest.fail('called')\nassert f(g) == 1"),
    "skipped": ("def f(g): g()", "import pytest\ndef g(): pytest.skip('no')\nassert f(g) == 1"),
    "ended well": ("def f(g): g()", "import sys\ndef g(): sys.exit(0)\nassert f(g) == 1"),
    "endless recursion": ("def f(g, n): return g(lambda k: f(g, k), n)", "assert f(lambda self, n: self(n + 1), 10) == 1"),
    "all memory": ("def f(g): return g(10 ** 10)", "assert f(lambda n: len([0] * n)) == 3"),
    "too much": ("def f(g): return g(10 ** 7)", "assert f(lambda n: [0] * n) == 3"),
    "without end": ("def f(g): return g(10 ** 10)", "assert f(lambda n: sum(range(n))) == 3"),
    "agrees with all": ("class O:\n    def __eq__(self, other): return True\ndef f(g): return g(O(), 5)", "assert f(lambda a, b: a == b)"),
    "the tests' exception without the tests' function": ("class Boom(Exception): pass\ndef f(g): raise Boom('x')", "class Boom(Exception): pass\ndef g(): raise Boom('x')\ntry:\n    f(g)\n    raised = False\nexcept Boom:\n    raised = True\nassert raised"),
    "forged number": ("class Fake: pass\ndef f(g):\n    import gc\n    return [o.forms.update({id(g): ['lent', 99]}) for o in gc.get_objects() if type(o).__name__ == 'Server'] and g", "def z(a): return a\nassert f(z) is z"),
    "both sides changed": ("def f(ps):\n    for p in ps: p.x = 0\n    return ps", P + "ps = [P(3), P(1)]\nassert [q.x for q in f(ps)] == sorted(p.x for p in ps)"),
    "argument changed": ("def f(p):\n    p.x = 0\n    return 0", P + "p = P(5)\nassert f(p) == p.x"),
    "equal by its own word": ("class D:\n    def __eq__(self, other): return True\ndef f(a): return D()", D + "assert f(1) == D(1, [1])"),
    "wildcard of the tests": ("class Any: pass\ndef f(a): return Any()", "class Any:\n    def __eq__(self, other): return True\nassert f(1) == 5"),
    "container of the tests": ("class Any: pass\ndef f(a): return Any()", "class Any:\n    def __contains__(self, other): return True\nassert 5 in f(1)"),
    "method of its own": (P + "def f(a):\n    p = P(a)\n    p.total = lambda: 9\n    return p", P + "    def total(self): return self.x\nassert f(1).total() == 9"),
    "cached beforehand": (P + "def f(a):\n    p = P(a)\n    p.__dict__['total'] = 9\n    return p", "from functools import cached_property\n" + P + "    @cached_property\n    def total(self): return self.x\nassert f(1).total == 9"),
    "field that agrees with all": ("class P: pass\nclass O:\n    def __eq__(self, other): return True\ndef f(a):\n    p = P()\n    p.x = O()\n    return p", P + "assert f(1).x == 5"),
    "field of Python's": ("class P: pass\ndef f(a):\n    p = P()\n    p.__dict__['__class__'] = p.x = 5\n    return p", P + "assert f(1).x == 5"),
    "class out of a function": ("def f(g): return g(1)", "class C(int): pass\nassert f(lambda x: C) == 1"),
    "chain in a ring": ("class P: pass\ndef f(a):\n    p = P()\n    p.x = p\n    return p", P + "r = f(1)\nwhile r is not None: r = r.x\nassert r is None"),
    "no class of the tests to be": ("class Case: pass\ndef f(a): return Case()", "import unittest\nclass Case(unittest.TestCase):\n    def test_it(self): self.assertEqual(f(1), 2)"),
}  # fmt: skip
UNDECIDED = {
    "cached": ("def f(p): return p.x", "from functools import cached_property\n" + P + "    @cached_property\n    def z(self): return 1\nassert f(P(2, 3)) == 2"),
    "class": ("def f(c): return c(1).x", P + "assert f(P) == 1"),
    "enum": ("def f(c): return c", "from enum import Enum\nclass C(Enum):\n    A = 1\nassert f(C.A) is C.A"),
}  # fmt: skip
LISTS = """
class ListNode:
    def __init__(self, val=0, next=None):
        self.val = val
        self.next = next

def list_node(values):
    head = None
    for value in reversed(values):
        head = ListNode(value, head)
    return head

def is_same_list(a, b):
    if a is None or b is None:
        return a is b
    return a.val == b.val and is_same_list(a.next, b.next)
"""
TURNED = (
    "def check(candidate):\n    assert is_same_list(candidate(head = list_node([1, 2, 3])), list_node([3, 2, 1]))\n"
)


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_answer_is_right_as_it_is_in_one_process(code_grader: Grader, name: str) -> None:
    code, tests = RIGHT[name]
    exec(f"{code}\n{tests}", {"__name__": "__main__"})
    result = code_grader.grade(code, tests)
    assert result.correct is True, result


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_answer_is_wrong_and_never_undecided(code_grader: Grader, name: str) -> None:
    result = code_grader.grade(*WRONG[name])
    assert result.correct is False, result


@pytest.mark.parametrize("name", UNDECIDED)
def test_what_cannot_be_handed_over_is_a_bad_test(code_grader: Grader, name: str) -> None:
    result = code_grader.grade(*UNDECIDED[name])
    assert (result.correct, result.reason) == (None, "bad_tests")
    assert result.detail.startswith("a test hands ")


@pytest.mark.parametrize(
    ("body", "right"),
    [
        ("        last = None\n        while head: head.next, last, head = last, head, head.next\n        return last", True),
        ("        last = None\n        while head: last, head = ListNode(head.val, last), head.next\n        return last", True),
        ("        return head", False),
        ("        while head.next: head = head.next\n        head.next = head\n        return head", False),
    ],
)  # fmt: skip
def test_lists_of_a_prompt_s_class_are_rewired_and_made_anew(code_grader: Grader, body: str, right: bool) -> None:
    code = f"class Solution:\n    def turn(self, head):\n{body}\n"
    result = code_grader.grade(code, TURNED, "Solution().turn", prompt=LISTS)
    assert result.correct is right, result
    beside = {"tests": TURNED, "context": LISTS}
    assert code_grader.grade(code, beside, "Solution().turn", "Turn a list.").correct is right


def test_an_object_that_an_answer_kept_is_changed_for_nobody_else(code_grader: Grader) -> None:
    code = "kept = []\nclass P: pass\ndef make():\n    kept.append(P())\n    kept[0].x = 1\n    return kept[0]\ndef look(p):\n    kept[0].x = 5\n    return p.x\n"
    tests = f"from solution import make, look\n{P}p = make()\nassert look(p) == 5\nassert p.x == 1"
    assert code_grader.grade(code, tests).correct is True
