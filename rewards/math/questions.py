"""What the text of a question says about the form of its answer.

question --asked_of--> Asked: is a percentage asked for, which numbers and expressions stand in it
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from rewards.math import latex, normalize
from rewards.math.final_forms import exact_or_none
from rewards.math.shapes import chain, rational_literal, shape
from rewards.math.spoken import CHOSEN
from rewards.math.tree import Node, TooBig, Unreadable, symbols

MAX_PIECES = 200
MAX_PIECE = 400

WORD_NUMBERS = dict(
    zip(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen twenty".split(),
        range(21),
        strict=True,
    )
)
PART_NUMBERS = {"half": 2, "twice": 2, "double": 2, "pair": 2, "couple": 2, "third": 3, "triple": 3, "quarter": 4}
TENS = dict(zip("thirty forty fifty sixty seventy eighty ninety".split(), range(30, 100, 10), strict=True))
NUMBERS_IN_WORDS = {**WORD_NUMBERS, **TENS, **PART_NUMBERS, "dozen": 12, "percent": 100, "hundred": 100}
COMPOUND = re.compile(rf"\b({'|'.join(['twenty', *TENS])})[- ]({'|'.join([*WORD_NUMBERS][1:10])})\b")  # forty-seven
NUMBER = re.compile(r"(?<![\d.])(?:\d{1,3}(?:,\d{3})+|\d{1,30})(?:\.\d{1,30})?")
WORD = re.compile(r"[a-z]+")
PERCENT = re.compile(r"\bper\s?cent(?:ages?|s)?\b|\\?%", re.I)
ROUND_NUMBERS = (*WORD_NUMBERS, *TENS, "hundred", "half")
SENTENCE = re.compile(r"[.?!]\s|\n")
COUNTED = re.compile(r"\bhow many\b(?!\s*$)", re.I)  # "how many games for a percentage of 64?"
PERCENT_ELSEWHERE = re.compile(
    r"pourcent|pour cent|prozent|porcentaje|por ciento|процент|百分|パーセント|percentual|porcentagem", re.I
)
# Forms that a question asks for; whether the gold shows them is for `rewards.math.asked_form`.
ASKED_FORMS = {
    "expand": r"\bexpand|\bmultipl(?:y|ied) out|\bdistribut(?:e|ive)\b|\b(?:remove|without) (?:the )?(?:bracket|paren)"
    r"|\bas a polynomial\b|\bfoil\b|\bdevelop\b|\bmultiply\b"
    r"|\bd[ée]velopp|\bausmultipli|\bdesarroll|раскр\w+ скобки|展开",
    "factor": r"\bfactor(?:i[sz])?(?:e|ed|ing|ation|er|ez)?\b(?! of\b)|\bfaktorisier|\bfactori[cz]"
    r"|на множители|因式分解|分解因式",
    "primes": r"\bprime factori[sz]|\bproduct of (?:\w+ ){0,2}primes?\b|\binto primes?\b"
    r"|\bfactor(?:i[sz]e)?\s+(?:the (?:number |integer ))?\$?\d[\d,]*+\s*+(?:\$\s*+)?(?:completely|fully|[.?!]|$)",
    "simplify": r"\bsimplif|\bsimplest\b|\breduce\b|\breduced (?:fraction|form)\b|\blowest terms\b|\birreducible\b"
    r"|\b(?:collect|combine) (?:the )?(?:like|terms|fractions)\b|\bsimplest radical form\b"
    r"|\bvereinfach|упрост|化简|约分",
    "carry out": r"\badd\b|\bsubtract\b|\bsum of\b|\bdifference (?:of|between)\b|\bdivide\b|\bquotient of\b",
    "radical": r"\bradical (?:form|notation)\b|\bas a (?:root|radical)\b|\busing radicals?\b",
    "exponent": r"\b(?:rational|fractional) exponents?\b|\bexponent(?:ial)? (?:form|notation)\b|\bas a power\b",
    "solve": r"\bsolved? (?:\S+ ){0,40}?for \W{0,3}[a-z]\b|\bin terms of\b|\bthe subject\b|\bas a function of\b"
    r"|\bslope[- ]intercept\b|\bisolate\b",
    "fraction": r"\bfractions?\b",
    "decimal": r"\bdecimals?\b",
    "percent": r"\b(?:as|in|to|into) (?:an? |the )?per\s?cent",
    "scientific": r"\bscientific (?:notation|form)\b|\bstandard (?:index )?form\b",
    "square": r"\bcomplet\w+ (?:the )?squares?\b|\bvertex form\b",
    "partial": r"\bpartial fraction",
    "single": r"\b(?:single|one) (?:fraction|log|term|power|quotient)",
    "rationalise": r"\brationali[sz]",
    "mixed": r"\bmixed (?:number|numeral|fraction)",
    "improper": r"\bimproper fraction",
}
FORM_WORDS = {name: re.compile(words, re.I) for name, words in ASKED_FORMS.items()}
EITHER = re.compile(r"\b(?:fraction|decimal)s?,? or (?:an? |as an? )?(?:\w+ )?(?:fraction|decimal)", re.I)
BASES = re.compile(r"\bbase[- ]\W{0,3}(\d{1,2})\b", re.I)
BASE_WORDS = {"binary": 2, "ternary": 3, "octal": 8, "decimal": 10, "hexadecimal": 16}
OPERATIONS = frozenset(["add", "mul", "div", "pow", "fact", "fn"])
POWER = re.compile(r"\b(?:powers?|raised|exponent|squared|cubed|factorial)\b|\b(?:square|cube) of\b", re.I)
RATIO = re.compile(r"\bratios?\b|\bproportion|比", re.I)
MATH = re.compile(r"\$\$(.{1,2000}?)\$\$|\$(.{1,2000}?)\$|\\\((.{1,2000}?)\\\)|\\\[(.{1,2000}?)\\\]", re.DOTALL)
# What separates the formulas of running text: words that are no functions, and the signs of sentences.
BREAK = re.compile(
    r"(?<![\\A-Za-z])(?!(?:sqrt|sin|cos|tan|cot|sec|csc|log|ln|lg|exp|pi|arcsin|arccos|arctan|abs)(?![A-Za-z]))"
    r"[A-Za-z]{2,}(?![A-Za-z])|[\u00c0-\u024f\u0400-\u06ff\u0900-\u0dff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
    r"|[?;\"<>|\n]|[.,:](?=\s|$)"
)


@dataclass(frozen=True)
class Asked:
    """known: there is a question. arithmetic: it has a sum, product or power of numbers. numbers: the values that
    stand in it. powers: it has words that ask for a power or factorial; power_values: of the powers that stand in it.
    shapes: of its expressions and their parts.
    chains: its sums and products, as ("+" or "*", members). choices: (n, k) of every
    "n choose k" and C(n, k). forms: the keys of `ASKED_FORMS` that it has words of. base: the one base of numbers that
    it names, else 0."""

    known: bool = False
    percent: bool = False
    ratio: bool = False
    arithmetic: bool = False
    powers: bool = False
    power_values: frozenset[Fraction] = frozenset()
    numbers: frozenset[Fraction] = frozenset()
    shapes: frozenset[str] = frozenset()
    chains: tuple[tuple[str, Counter[str]], ...] = ()
    choices: frozenset[tuple[int, int]] = frozenset()
    forms: frozenset[str] = frozenset()
    base: int = 0


@lru_cache(maxsize=64)
def asked_of(question: str) -> Asked:
    """Never fails on any text."""
    if not question.strip():
        return Asked()
    plain = normalize.to_ascii(question)
    shapes: set[str] = set()
    chains: list[tuple[str, Counter[str]]] = []
    powers: set[Fraction] = set()
    arithmetic = False
    for piece in pieces(plain):
        for tree in trees(piece):
            for node, part, body in shapes_of(tree):
                shapes.add(part)
                arithmetic |= node.head in OPERATIONS and rational_literal(node) is None and not symbols(node)
                if node.head == "pow" and (value := exact_or_none(node)) is not None:
                    powers.add(value)
                if body is not None:
                    chains.append(body)
    return Asked(
        True,
        asks_percentage(question),
        RATIO.search(question) is not None,
        arithmetic,
        POWER.search(question) is not None,
        frozenset(powers),
        frozenset(numbers(plain)),
        frozenset(shapes),
        tuple(chains),
        choices_of(plain),
        forms_of(plain),
        base_of(plain),
    )


def choices_of(text: str) -> frozenset[tuple[int, int]]:
    """(n, k) of "n choose k" and C(n, k)."""
    found = ([int(group) for group in match.groups() if group is not None] for match in CHOSEN.finditer(text))
    return frozenset((n, k) for n, k in found)


def forms_of(text: str) -> frozenset[str]:
    found = {name for name, words in FORM_WORDS.items() if words.search(text)}
    if "partial" in found or EITHER.search(text):
        found -= {"fraction", "decimal"}
    return frozenset(found)


def base_of(text: str) -> int:
    lower = text.lower()
    found = {int(base) for base in BASES.findall(text)} | {n for word, n in BASE_WORDS.items() if word in lower}
    return found.pop() if len(found) == 1 else 0


def asks_percentage(text: str) -> bool:
    """Whether a percentage is asked for: "what percent", "as a %", not "20 % of" or "twenty percent of"."""
    for match in PERCENT.finditer(text):
        before = text[max(0, match.start() - 20) : match.start()].rstrip(" -$\\{}~\n").lower()
        clause = SENTENCE.split(text[: match.start()][-400:])[-1]
        if before and not before[-1].isdigit() and not before.endswith(ROUND_NUMBERS) and not COUNTED.search(clause):
            return True
    return PERCENT_ELSEWHERE.search(text) is not None


def numbers(text: str) -> Iterator[Fraction]:
    """Every number that is written in digits, or in a word: seven, half, dozens."""
    for match in NUMBER.finditer(text):
        yield Fraction(match.group().replace(",", ""))
    lower = text.lower()
    for match in COMPOUND.finditer(lower):
        yield Fraction(NUMBERS_IN_WORDS[match[1]] + NUMBERS_IN_WORDS[match[2]])
    for match in WORD.finditer(lower):
        word = match.group() if match.group() in NUMBERS_IN_WORDS else match.group().removesuffix("s")
        if word in NUMBERS_IN_WORDS:
            yield Fraction(NUMBERS_IN_WORDS[word])


def pieces(text: str) -> Iterator[str]:
    """Parts of a question that may be formulas: what stands between math marks, and what lies between words."""
    found = [next(group for group in match.groups() if group) for match in MATH.finditer(text)]
    for body in [*found, MATH.sub(" ; ", text)]:
        for piece in [body, *BREAK.split(body)] if len(found) < MAX_PIECES else [body]:
            if 1 < len(piece) <= MAX_PIECE and any(char.isdigit() for char in piece):
                yield piece
                if "=" in piece:
                    yield from piece.split("=")


def trees(piece: str) -> Iterator[Node]:
    try:
        yield latex.parse(normalize.clean(piece.strip()))
    except (Unreadable, TooBig):
        return


def shapes_of(node: Node) -> Iterator[tuple[Node, str, tuple[str, Counter[str]] | None]]:
    """Every part that is more than a whole number or a letter, its shape, and its members where it is a chain."""
    stack = [node]
    while stack:
        part = stack.pop()
        stack.extend(part.args)
        if part.head in ("num", "sym", "const", "text") or (part.head == "neg" and part.args[0].head in ("num", "sym")):
            continue
        body = None
        if part.head in ("add", "mul", "div"):
            head, members = chain(part)
            if len(members) > 1:
                body = (head, Counter(members))
        yield part, shape(part), body
