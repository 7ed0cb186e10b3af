"""The smallest parts of an answer: numbers, names, brackets, functions, matrices. See `rewards.math.latex`."""

from fractions import Fraction

from rewards.math.tokens import ALIASES, FUNCTIONS, GREEK, Token, number_node
from rewards.math.tree import MAX_DEPTH, Node, TooBig, Unreadable

CLOSERS = {"(": (")", "]"), "[": ("]", ")"), r"\{": (r"\}",), "{": ("}",), r"\langle": (r"\rangle",)}
BIG = frozenset({"sum", "prod", "int", "lim"})
PASS_THROUGH = frozenset(
    {r"\angle", r"\triangle", r"\vec", r"\hat", r"\tilde", r"\widehat", r"\overrightarrow", r"\mathop"}
)


class Cursor:
    """A place in the tokens. Depth is bounded by `MAX_DEPTH`."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens, self.at, self.depth, self.bars = tokens, 0, 0, 0

    def peek(self, ahead: int = 0) -> Token | None:
        index = self.at + ahead
        return self.tokens[index] if index < len(self.tokens) else None

    def next_is(self, *texts: str) -> bool:
        token = self.peek()
        return token is not None and token.kind not in ("text",) and token.text in texts

    def take(self, *texts: str) -> Token | None:
        if self.next_is(*texts):
            self.at += 1
            return self.tokens[self.at - 1]
        return None

    def need(self, *texts: str) -> Token:
        token = self.take(*texts)
        if token is None:
            raise Unreadable(f"expected {texts}, got {self.peek()}")
        return token

    def enter(self) -> None:
        self.depth += 1
        if self.depth > 4 * MAX_DEPTH:
            raise TooBig("nested too deeply")


class Atoms(Cursor):
    """Recursive descent, its lower half: `rewards.math.latex.Parser` is the upper one, which this one calls back."""

    def items(self, closers: tuple[str, ...]) -> tuple[list[Node], str]:
        raise NotImplementedError

    def relation(self) -> Node:
        raise NotImplementedError

    def sum(self) -> Node:
        raise NotImplementedError

    def term(self) -> Node:
        raise NotImplementedError

    def unary(self) -> Node:
        raise NotImplementedError

    def power(self) -> Node:
        raise NotImplementedError

    def exponent(self) -> Node:
        raise NotImplementedError

    def postfix(self) -> Node:
        raise NotImplementedError

    def starts_factor(self, stop_at_functions: bool) -> bool:
        raise NotImplementedError

    def primary(self) -> Node:
        token = self.peek()
        if token is None:
            raise Unreadable("ends too early")
        self.enter()
        self.at += 1
        node = self.of_token(token)
        self.depth -= 1
        return node

    def of_token(self, token: Token) -> Node:
        kind, text = token.kind, token.text
        if kind in ("num", "rep", "etc"):
            return self.number(token)
        if kind == "name":
            return self.symbol(text)
        if kind == "word":
            return self.word(text)
        if kind == "text":
            return Node("text", (), text.strip())
        if kind == "env":
            return self.matrix(text)
        if text in CLOSERS:
            return self.bracket(text)
        if text in ("|", r"\lvert", r"\|"):
            return self.absolute(text)
        if text in (r"\$", "$"):
            return Node("qty", (self.postfix(),), "dollar")
        if kind == "cmd":
            return self.command(text)
        raise Unreadable(f"unexpected {text!r}")

    # Leaves

    def number(self, token: Token) -> Node:
        node = number_node(token)
        if self.next_is("_"):
            self.at += 1
            base = self.group_or_token()
            return Node("based", (), (token.text, base_of(base)))
        following, bar = self.peek(), self.peek(1)
        if node.head != "num" or following is None:
            return node
        if following.text == r"\frac":  # a mixed number, 2\frac{1}{2}
            saved = self.at
            self.at += 1
            part = self.command(r"\frac")
            if is_proper_fraction(part):
                return Node("add", (node, part), "mixed")
            self.at = saved
        elif following.kind == "num" and following.spaced and bar is not None and bar.text == "/":
            bottom = self.peek(2)
            if bottom is not None and bottom.kind == "num" and following.text.isdigit() and bottom.text.isdigit():
                part = Node("div", (number_node(following), number_node(bottom)))
                if is_proper_fraction(part):
                    self.at += 3
                    return Node("add", (node, part), "mixed")
        return node

    def symbol(self, name: str) -> Node:
        if self.take("_"):
            return Node("sym", (), f"{name}_{self.subscript()}")
        if name in ("e", "i"):
            return Node("const", (), name)
        return Node("sym", (), name)

    def subscript(self) -> str:
        """What follows `_`, as text; `\\max` and the like are words here."""
        word, close = self.peek(1), self.peek(2)
        named = word is not None and word.kind in ("cmd", "text") and close is not None and close.text == "}"
        if word is not None and named and self.next_is("{"):
            self.at += 3
            return word.text.strip().lstrip("\\")
        return spelled(self.group_or_token())

    def word(self, text: str) -> Node:
        if text == "pi":
            return Node("const", (), "pi")
        if text in ("inf", "infinity", "infty", "oo"):
            return Node("const", (), "inf")
        if text == "sqrt":
            return self.command(r"\sqrt")
        if text == "U":
            return self.symbol("U")
        raise Unreadable(f"unexpected word {text!r}")

    def bracket(self, opener: str) -> Node:
        """Parentheses: a group, a point, an interval. Braces: a group or a set."""
        bars, self.bars = self.bars, 0
        if opener == r"\{" and self.take(r"\}"):
            return Node("set")
        described = opener in (r"\{", "{") and self.builder()
        items, closer = self.items(CLOSERS[opener])
        self.bars = bars
        if opener == r"\{" or described:
            if all(item.head == "rel" and item.value != ("=",) for item in items):  # { x | 1 < x < 2 }
                return items[0] if len(items) == 1 else Node("list", tuple(items), "and")
            return Node("set", tuple(items))
        if len(items) == 1 and closer in (")", "}", "]") and (opener + closer) in ("()", "[]", "{}"):
            inner = items[0]
            if opener == "(" and self.next_is("_") and inner.head == "num":
                self.at += 1
                return Node("based", (), (str(inner.value), base_of(self.group_or_token())))
            return inner
        if opener == "{":  # braces group in LaTeX; only \\{ \\} is a set
            return Node("list", tuple(items))
        if opener == r"\langle":
            return Node("tuple", tuple(items), ("(", ")"))
        return Node("tuple", tuple(items), (opener, closer))

    def builder(self) -> bool:
        """Skip the `x |` of `\\{x | 1 < x < 2\\}`, and `x \\in \\mathbb{R} |`."""
        token, bar = self.peek(), self.peek(1)
        skipped = 0
        if token is not None and token.kind == "name" and bar is not None:
            after = self.peek(3) if bar.text == r"\in" else bar
            if after is not None and after.text in ("|", r"\mid", ":"):
                skipped = 2 if after is bar else 4
        self.at += skipped
        return skipped > 0

    def absolute(self, opener: str) -> Node:
        self.bars += 1
        inner = self.relation()
        self.need({"|": "|", r"\lvert": r"\rvert", r"\|": r"\|"}[opener])
        self.bars -= 1
        return Node("fn", (inner,), "abs")

    def group_or_token(self) -> Node:
        """An argument: `{...}` or a single token (one digit of a number, as LaTeX has it)."""
        self.enter()
        token = self.peek()
        if token is None:
            raise Unreadable("an argument is missing")
        if token.kind == "num" and token.text.isdigit() and len(token.text) > 1:
            rest = Token("num", token.text[1:], False)
            self.tokens[self.at] = rest
            node = Node("num", (), Fraction(int(token.text[0])))
        elif token.text == "{" and token.kind == "op":
            self.at += 1
            items, _ = self.items(("}",))
            node = items[0] if len(items) == 1 else Node("list", tuple(items))
        else:
            node = self.primary()
        self.depth -= 1
        return node

    # Commands

    def command(self, text: str) -> Node:
        name = text[1:]
        if text == r"\pi":
            return Node("const", (), "pi")
        if text == r"\infty":
            return Node("const", (), "inf")
        if name in ("ldots", "cdots", "dots"):
            return Node("sym", (), "...")
        if text == r"\emptyset":
            return Node("set")
        if text.startswith(r"\mathbb{"):
            return Node("reals", (), text[8:-1].strip())
        if name in GREEK:
            return self.symbol("epsilon" if name == "varepsilon" else "phi" if name == "varphi" else name)
        if name == "frac":
            return quotient(self.group_or_token(), self.group_or_token())
        if name == "binom":
            top = self.group_or_token()
            return Node("fn", (top, self.group_or_token()), "binom")
        if name == "sqrt":
            return self.root()
        if name in ("lfloor", "lceil"):
            inner = self.relation()
            self.need(r"\rfloor" if name == "lfloor" else r"\rceil")
            return Node("fn", (inner,), "floor" if name == "lfloor" else "ceil")
        if name in BIG:
            return self.big(name)
        if name in ("overline", "bar"):
            return Node("sym", (), f"overline {spelled(self.group_or_token())}")
        if text in PASS_THROUGH:
            return self.group_or_token()
        if name in FUNCTIONS:
            return self.function(ALIASES.get(name, name))
        raise Unreadable(f"unknown command {text}")

    def big(self, name: str) -> Node:
        """`\\sum_{k=1}^n k`, `\\int_0^1 x dx`, `\\lim_{x \\to 0} x`: read, for who evaluates it."""
        bounds = []
        self.take(r"\limits")
        for _ in range(2):
            if self.take("_", "^"):
                bounds.append(self.group_or_token())
        return Node("big", (*bounds, self.term()), name)

    def root(self) -> Node:
        index = None
        if self.take("["):
            index = self.sum()
            self.need("]")
        inner = self.group_or_token()
        return Node("fn", (inner,), "sqrt") if index is None else Node("fn", (inner, index), "root")

    def function(self, name: str) -> Node:
        """`\\sin^2 2x`, `\\log_2(8)`, `\\ln x`, `gcd(4, 6)`."""
        base = power = None
        for _ in range(2):
            if self.take("_"):
                base = self.group_or_token()
            if self.take("^"):
                power = self.exponent()
        if self.next_is("(", "{"):
            items, _ = self.items(CLOSERS[self.need("(", "{").text][:1])
        else:
            items = [self.argument()]
        if name == "log" and base is not None:
            items, name = [items[0], base], "logbase"
        if power is not None and is_minus_one(power):
            return Node("fn", tuple(items), "arc" + name)
        node = Node("fn", tuple(items), name)
        return Node("pow", (node, power)) if power is not None else node

    def argument(self) -> Node:
        """What a function without parentheses takes: a product, up to +, -, or another function."""
        left = self.unary()
        while self.starts_factor(True) and not self.next_is("(", "["):
            left = Node("mul", (left, self.power()))
        if self.next_is("/") and left.head in ("num", "const", "sym", "mul"):
            self.at += 1
            left = Node("div", (left, self.power()))
        return left

    def matrix(self, opening: str) -> Node:
        name = environment(opening)
        if name not in ("pmatrix", "bmatrix", "matrix", "array", "Bmatrix", "smallmatrix", "vmatrix", "cases"):
            raise Unreadable(f"environment {name}")
        rows: list[list[Node]] = [[]]
        while True:
            token = self.peek()
            if token is None:
                raise Unreadable("a matrix does not end")
            if token.kind == "env" and token.text.startswith(r"\end"):
                self.at += 1
                break
            if self.take(r"\\"):
                rows.append([])
            elif name == "cases" and (self.take(",", ";") or (token.kind == "text" and self.at_condition())):
                continue
            elif not self.take("&", r"\hline"):
                rows[-1].append(self.relation())
        rows = [row for row in rows if row]
        if not rows or len({len(row) for row in rows}) != 1 or name == "vmatrix":
            raise Unreadable("not a rectangular matrix")
        cells = tuple(cell for row in rows for cell in row)
        if name != "cases":
            return Node("matrix", cells, (len(rows), len(rows[0])))
        if len(rows[0]) == 1 and all(cell.head == "rel" for cell in cells):
            return Node("list", cells, "and")
        if len(rows[0]) == 2:
            return Node("piecewise", cells)
        raise Unreadable("neither a system nor a function by cases")

    def at_condition(self) -> bool:
        """Skip the "if" of `\\text{if } x > 0`."""
        if self.tokens[self.at].text.strip().strip(",").lower() not in ("if", "for", "when", "as"):
            return False
        self.at += 1
        return True


def environment(token: str) -> str:
    return token[token.index("{") + 1 : token.index("}")].rstrip("*")


def percent(node: Node) -> Node:
    if node.head == "percent":
        raise Unreadable("percent of percent")
    return Node("percent", (node,))


def is_minus_one(node: Node) -> bool:
    return node.head == "neg" and node.args[0].head == "num" and node.args[0].value == 1


def quotient(top: Node, bottom: Node) -> Node:
    """`\\frac{top}{bottom}`; `\\frac{d}{dx}` asks for a derivative, it is no d over d times x."""
    if bottom.head == "mul" and top == bottom.args[0] == Node("sym", (), "d") and bottom.args[1].head == "sym":
        raise Unreadable("a derivative that is not taken")
    return Node("div", (top, bottom))


def is_proper_fraction(node: Node) -> bool:
    """Whether `node` is a/b of plain whole numbers with 0 < a < b."""
    if node.head != "div" or any(arg.head != "num" or arg.value.denominator != 1 for arg in node.args):
        return False
    return 0 < node.args[0].value < node.args[1].value


def base_of(node: Node) -> int:
    names = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}
    if node.head == "text" and node.value.lower() in names:
        return names[node.value.lower()]
    if node.head != "num" or node.value.denominator != 1 or not 2 <= node.value <= 36:
        raise Unreadable("not a base")
    return int(node.value)


def spelled(node: Node) -> str:
    """A subscript as text."""
    if node.head in ("num", "sym", "const", "text"):
        return str(node.value)
    return node.head + "(" + ",".join(spelled(arg) for arg in node.args) + str(node.value or "") + ")"
