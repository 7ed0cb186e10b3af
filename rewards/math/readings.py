"""The texts that an answer may be read as, each of them in LaTeX's own spelling."""

import re

from rewards.math import spoken, tokens, units

THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
OUTWARD = re.compile(r"([\[\]])([^\[\]]+)([\[\]])")


def readings(text: str) -> list[str]:
    """What a text may stand for: a comma between digits separates thousands, or items, outside brackets; `C(10,3)` is
    a point, or a number of choices."""
    counted = spoken.with_binomials(text)
    return [*readings_of(text), *(readings_of(counted) if counted != text else [])]


def readings_of(text: str) -> list[str]:
    text = words_to_units(units.rate_in_words(text))
    if (interval := OUTWARD.fullmatch(text)) and interval.group(1) + interval.group(3) != "[]":  # ]1, 2[ is (1, 2)
        low, ends, high = interval.groups()
        text = ("[" if low == "[" else "(") + ends + ("]" if high == "]" else ")")
    if not THOUSANDS.search(text):
        return [text]
    joined = THOUSANDS.sub(lambda m: m.group().replace(",", "") if at_top(text, m.start()) else m.group(), text)
    alone = THOUSANDS.fullmatch(text) is not None
    return [joined] if alone or joined == text else [joined, text]


def at_top(text: str, position: int) -> bool:
    """Outside parentheses and square brackets (braces group)."""
    head = text[:position]
    return head.count("(") <= head.count(")") and head.count("[") <= head.count("]") and r"\{" not in head


UNIT_WORDS = re.compile(
    r"(?<=[\d}\s)%])\s*(?<![A-Za-z\\{])"
    r"((?:square|sq\.?|cubic)\s+[A-Za-z]{2,}|[a-zA-Z]{2,}(?:\s*/\s*[A-Za-z]+|\s+(?:per|an?|each|every)\s+[a-z]+)?"
    r"|[A-Za-z]/[a-z]|[A-Za-z]+(?: [A-Za-z]+){1,5})"
    r"(\s*\^\s*\{?\s*[23]\s*\}?)?$"
)
LARGER_UNIT = re.compile(
    r"(?<=\d)\s*(hours?|hrs?|h|minutes?|mins?|feet|foot|ft|pounds?|lbs?|days?|weeks?|years?|dollars?|yards?|kg|km|m)"
    r"\s+(?:and\s+)?(?=\d)"
)
SHORT_TIME = re.compile(r"(\d+) ?h(?:(?:ou)?rs?)? ?(\d+) ?(?:m(?:in(?:ute)?s?)?)?|(\d+) ?m(?:in)? ?(\d+) ?s(?:ec)?")
NUMBER_BEFORE = re.compile(r"(?:\\frac\s?(?:\{\s?\d+\s?\}|\d)\s?(?:\{\s?\d+\s?\}|\d)|[\d.,/\s\\$-])+")
COUNTED = frozenset(  # names of three letters, which elsewhere are products of three
    "cup egg pie box bag pen car cat dog toy cow hen pig bee man men boy bus can jar tin bar bun hat".split()
)


def words_to_units(text: str) -> str:
    """`2h30m`, `15 cm^2`, `18 dollars a day`, `28 percent` with the unit marked as text, as LaTeX would have it."""
    if short := SHORT_TIME.fullmatch(text):
        text = "{} hours {} minutes" if short[1] else "{} minutes {} seconds"
        text = text.format(*(part for part in short.groups() if part))
    text = LARGER_UNIT.sub(lambda unit: rf"\text{{ {unit.group(1)}}} ", text)  # 5 feet 3 inches
    match = UNIT_WORDS.search(text)
    if not match or not any(c.isdigit() for c in text[: match.start()]):
        return text
    name = match.group(1)
    if units.is_percent(name):
        return text[: match.start()] + r"\%"
    known = units.read(name) is not None or units.words(name) == "radian" or units.is_none(name)
    mathematics = tokens.FUNCTIONS | tokens.GREEK | tokens.WORDS
    words = (len(name) > 3 or name in COUNTED) and units.is_label(name)
    words = words and not any(word in mathematics for word in name.split())
    if not known and not (words and NUMBER_BEFORE.fullmatch(text[: match.start()])):
        return text
    return text[: match.start()] + r"\text{ " + name + "}" + (match.group(2) or "").replace(" ", "")
