"""A whitelist parser for final answers: LaTeX or plain text to a small tree. Nothing is evaluated.

    text (as `normalize.clean` left it) --tokenise--> tokens --Parser--> Node

What is not in the grammar raises `Unreadable`; more than the bounds of `rewards.math.tree`, `TooBig`. Both
are decided before anything is computed.
"""

import re
from fractions import Fraction

from rewards.math.tokens import ALIASES, FUNCTIONS, GREEK, Token, number_node, tokenise
from rewards.math.tree import MAX_DEPTH, Node, TooBig, Unreadable

RELATIONS = {
    "=": "=", "==": "=", r"\equiv": "=", "<": "<", ">": ">", r"\lt": "<", r"\gt": ">", "<=": "<=", ">=": ">=",
    r"\le": "<=", r"\ge": ">=", "!=": "!=", r"\ne": "!=", r"\in": "in", r"\approx": "~", r"\sim": "~",
    r"\mid": "|", r"\to": "->", "->": "->", r"\rightarrow": "->", r"\Rightarrow": "->", r"\implies": "->",
}  # fmt: skip
COMBINATIONS = re.compile(r"C_\d{1,4}")
CLOSERS = {"(": (")", "]"), "[": ("]", ")"), r"\{": (r"\}",), "{": ("}",), r"\langle": (r"\rangle",)}
STARTERS = frozenset({"(", "[", r"\{", "{", r"\langle", "|", r"\lvert", r"\lfloor", r"\lceil"})
BIG = frozenset({"sum", "prod", "int", "lim"})
APPROXIMATELY = (r"\approx", r"\sim", r"\simeq", r"\cong", "~")
PASS_THROUGH = frozenset(
    {r"\angle", r"\triangle", r"\vec", r"\hat", r"\tilde", r"\widehat", r"\overrightarrow", r"\mathop"}
)


def parse(text: str) -> Node:
    """The tree of one answer. Raises `Unreadable` or `TooBig`."""
    tokens = tokenise(text)
    if not tokens:
        raise Unreadable("empty")
    parser = Parser(tokens)
    node = parser.answer()
    if parser.peek() is not None:
        raise Unreadable(f"unexpected {parser.peek()}")
    return node


class Parser:
    """Recursive descent over tokens; depth bounded by `MAX_DEPTH`."""

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

    # Lists and relations

    def answer(self) -> Node:
        items, _ = self.items(())
        joined = {t.text for t in self.tokens if t.kind == "word" and t.text in ("and", "or")}
        commas = any(t.kind == "op" and t.text in (",", ";") for t in self.tokens)
        conjunction = joined.pop() if len(joined) == 1 and not commas else None
        return items[0] if len(items) == 1 else Node("list", tuple(items), conjunction)

    def items(self, closers: tuple[str, ...]) -> tuple[list[Node], str]:
        """Expressions between commas, semicolons, "and", "or", up to one of `closers` (taken)."""
        items = [self.relation()]
        while True:
            if closers and (token := self.take(*closers)):
                return items, token.text
            if not self.separator():
                if closers:
                    raise Unreadable(f"expected {closers}, got {self.peek()}")
                return items, ""
            if closers and (token := self.take(*closers)):  # a comma before the end
                return items, token.text
            items.append(self.relation())

    def separator(self) -> bool:
        taken = False
        while (token := self.peek()) is not None and (
            (token.kind == "op" and token.text in (",", ";"))
            or (token.kind == "word" and token.text in ("and", "or"))
            or token.text in (r"\land", r"\lor", r"\vee", r"\wedge")
        ):
            self.at += 1
            taken = True
        return taken

    def relation(self) -> Node:
        self.enter()
        if self.at == 0:
            self.take(*APPROXIMATELY)
        terms, operators = [self.ratio()], []
        while (operator := self.relation_operator()) is not None:
            operators.append(operator)
            terms.append(self.ratio())
        self.depth -= 1
        if operators == ["="] and self.take(r"\pmod"):
            return Node("mod", (*terms, self.group_or_token()))
        return Node("rel", tuple(terms), tuple(operators)) if operators else terms[0]

    def relation_operator(self) -> str | None:
        token = self.peek()
        if token is None or token.kind == "text":
            return None
        name = RELATIONS.get(token.text) or ("in" if token.kind == "word" and token.text == "in" else None)
        if name:
            self.at += 1
            if name == "<" and self.take("="):
                return "<="
            if name == ">" and self.take("="):
                return ">="
        return name

    def ratio(self) -> Node:
        items = [self.sets()]
        while self.take(":"):
            items.append(self.sets())
        return items[0] if len(items) == 1 else Node("ratio", tuple(items))

    def sets(self) -> Node:
        left = self.sum()
        while (token := self.peek()) is not None and token.kind != "text":
            if token.text in (r"\cup", "union", "U") and token.kind != "name":
                head = "cup"
            elif token.text in (r"\cap", r"\setminus", r"\backslash"):
                head = "cap" if token.text == r"\cap" else "setminus"
            else:
                break
            self.at += 1
            left = Node(head, (left, self.sum()))
        return left

    # Arithmetic

    def sum(self) -> Node:
        self.enter()
        if sign := self.take(r"\pm", r"\mp"):
            left = Node("pm", (Node("num", (), Fraction(0)), self.term()), 1 if sign.text == r"\pm" else -1)
        else:
            left = self.term()
        while token := self.take("+", "-", r"\pm", r"\mp"):
            if token.text == "+" and self.take("/"):  # +/-
                self.need("-")
                left = Node("pm", (left, self.term()), 1)
                continue
            right = self.term()
            if token.text in (r"\pm", r"\mp"):
                left = Node("pm", (left, right), 1 if token.text == r"\pm" else -1)
            else:
                left = Node("add", (left, right if token.text == "+" else Node("neg", (right,))))
        self.depth -= 1
        return left

    def term(self, stop_at_functions: bool = False) -> Node:
        left = self.unary()
        while True:
            if self.take("*", r"\cdot", r"\times", r"\ast"):
                left = Node("mul", (left, self.unary()))
            elif self.take("/", r"\div"):
                left = Node("div", (left, self.unary()))
            elif self.starts_factor(stop_at_functions):
                left = Node("mul", (left, self.power()))
            elif unit := self.unit():
                left = Node("qty", (left,), unit)
            else:
                return left

    def starts_factor(self, stop_at_functions: bool) -> bool:
        token = self.peek()
        if token is None:
            return False
        if token.kind == "name":
            return True
        if token.kind in ("num", "rep", "etc"):
            previous = self.tokens[self.at - 1]
            return previous.kind not in ("num", "rep", "etc")
        if token.kind == "word":
            return token.text in ("pi", "sqrt", "inf", "infinity", "infty", "oo")
        if token.kind == "cmd":
            name = token.text[1:]
            if name in FUNCTIONS:
                return not stop_at_functions
            return (
                name in GREEK
                or name in ("frac", "sqrt", "pi", "infty", "binom", "lfloor", "lceil", "overline")
                or name in BIG
                or (token.text in PASS_THROUGH or token.text in (r"\langle", r"\lvert"))
            )
        if token.kind == "env":
            return token.text.startswith(r"\begin")
        return token.text in ("(", "[", "{") or (token.text in ("|", r"\lvert") and not self.bars)

    def unit(self) -> str:
        """Text after a value (`\\text{ cm}^2`), as one string; "" if there is none."""
        token = self.peek()
        if token is None or token.kind != "text":
            return ""
        self.at += 1
        words = token.text
        if self.take("^"):
            power = self.group_or_token()
            if power.head != "num":
                raise Unreadable("a unit's power must be a number")
            words += f"^{power.value}"
        over = self.peek(1)
        if self.next_is("/") and over is not None and over.kind in ("text", "name"):
            self.at += 1
            words = f"{words.strip()}/{self.unit() or self.next_name()}"
        following = self.unit()
        return f"{words} {following}".strip() if following else words.strip() or " "

    def next_name(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1].text

    def unary(self) -> Node:
        if self.take("-"):
            self.enter()
            node = Node("neg", (self.unary(),))
            self.depth -= 1
            return node
        if self.take("+"):
            if self.next_is("+", "-"):
                raise Unreadable("more than one sign")
            return self.unary()
        return self.power()

    def power(self) -> Node:
        base = self.postfix()
        if self.take("^", "**"):
            if self.take(r"\circ"):
                return self.after_power(Node("deg", (self.with_minutes(base),)))
            if self.take("'", r"\prime"):
                return Node("fn", (base,), "prime")
            exponent = self.exponent()
            if base.head == "sym" and COMBINATIONS.fullmatch(base.value) and exponent.head == "num":
                return Node("fn", (Node("num", (), Fraction(int(base.value[2:]))), exponent), "binom")
            return self.after_power(Node("pow", (base, exponent)))
        return base

    def with_minutes(self, degrees: Node) -> Node:
        """`60^\\circ 30'` is 60 and 30/60 degrees."""
        minutes, mark = self.peek(), self.peek(1)
        if minutes is None or minutes.kind != "num" or mark is None or mark.text not in ("'", r"\prime"):
            return degrees
        self.at += 2
        part = Node("div", (number_node(minutes), Node("num", (), Fraction(60))))
        return Node("add", (degrees, part), "mixed")

    def after_power(self, node: Node) -> Node:
        while token := self.take("!", "%", r"\%"):
            node = Node("fact", (node,)) if token.text == "!" else percent(node)
        return node

    def exponent(self) -> Node:
        self.enter()
        if self.take("-"):
            node = Node("neg", (self.exponent(),))
        elif self.next_is("{"):
            node = self.group_or_token()
        else:
            node = self.postfix()
            if self.take("^", "**"):
                node = Node("pow", (node, self.exponent()))
        self.depth -= 1
        return node

    def postfix(self) -> Node:
        node = self.primary()
        while True:
            if self.take("!"):
                if self.take("!"):
                    raise Unreadable("double factorial")
                node = Node("fact", (node,))
            elif self.take("%", r"\%"):
                node = percent(node)
            elif self.take("'", r"\prime"):
                node = Node("fn", (node,), "prime")
            elif (token := self.peek()) is not None and token.kind == "text" and is_percent(token.text):
                self.at += 1
                node = percent(node)
            else:
                return node

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

    def enter(self) -> None:
        self.depth += 1
        if self.depth > 4 * MAX_DEPTH:
            raise TooBig("nested too deeply")

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
            return Node("sym", (), f"{name}_{spelled(self.group_or_token())}")
        if name in ("e", "i"):
            return Node("const", (), name)
        return Node("sym", (), name)

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
        if text == r"\emptyset":
            return Node("set")
        if text.startswith(r"\mathbb{"):
            return Node("reals", (), text[8:-1].strip())
        if name in GREEK:
            return self.symbol("epsilon" if name == "varepsilon" else "phi" if name == "varphi" else name)
        if name == "frac":
            top = self.group_or_token()
            return Node("div", (top, self.group_or_token()))
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
            elif not self.take("&", r"\hline"):
                rows[-1].append(self.relation())
        rows = [row for row in rows if row]
        if not rows or len({len(row) for row in rows}) != 1 or name in ("vmatrix", "cases"):
            raise Unreadable("not a rectangular matrix")
        return Node("matrix", tuple(cell for row in rows for cell in row), (len(rows), len(rows[0])))


def environment(token: str) -> str:
    return token[token.index("{") + 1 : token.index("}")].rstrip("*")


def percent(node: Node) -> Node:
    if node.head == "percent":
        raise Unreadable("percent of percent")
    return Node("percent", (node,))


def is_percent(text: str) -> bool:
    return text.strip().lower() in ("%", r"\%", "percent", "per cent", "pct", "percentage")


def is_minus_one(node: Node) -> bool:
    return node.head == "neg" and node.args[0].head == "num" and node.args[0].value == 1


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
