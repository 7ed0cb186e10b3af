"""Hypothesis strategies for answers: expressions as trees, their spellings, structures around them, sizes.

A tree is a tuple: ("int", 3), ("dec", "2.5"), ("sym", "x"), ("const", "pi"), or (operation, tree, ...). `spelled` draws
one of the many ways to write it, `sympy_value` is what SymPy makes of it.
"""

from typing import Any

from hypothesis import strategies as st

Tree = tuple[Any, ...]
NAMES = ("x", "y", "n", "a")
UNARY = ("neg", "sqrt", "square_sqrt", "abs", "sin", "cos", "ln", "exp")
BINARY = ("add", "add", "sub", "mul", "mul", "div")


@st.composite
def trees(draw: st.DrawFn, depth: int = 3, names: tuple[str, ...] = NAMES) -> Tree:
    """Arithmetic, small powers, roots, absolute values, functions of small numbers, factorials."""
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(leaves(names))
    head = draw(st.sampled_from((*BINARY, *BINARY, *UNARY, "pow", "fact", "binom")))
    if head in BINARY:
        return (head, draw(trees(depth - 1, names)), draw(trees(depth - 1, names)))
    if head == "pow":
        return ("pow", draw(trees(depth - 1, names)), draw(st.sampled_from([-2, -1, 2, 3])))
    if head == "fact":
        return ("fact", draw(st.integers(0, 7)))
    if head == "binom":
        return ("binom", draw(st.integers(2, 9)), draw(st.integers(0, 9)))
    if head in ("ln", "exp"):
        return (head, ("int", draw(st.integers(1, 9))))
    if head == "sqrt":
        return ("sqrt", ("int", draw(st.integers(0, 50))))
    return (head, draw(trees(depth - 1, names)))


def leaves(names: tuple[str, ...]) -> st.SearchStrategy[Tree]:
    numbers = st.integers(0, 40).map(lambda n: ("int", n))
    decimals = st.tuples(st.integers(0, 20), st.integers(0, 99)).map(lambda d: ("dec", f"{d[0]}.{d[1]:02}"))
    constants = st.sampled_from([("const", "pi"), ("const", "e")])
    letters = [st.sampled_from(names).map(lambda name: ("sym", name))] if names else []
    return st.one_of(numbers, numbers, decimals, constants, *letters, *letters)


@st.composite
def rewritten(draw: st.DrawFn, tree: Tree) -> Tree:
    """An equal tree: terms and factors in another order, products distributed, quotients as powers, roots as powers."""
    head, *args = tree
    if head in ("int", "dec", "sym", "const", "fact", "binom"):
        return tree
    args = [draw(rewritten(arg)) if isinstance(arg, tuple) else arg for arg in args]
    turn = draw(st.integers(0, 2))
    if head in ("add", "mul") and turn == 0:
        return (head, args[1], args[0])
    if head == "mul" and turn == 1 and args[1][0] in ("add", "sub"):
        inner, *terms = args[1]
        return (inner, ("mul", args[0], terms[0]), ("mul", args[0], terms[1]))
    if head == "sub" and turn == 0:
        return ("add", ("neg", args[1]), args[0])
    if head == "sub" and turn == 1:
        return ("neg", ("sub", args[1], args[0]))
    if head == "div" and turn == 0:
        return ("mul", args[0], ("pow", args[1], -1))
    if head == "pow" and turn == 0 and args[1] == 2:
        return ("mul", args[0], args[0])
    if head == "abs" and turn == 0:
        return ("abs", ("neg", args[0]))
    if head == "square_sqrt" and turn == 0:
        return ("abs", args[0])
    if head == "cos" and turn == 0:
        return ("cos", ("neg", args[0]))
    return (head, *args)


@st.composite
def changed(draw: st.DrawFn, tree: Tree) -> Tree:
    """A tree that differs at one place, and may or may not be equal all the same."""
    head, *args = tree
    places = [n for n, arg in enumerate(args) if isinstance(arg, tuple)]
    if places and draw(st.integers(0, 2)):
        place = draw(st.sampled_from(places))
        args[place] = draw(changed(args[place]))
        return (head, *args)
    if head == "int":
        return draw(st.sampled_from([("int", args[0] + 1), ("neg", tree), ("int", args[0] * 10), ("sym", "x")]))
    if head == "sym":
        return draw(st.sampled_from([("sym", "y"), ("neg", tree), ("abs", tree), ("pow", tree, 2)]))
    swaps = {"add": "sub", "sub": "add", "mul": "div", "div": "mul", "sin": "cos", "cos": "sin", "square_sqrt": "neg"}
    if head in swaps:
        return (swaps[head], *args)
    return draw(st.sampled_from([("neg", tree), ("add", tree, ("int", 1)), ("mul", ("int", 2), tree), ("abs", tree)]))


# Spellings


@st.composite
def spelled(draw: st.DrawFn, tree: Tree) -> str:
    """One of the ways to write `tree` in LaTeX or plain text; parentheses wherever they might be needed."""
    head, *args = tree
    if head in ("int", "dec", "sym"):
        return str(args[0])
    if head == "const":
        return draw(st.sampled_from({"pi": [r"\pi ", r"{\pi}", "π"], "e": ["e", r"\mathrm{e}"]}[args[0]]))
    if head == "fact":
        return draw(st.sampled_from([f"{args[0]}!", f"({args[0]})!"]))
    if head == "binom":
        return draw(st.sampled_from([rf"\binom{{{args[0]}}}{{{args[1]}}}", rf"\dbinom{{{args[0]}}}{{{args[1]}}}"]))
    inner = [draw(spelled(arg)) if isinstance(arg, tuple) else str(arg) for arg in args]
    left, right = draw(st.sampled_from([("(", ")"), (r"\left(", r"\right)"), ("{(", ")}")]))
    wrapped = [f"{left}{text}{right}" for text in inner]
    if head == "neg":
        return f"-{wrapped[0]}"
    if head == "add":
        return draw(st.sampled_from([f"{wrapped[0]}+{wrapped[1]}", f"{inner[0]} + {wrapped[1]}"]))
    if head == "sub":
        return draw(st.sampled_from([f"{wrapped[0]}-{wrapped[1]}", f"{wrapped[0]} − {wrapped[1]}"]))
    if head == "mul":
        sign = draw(st.sampled_from([r"\cdot ", "*", r"\times ", "", "·"]))
        return f"{wrapped[0]}{sign}{wrapped[1]}"
    if head == "div":
        return draw(st.sampled_from([rf"\frac{{{inner[0]}}}{{{inner[1]}}}", f"{wrapped[0]}/{wrapped[1]}"]))
    if head == "pow":
        return draw(st.sampled_from([f"{wrapped[0]}^{{{args[1]}}}", f"{wrapped[0]}**({args[1]})"]))
    if head == "sqrt":
        return draw(st.sampled_from([rf"\sqrt{{{inner[0]}}}", f"sqrt({inner[0]})", f"{wrapped[0]}^{{1/2}}"]))
    if head == "square_sqrt":
        return rf"\sqrt{{{wrapped[0]}^2}}"
    if head == "abs":
        return draw(st.sampled_from([f"|{wrapped[0]}|", rf"\left|{wrapped[0]}\right|", rf"\lvert{wrapped[0]}\rvert"]))
    if head == "exp":
        return draw(st.sampled_from([f"e^{{{inner[0]}}}", rf"\exp({inner[0]})"]))
    return draw(st.sampled_from([rf"\{head}{wrapped[0]}", rf"\{head}\left({inner[0]}\right)"]))


FULL_WIDTH = str.maketrans("0123456789+=()", "０１２３４５６７８９＋＝（）")
ARABIC = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")


@st.composite
def in_unicode(draw: st.DrawFn, text: str) -> str:
    """The same text with other scripts' digits, full-width signs, Unicode minus or spaces."""
    table = draw(st.sampled_from([FULL_WIDTH, ARABIC, str.maketrans("-", "−"), str.maketrans(" ", "\u2009")]))
    return text.translate(table)


@st.composite
def answers(draw: st.DrawFn) -> str:
    """An expression, or a structure of some: list, point, set, interval, equation, inequality, quantity, matrix."""
    parts = [draw(spelled(draw(trees(2)))) for _ in range(draw(st.integers(1, 3)))]
    first, last = parts[0], parts[-1]
    joined = ", ".join(parts)
    return draw(
        st.sampled_from(
            [
                first,
                joined,
                f"({joined})",
                rf"\{{{joined}\}}",
                rf"\left[{first}, {last}\right)",
                f"x = {first}",
                f"x > {first}",
                rf"{first} \le x < {last}",
                f"{first}:{last}",
                rf"{first} \pm {last}",
                rf"{first}\%",
                rf"{first}\text{{ cm}}^2",
                rf"\${first}",
                rf"({first})^\circ",
                rf"\begin{{pmatrix}}{first}&{last}\end{{pmatrix}}",
                rf"\text{{{draw(st.sampled_from(['yes', 'no', 'да', '是', 'blue whale']))}}}",
                " and ".join(parts),
                rf"\sum_{{k=1}}^{{{first}}} k",
            ]
        )
    )


def long(text: str, size: int) -> str:
    """`text` again and again, up to `size` characters, so that a spelling may be cut anywhere."""
    return (text * (size // max(len(text), 1) + 1))[:size]


# What SymPy makes of a tree


def sympy_value(tree: Tree) -> Any:
    import sympy

    head, *args = tree
    if head == "int":
        return sympy.Integer(args[0])
    if head == "dec":
        return sympy.Rational(args[0])
    if head == "sym":
        return sympy.Symbol(args[0], real=True)
    if head == "const":
        return sympy.pi if args[0] == "pi" else sympy.E
    if head == "fact":
        return sympy.factorial(args[0])
    if head == "binom":
        return sympy.binomial(args[0], args[1])
    values = [sympy_value(arg) if isinstance(arg, tuple) else sympy.Integer(arg) for arg in args]
    operations = {
        "neg": lambda a: -a,
        "add": lambda a, b: a + b,
        "sub": lambda a, b: a - b,
        "mul": lambda a, b: a * b,
        "div": lambda a, b: a / b,
        "pow": lambda a, b: a**b,
        "sqrt": sympy.sqrt,
        "square_sqrt": lambda a: sympy.sqrt(a**2),
        "abs": sympy.Abs,
        "sin": sympy.sin,
        "cos": sympy.cos,
        "ln": sympy.log,
        "exp": sympy.exp,
    }
    if any(value.has(sympy.zoo, sympy.nan, sympy.oo) for value in values):
        return sympy.nan  # 0 / (1 / 0) is 0 to SymPy
    return operations[head](*values)
