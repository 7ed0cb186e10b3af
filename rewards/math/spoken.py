"""Numbers as one says them, in figures: `twelve`, `1.5 million`, `two thirds`, `€18/day`, `C(10,3)`.

    answer, gold --in_figures--> both in figures, and whether the answer only says again what the question says

Only where the other side has figures: `twelve` beside `four-leaf clover` stays a word. What stands behind the number is
kept as its unit.
"""

import re
from fractions import Fraction

UNITS = dict(
    zip(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
        "seventeen eighteen nineteen".split(),
        range(20),
        strict=True,
    )
)
TENS = dict(zip("twenty thirty forty fifty sixty seventy eighty ninety".split(), range(20, 100, 10), strict=True))
SCALES = {"trillion": 10**12, "billion": 10**9, "million": 10**6, "thousand": 10**3}
PARTS = dict(
    zip(
        "half third quarter fifth sixth seventh eighth ninth tenth".split(),
        (2, 3, 4, 5, 6, 7, 8, 9, 10),
        strict=True,
    )
) | {"fourth": 4, "twelfth": 12, "hundredth": 100, "thousandth": 1000, "halve": 2}
MAX_WORDS = 30
SPOKEN = re.compile(r"[A-Za-z][A-Za-z,' -]{0,300}\.?")
TEXT_COMMAND = re.compile(r"\\(?:text|mathrm)\s*\{([^{}]*)\}")
LABEL = re.compile(r"[a-z]+(?: [a-z]+){0,4}")
SCALE = re.compile(
    r"([-+]?\s?(?:\\?\$\s?)?)(\d{1,3}(?:,\d{3})+|\d{1,15})(\.\d{1,15})?(?:\s|-)?"
    r"(\\text\s*\{\s*)?(hundred|thousand|million|billion|trillion)(?![a-z])\s*(\})?(.*)",
    re.I | re.DOTALL,
)
SHORT_SCALE = re.compile(r"([-+]?\s?\\?\$\s?)(\d{1,15})(\.\d{1,15})?\s?([kKMB])")
SHORT = {"k": "thousand", "K": "thousand", "M": "million", "B": "billion"}
CODES = {
    "us$": "dollar", "usd": "dollar", "eur": "euro", "gbp": "gbp", "rs": "rupee", "rs.": "rupee", "inr": "rupee",
    "jpy": "yen", "rmb": "yuan", "cny": "yuan",
}  # fmt: skip
CODE = re.compile(r"(US\$|USD|EUR|GBP|Rs\.?|INR|JPY|RMB|CNY)\s?(\d[\d,]*(?:\.\d+)?)((?:\s?/\s?|\s).*)?")
HOURS = "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve".split("|")
TIME = re.compile(
    rf"(?:at )?(half|(?:a )?quarter|[a-z]+(?:[- ][a-z]+)?|\d{{1,2}})(?: minutes?)? (past|after|to|before|till) "
    rf"({'|'.join(HOURS)}|\d{{1,2}})(?: o'?clock)?((?: ?[ap]\.?m\.?| in the (?:morning|afternoon|evening))?)",
    re.I,
)
OUT_OF = re.compile(r"(\d{1,9}) (?:in|out of) (?:every )?(\d{1,9})")
NEGATIVE = re.compile(r"(?:minus|negative)\s+(?=[\d$\\.])", re.I)
RATE = re.compile(r"\s*(?:/|per|an?|each|every)\s*([A-Za-z]{2,20})")
CHOSEN = re.compile(
    r"(?:\\mathrm\s*\{C\}|(?<![A-Za-z\\])(?:C|nCr))\s?\(\s?(\d{1,4})\s?,\s?(\d{1,4})\s?\)"  # C(10, 3)
    r"|(?<![A-Za-z\\\d.])(\d{1,4})\s?(?:C|\\text\s*\{\s?C\s?\})\s?(\d{1,4})(?!\d|\.\d)"  # 10C3
    r"|(?:\{\s?\})?\^\s?\{?\s?(\d{1,4})\s?\}?\s?(?:C|\\mathrm\s*\{C\})\s?_\s?\{?\s?(\d{1,4})\s?\}?(?!\d)"  # ^{10}C_3
    r"|(?<![A-Za-z\d])(?:C|\\mathrm\s*\{C\})\s?_\s?\{?\s?(\d{1,4})\s?\}?\s?\^\s?\{?\s?(\d{1,4})\s?\}?(?!\d)"  # C_{10}^3
    r"|(?<![\d.])(\d{1,4})\s+(?i:choose)\s+(\d{1,4})(?!\d|\.\d)"
)
ASKS_FIGURES = re.compile(r"\b(?:numerals?|digits?|figures|standard (?:form|notation)|scientific|number form)\b", re.I)
ASKS_WORDS = re.compile(r"\b(?:words?|spell(?:ed|ing)?|word[- ](?:form|name)|name)\b|prescri|\bpalabras\b", re.I)


def in_figures(answer: str, gold: str, question: str = "") -> tuple[str, str, bool]:
    """(answer, gold, repeated): both sides in figures, where one has them. repeated: the answer says in the same way
    what the question says, or in figures or words what is to be told in the other."""
    made, wanted = scaled(answer), scaled(gold)
    if any(map(str.isdigit, made)) != any(map(str.isdigit, wanted)):
        made, wanted = figures_of(made), figures_of(wanted)
    told = made != answer and not CODE.fullmatch(answer)
    if not question or (made, wanted) == (answer, gold):
        return made, wanted, False
    said = " ".join(TEXT_COMMAND.sub(r" \1 ", answer).split()).casefold()
    if told:
        repeated = bool(ASKS_FIGURES.search(question)) or (" " in said and said in question.casefold())
    else:
        repeated = ASKS_WORDS.search(question) is not None and wanted != gold
    return made, wanted, repeated


def scaled(text: str) -> str:
    """`1.5 million`, `$10k`, `USD 18`, `minus 5`, `half past three` and `1 in 6` in figures."""
    if (negative := NEGATIVE.match(text)) is not None:
        return f"-{text[negative.end() :]}"
    if (chance := OUT_OF.fullmatch(text)) is not None:
        return f"{chance[1]}/{chance[2]}"
    if (time := TIME.fullmatch(TEXT_COMMAND.sub(r"\1", text))) is not None:
        return time_in_figures(time) or text
    code = CODE.fullmatch(text)
    if code is not None:
        number, rest = code.group(2), code.group(3) or ""
        rate = RATE.fullmatch(rest)
        if rate or not rest:
            return f"{number}\\text{{ {CODES[code.group(1).lower()]}{' per ' + rate.group(1) if rate else ''}}}"
    short = SHORT_SCALE.fullmatch(text)
    if short is not None:
        return short.group(1) + product(short.group(2), short.group(3), SHORT[short.group(4)])
    found = SCALE.fullmatch(text)
    if found is None:
        return text
    sign, whole, part, opened, scale, closed, rest = found.groups()
    if opened and not closed:  # \text{ million dollars}
        return f"{sign}{product(whole, part, scale)}\\text{{ {rest.strip()}" if rest.endswith("}") else text
    if rest[:1] in ("-", ",", "}"):
        return text
    return f"{sign}{product(whole, part, scale)} {rest.strip()}".strip()


def time_in_figures(time: re.Match[str]) -> str:
    """`3:30` for "half past three"; "" where it is no time of day."""
    said, side, hour, half = (part.casefold() for part in time.groups())
    parts = {"half": 30, "quarter": 15, "a quarter": 15}
    minutes = parts.get(said, int(said) if said.isdigit() else cardinal(said.replace("-", " ").split()))
    hours = int(hour) if hour.isdigit() else HOURS.index(hour) + 1
    if (
        minutes is None
        or not 0 < minutes < 60
        or not 0 < hours <= 24
        or (said == "half" and side not in ("past", "after"))
    ):
        return ""
    if side in ("to", "before", "till"):
        hours, minutes = hours - 1 or 12, 60 - minutes
    return f"{hours}:{minutes:02d}{half}"


def product(whole: str, part: str | None, scale: str) -> str:
    factor = 100 if scale.lower() == "hundred" else SCALES[scale.lower()]
    return plain(Fraction(whole.replace(",", "") + (part or "")) * factor)


def plain(value: Fraction) -> str:
    """A finite decimal, else a fraction."""
    if value.denominator == 1:
        return str(value.numerator)
    places = next((n for n in range(1, 20) if (value * 10**n).denominator == 1), 0)
    if not places:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return ("-" if value < 0 else "") + digits[:-places] + "." + digits[-places:]


def figures_of(text: str) -> str:
    """`twelve apples` as `12 apples`; any other text as it is."""
    said = " ".join(TEXT_COMMAND.sub(r" \1 ", text).split()).strip("\"'.")
    if not SPOKEN.fullmatch(said):
        return text
    words = re.findall(r"[A-Za-z']+|,|-", said)
    parts = [word for word in words if word != "-"][:MAX_WORDS]
    lower = [part.casefold() for part in parts]
    for end in range(len(lower), 0, -1):
        value = number(lower[:end])
        if value is None:
            continue
        rest = said[length_of(said, parts[:end]) :]
        label = rest.strip()
        if label and not (rest[0] == " " and LABEL.fullmatch(label)):
            return text  # four-leaf clover, Two Rivers
        return f"{shown(value)} {label}".strip()
    return text


def length_of(text: str, parts: list[str]) -> int:
    """Where the last of the first words of a text ends."""
    place = 0
    for part in parts:
        place = text.index(part, place) + len(part)
    return place


def shown(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"


# Words to values


def number(words: list[str]) -> Fraction | None:
    """The value that words say, all of them; None where they say none."""
    if words and words[0] in ("minus", "negative"):
        positive = number(words[1:])
        return None if positive is None or words[1] in ("minus", "negative") else -positive
    if "point" in words:
        return decimal(words)
    if "and" in words:  # two and a half
        last = len(words) - 1 - words[::-1].index("and")
        whole, part = cardinal(words[:last]), fraction(words[last + 1 :])
        if whole is not None and part is not None and part < 1:
            return whole + part
    part = fraction(words)
    if part is not None:
        return part
    value = cardinal(words)
    return None if value is None else Fraction(value)


def decimal(words: list[str]) -> Fraction | None:
    """Three point one four."""
    place = words.index("point")
    whole, digits = cardinal(words[:place]), [UNITS.get(word, 99) for word in words[place + 1 :]]
    if whole is None or not digits or max(digits) > 9:
        return None
    return whole + Fraction(int("".join(map(str, digits))), 10 ** len(digits))


def fraction(words: list[str]) -> Fraction | None:
    """Half, one third, a quarter, two thirds: one of a part in the singular, more in the plural."""
    if words == ["half"]:
        return Fraction(1, 2)
    if len(words) != 2:
        return None
    top = 1 if words[0] == "a" else UNITS.get(words[0], 0)
    bottom = PARTS.get(words[1] if top == 1 else words[1].removesuffix("s") if words[1].endswith("s") else "")
    return Fraction(top, bottom) if top and bottom and words[1] != "halve" else None


def cardinal(words: list[str]) -> int | None:
    """Two thousand, three hundred and five."""
    words = [word for word in words if word != ","]
    total, smallest = 0, 10**15
    for scale, factor in SCALES.items():
        if scale in words:
            place = words.index(scale)
            value = 1 if words[:place] == ["a"] else below_thousand(words[:place])
            if not value or factor >= smallest:
                return None
            total, smallest, words = total + value * factor, factor, words[place + 1 :]
            if words[:1] == ["and"] and len(words) > 1:
                words = words[1:]
    if not words:
        return total if smallest < 10**15 else None
    value = below_thousand(words)
    return None if value is None or (total and not value) else total + value


def below_thousand(words: list[str]) -> int | None:
    if "hundred" in words:
        place = words.index("hundred")
        head = 1 if words[:place] == ["a"] else below_hundred(words[:place])
        rest = words[place + 1 :]
        if rest[:1] == ["and"] and len(rest) > 1:
            rest = rest[1:]
        tail = below_hundred(rest) if rest else 0
        return None if not head or tail is None or (rest and not tail) else head * 100 + tail
    return below_hundred(words)


def below_hundred(words: list[str]) -> int | None:
    if len(words) == 1:
        return UNITS.get(words[0], TENS.get(words[0]))
    if len(words) == 2 and words[0] in TENS and 0 < UNITS.get(words[1], 0) < 10:
        return TENS[words[0]] + UNITS[words[1]]
    return None


# Other spellings of one thing


def with_binomials(text: str) -> str:
    """`C(10,3)`, `10C3`, `^{10}C_3`, `C_{10}^{3}` and `10 choose 3` as `\\binom{10}{3}`; another reading of a text."""
    return CHOSEN.sub(binomial, text) if "C" in text or "choose" in text.lower() else text


def binomial(match: re.Match[str]) -> str:
    top, bottom = (int(group) for group in match.groups() if group is not None)
    return f"\\binom{{{top}}}{{{bottom}}}" if bottom <= top else match.group()
