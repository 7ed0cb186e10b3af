"""A whitelist parser for final answers: LaTeX or plain text to a small tree. Nothing is evaluated.

    text (as `normalize.clean` left it) --tokenise--> tokens --Parser--> Node

What is not in the grammar raises `Unreadable`; more than the bounds of `rewards.math.tree`, `TooBig`. Both
are decided before anything is computed.
"""

import re
from fractions import Fraction

from rewards.math.atoms import BIG, PASS_THROUGH, Atoms, percent
from rewards.math.tokens import FUNCTIONS, GREEK, number_node, tokenise
from rewards.math.tree import Node, Unreadable
from rewards.math.units import is_percent, read

RELATIONS = {
    "=": "=", "==": "=", r"\equiv": "=", "<": "<", ">": ">", r"\lt": "<", r"\gt": ">", "<=": "<=", ">=": ">=",
    r"\le": "<=", r"\ge": ">=", "!=": "!=", r"\ne": "!=", r"\in": "in", r"\approx": "~", r"\sim": "to",
    r"\mid": "|", r"\to": "->", "->": "->", r"\rightarrow": "->", r"\Rightarrow": "->", r"\implies": "->",
    r"\notin": "not in", r"\parallel": "parallel", r"\perp": "perpendicular", r"\subset": "subset",
    r"\subseteq": "subset",
}  # fmt: skip
APPROXIMATELY = (r"\approx", r"\sim", r"\simeq", r"\cong", "~")
COMBINATIONS = re.compile(r"C_\d{1,4}")


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


class Parser(Atoms):
    """Recursive descent over tokens, its upper half: lists, relations, sums, products, powers."""

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
        if operators in ([], ["="]) and self.take(r"\pmod"):
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
                left = quantity(left, unit)
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
            if self.take("^"):
                words += f"^{self.group_or_token().value}"
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
                top = Fraction(int(base.value[2:]))
                if exponent.value <= top:  # else the square of a constant C_1
                    return Node("fn", (Node("num", (), top), exponent), "binom")
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


def quantity(value: Node, unit: str) -> Node:
    """`value` in `unit`; of `3 \\text{ hours } 20`, which reads as a product, in minutes the sum of both."""
    if value.head == "mul" and value.args[0].head == "qty" and value.args[1].head == "num":
        (larger,), first, second = value.args[0].args, read(value.args[0].value), read(unit)
        if first and second and first[0] == second[0] and first[1] > second[1]:
            converted = Node("mul", (larger, Node("num", (), first[1] / second[1])))
            return Node("qty", (Node("add", (converted, value.args[1]), "mixed"),), unit)
    return Node("qty", (value,), unit)
