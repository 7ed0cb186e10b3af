"""Units of measurement: what a text after a number stands for.

A unit is (dimension, factor): values of one dimension compare after multiplication by the factor.
Words that are no known unit ("apples") are compared as words.
"""

import re
from fractions import Fraction

Unit = tuple[str, Fraction]

INCH = Fraction(254, 10000)  # metres
LENGTHS = {
    "mm millimeter millimetre": Fraction(1, 1000),
    "cm centimeter centimetre": Fraction(1, 100),
    "dm decimeter decimetre": Fraction(1, 10),
    "m meter metre": Fraction(1),
    "km kilometer kilometre": Fraction(1000),
    "in inch inches": INCH,
    "ft foot feet": INCH * 12,
    "yd yard": INCH * 36,
    "mi mile": INCH * 63360,
}
OTHERS = {
    "mass": {
        "mg milligram": Fraction(1, 1000),
        "g gram": Fraction(1),
        "kg kilogram": Fraction(1000),
        "lb lbs pound": Fraction(45359237, 100000),
        "oz ounce": Fraction(45359237, 1600000),
        "ton tonne": Fraction(1000000),
    },
    "time": {
        "ms millisecond": Fraction(1, 1000),
        "s sec second": Fraction(1),
        "min minute": Fraction(60),
        "h hr hour": Fraction(3600),
        "day": Fraction(86400),
        "week": Fraction(7 * 86400),
    },
    "month": {"month": Fraction(1), "year yr": Fraction(12)},
    "money": {"dollar usd buck": Fraction(1), "cent ¢": Fraction(1, 100)},
    "euro": {"euro eur €": Fraction(1)},
    "sterling": {"£ gbp": Fraction(1)},
    "yen": {"yen jpy ¥": Fraction(1)},
    "yuan": {"yuan rmb cny": Fraction(1)},
    "rupee": {"rupee inr ₹": Fraction(1)},
    "won": {"won krw ₩": Fraction(1)},
    "ruble": {"ruble rouble rub ₽": Fraction(1)},
    "angle": {"degree deg °": Fraction(1)},
    "volume": {"l liter litre": Fraction(1), "ml milliliter millilitre": Fraction(1, 1000)},
}
NO_UNIT = frozenset(
    {"", "unit", "square unit", "sq unit", "sq. unit", "cubic unit", "in total", "total", "unit^2", "unit^3"}
)


def table() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for dimension, members in {"length": LENGTHS, **OTHERS}.items():
        for names, factor in members.items():
            for name in names.split():
                units[name] = (dimension, factor)
    return units


KNOWN = table()
SECOND = {"pound": "gbp", "jpy": "yuan"}  # of money or mass; ¥, as `normalize` writes it: a yen or a yuan
# What makes the text after a number more than the name of what was counted: a second answer, a doubt.
NO_LABEL = re.compile(
    r"[0-9]|[<>=?!;:]"
    r"|\b(?:or|not|maybe|perhaps|possibly|probably|guess|think|unsure|wait|plus|minus|times|either|neither|is|isn|are|but|if|else|wrong|no|incorrect|to|thousand|million"
    r"|billion|trillion|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred|half|dozen)\b",
    re.I,
)
EXPONENT = re.compile(r"\^\s*\{?\s*-?[1-4]\s*\}?")
MAX_LABEL = 60  # characters
PER = re.compile(r"\s*/\s*| (?:per|a|an|each|every) ")
POWER = re.compile(r"\s*\^?\s*\{?([23])\}?$")
PREFIX = {"square": 2, "sq": 2, "sq.": 2, "cubic": 3, "cu": 3, "cu.": 3}


RATE = re.compile(r"(?<=[\d)}])\s*/\s*(?:\\text\s*\{\s*)?([A-Za-z]{2,})\s*\}?$")
DOLLARS = re.compile(r"\\?\$\s?([\d.,]*\d)")
COUNTED = frozenset(
    "person people student child kid worker employee piece item ticket box bag bottle book page unit night month year "
    "lesson visit trip game class team household family room meal serving hen cow tree car customer share".split()
)


def rate_in_words(text: str) -> str:
    """`18/day` as `18 per day`: what stands behind the bar is no product of letters."""
    rate = RATE.search(text)
    known = rate is not None and (singular(rate.group(1).lower()) in COUNTED or read(rate.group(1)) is not None)
    if rate is None or not known:
        return text
    dollars = DOLLARS.fullmatch(text[: rate.start()])
    return f"{f'{dollars.group(1)} dollars' if dollars else text[: rate.start()]} per {rate.group(1)}"


def words(text: str) -> str:
    """A unit's text in one spelling: lower case but for single letters, singular, one space."""
    text = re.sub(r"[\\{}$~]", " ", text)
    text = re.sub(r"\s+", " ", text).strip().strip(".,;").strip()
    text = re.sub(r"\s*\^\s*", "^", text)
    parts = [singular(part if len(part) == 1 else part.lower()) for part in text.split(" ")]
    return " ".join(parts)


def singular(word: str) -> str:
    if "/" in word:
        return "/".join(singular(part) for part in word.split("/"))
    head, caret, power = word.partition("^")
    if head not in KNOWN and len(head) > 2 and head.endswith("s") and not head.endswith("ss"):
        head = head[:-1]
    return head + caret + power


def read(text: str) -> Unit | None:
    """The unit that `text` names, e.g. "cm^2" -> ("length^2", 1/10000); None for other words."""
    name = words(text)
    if name.startswith("of "):
        return None
    if rate := PER.search(name):
        first, second = read(name[: rate.start()]), read(name[rate.end() :])
        if first and second:
            return (f"{first[0]}/{second[0]}", first[1] / second[1])
        return None
    if name == "mph":
        return ("length/time", KNOWN["mi"][1] / 3600)
    first_word, _, rest = name.partition(" ")
    if first_word in PREFIX and rest in KNOWN:
        return raised(KNOWN[rest], PREFIX[first_word])
    power = POWER.search(name) if len(name) > 1 else None
    if power and (body := name[: power.start()].strip()) in KNOWN:
        return raised(KNOWN[body], int(power.group(1)))
    return KNOWN.get(name)


def read_beside(text: str, other: str) -> Unit | None:
    """`read`; a word or sign that stands for two units is that of the other side's kind: "pound" beside "£"."""
    known, theirs = read(text), read(other)
    if known and theirs and known[0] != theirs[0]:
        for word, another in SECOND.items():
            if word in words(text).split() and (unit := read(words(text).replace(word, another))):
                known = unit if unit[0] == theirs[0] else known
    return known


def raised(unit: Unit, power: int) -> Unit:
    return (f"{unit[0]}^{power}", unit[1] ** power)


def is_label(text: str) -> bool:
    """Whether `text` only names what a number counts or measures ("" does)."""
    return len(text) <= MAX_LABEL and not NO_LABEL.search(EXPONENT.sub("", text))


def same_words(one: str, other: str) -> bool:
    """Two labels that are no known units: the same last word, or one's words within the other's."""
    first, second = (re.findall(r"[^\W_]+", words(text)) for text in (one, other))
    if not first or not second:
        return one.strip() == other.strip()
    short, long = sorted((first, second), key=len)
    return first[-1] == second[-1] or any(long[n : n + len(short)] == short for n in range(len(long) - len(short) + 1))


def is_none(text: str) -> bool:
    """Words that say nothing about the unit ("units", "in total")."""
    return words(text) in NO_UNIT


def is_percent(text: str) -> bool:
    return text.strip().lower() in ("%", r"\%", "percent", "per cent", "pct", "percentage")
