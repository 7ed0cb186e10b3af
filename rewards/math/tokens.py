"""The text of an answer as tokens; numbers as exact values.

What is longer than the bounds of `rewards.math.tree` raises `TooBig`.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from rewards.math.tree import MAX_NUMBER_DIGITS, MAX_TOKENS, Node, TooBig


@dataclass(frozen=True, slots=True)
class Token:
    """kind: num, rep (repeating decimal), name (a letter), cmd (\\name), word, text, op, env."""

    kind: str
    text: str
    spaced: bool = False  # white space stood before it


TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<rep>\d*\.\d*(?:\\(?:overline|bar|dot)\s*\{\s*\d+\s*\}|\(\d+\)))
    |(?P<etc>\d*\.\d+(?:\.\.\.|\\(?:l?dots|cdots)(?![a-zA-Z])))
    |(?P<num>\d{1,3}(?:\ \d{3})+(?![\d.])|(?:\d+(?:\.\d+)?|\.\d+|\d+\.(?!\.))(?:[eE][+-]?\d+(?![\d.]))?)
    |(?P<env>\\(?:begin|end)\s*\{[a-zA-Z]+\*?\}(?:\s*\{[lcr|\s]*\})?)
    |(?P<text>\\(?:text|mathrm|operatorname|mathbf|mathit|mathsf|mathbb|boldsymbol|mathcal|bm|rm|bf)\s*\*?\s*\{[^{}]*\})
    |(?P<cmd>\\[a-zA-Z]+)
    |(?P<esc>\\[^a-zA-Z])
    |(?P<word>[A-Za-z]+)
    |(?P<op>\*\*|<=|>=|!=|==|->|.)""",
    re.VERBOSE | re.DOTALL,
)

FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "arcsin",
        "arccos",
        "arctan",
        "arccot",
        "arcsec",
        "arccsc",
        "sinh",
        "cosh",
        "tanh",
        "coth",
        "ln",
        "log",
        "lg",
        "exp",
        "gcd",
        "lcm",
        "min",
        "max",
        "det",
        "deg",
        "re",
        "im",
        "asin",
        "acos",
        "atan",
        "tg",
        "ctg",
        "arctg",
        "arcctg",
        "abs",
        "floor",
        "ceil",
        "sgn",
    ]
)
ALIASES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log10",
    "tg": "tan", "ctg": "cot", "arctg": "arctan", "arcctg": "arccot",
}  # fmt: skip
GREEK = frozenset(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "varepsilon",
        "zeta",
        "eta",
        "theta",
        "vartheta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "rho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "varphi",
        "chi",
        "psi",
        "omega",
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Sigma",
        "Phi",
        "Psi",
        "Omega",
        "ell",
        "hbar",
    ]
)
WORDS = frozenset({"pi", "sqrt", "inf", "infinity", "infty", "oo", "and", "or", "frac", "in", "union", "U"})
IGNORED = frozenset({r"\displaystyle", r"\limits", r"\therefore", r"\hfill", r"\space", r"\hspace"})
SPACE_FIRST = re.compile(r"\{\s")  # \mathrm{~m} is a unit, \mathrm{e} a letter
LETTER_TEXT = re.compile(r"\\[a-z]+\s*\*?\s*\{\s*([A-Za-z])\s*\}")
TEXT_BODY = re.compile(r"\\[a-z]+\s*\*?\s*\{(.*)\}$", re.DOTALL)


def tokenise(text: str) -> list[Token]:
    tokens: list[Token] = []
    spaced = False
    for match in TOKEN.finditer(text):
        kind, body = match.lastgroup or "op", match.group()
        if kind == "space":
            spaced = True
            continue
        if kind == "text":
            letter = LETTER_TEXT.fullmatch(body)
            if body.startswith(r"\mathbb"):
                tokens.append(Token("cmd", re.sub(r"\s", "", body), spaced))
            elif letter and not body.startswith(r"\text") and not SPACE_FIRST.search(body):
                tokens.append(Token("name", letter.group(1), spaced))
            else:
                found = TEXT_BODY.match(body)
                tokens.extend(text_token(found.group(1) if found else "", spaced, body))
        elif kind == "word":
            tokens.extend(split_word(body, spaced))
        elif kind == "esc":
            tokens.append(Token("op", body, spaced))
        elif kind == "cmd" and body[1:] in ("pi", "infty"):
            tokens.append(Token("cmd", body, spaced))
        elif body not in IGNORED:
            tokens.append(Token(kind, body, spaced))
        spaced = False
        if len(tokens) > MAX_TOKENS:
            raise TooBig(f"more than {MAX_TOKENS} tokens")
    return tokens


def text_token(body: str, spaced: bool, whole: str) -> list[Token]:
    """`\\text{...}`: connectives become words, a function's name a command, the rest stays text."""
    word = body.strip().strip(",;").strip().lower()
    if word in ("and", "or", "in", ""):
        return [Token("word", word, True)] if word else []
    if word in FUNCTIONS and not (word == "min" and body[:1] == " "):  # 30 \\text{ min} are minutes
        return [Token("cmd", "\\" + word, spaced)]
    return [Token("text", body, spaced)]


def split_word(body: str, spaced: bool) -> list[Token]:
    """`sqrt`, `pi`, `sin` as words; a run of other letters as a product of single letters."""
    if body in WORDS:
        return [Token("word", body, spaced)]
    if body in FUNCTIONS or body in GREEK:
        return [Token("cmd", "\\" + body, spaced)]
    for known in ("sqrt", "sin", "cos", "tan", "log", "ln", "pi"):
        if known in body and len(body) > len(known):
            before, _, after = body.partition(known)
            return [
                *(split_word(before, spaced) if before else []),
                *split_word(known, spaced and not before),
                *(split_word(after, False) if after else []),
            ]
    return [Token("name", letter, spaced and n == 0) for n, letter in enumerate(body)]


# Numbers


def number_node(token: Token) -> Node:
    text = token.text.replace(" ", "")
    if len(text) > MAX_NUMBER_DIGITS:
        raise TooBig("too many digits")
    if token.kind == "rep":
        return Node("num", (), repeating(*re.split(r"\\[a-z]+\s*\{|\(", text.rstrip("})"))))
    if token.kind == "etc":
        return ellipsis_node(re.match(r"\d*\.\d+", text).group())  # type: ignore[union-attr]
    if text.isdigit():
        return Node("num", (), Fraction(int(text)))
    mantissa, _, exponent = text.lower().partition("e")
    if exponent and abs(int(exponent)) > MAX_NUMBER_DIGITS:
        raise TooBig("exponent too large")
    whole, _, part = mantissa.partition(".")
    value = Fraction(int((whole + part) or "0"), 10 ** len(part)) * Fraction(10) ** int(exponent or 0)
    if not part and not exponent:
        return Node("num", (), value)
    places = len(part) - int(exponent or 0)
    return Node("dec", (), (value, places, len((whole + part).lstrip("0"))))


def repeating(head: str, period: str) -> Fraction:
    """0.1(6) = 1/6: head "0.1", period "6"."""
    whole, _, part = head.partition(".")
    nines = 10 ** len(period) - 1
    return Fraction(int((whole + part) or "0"), 10 ** len(part)) + Fraction(int(period), nines * 10 ** len(part))


def ellipsis_node(text: str) -> Node:
    """0.333... as 1/3 where a period shows at least twice at the end, else a decimal cut off."""
    whole, _, part = text.partition(".")
    match = re.search(r"(\d{1,12}?)\1+$", part)
    if match and len(match.group()) >= 3:
        return Node("num", (), repeating(f"{whole}.{part[: match.start()]}", match.group(1)))
    return Node("dec", (), (Fraction(int(whole + part), 10 ** len(part)), len(part), len((whole + part).lstrip("0"))))
