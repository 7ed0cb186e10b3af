"""Answers in words: equal words, multiple choice, times of day."""

import re

from rewards.math import normalize, tokens

CHOICE = re.compile(r"\(?([A-Za-z])\)?[.:)]?")
CHOICE_AND_MORE = re.compile(r"(?:\(([A-Z])\)[.:]?\s+|([A-Z])[).:]\s*)(\S.*)", re.DOTALL)
SECOND_THOUGHT = re.compile(r"\([A-Z]\)|(?<![A-Za-z0-9\\])[A-H](?![A-Za-z0-9])|(?i:\b(?:or|and|not|no|but)\b)")
TEXT_COMMAND = re.compile(r"\\(?:text|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}")
PLAIN_WORDS = re.compile(r"[^\W\d_](?:[^\W\d_]|[.,'\- ])*")
CLOCK = re.compile(r"(\d{1,2})(?:\s*:\s*(\d\d)(?:\s*:\s*(\d\d))?)?\s*([ap]\s?\.?\s?m\s?\.?)?(?:\s*o'?clock)?", re.I)
DAYTIME = re.compile(r" in the (morning|afternoon|evening)$")
# Whole answers in words, as formulas.
PHRASES = dict.fromkeys(("all real numbers", "all reals", "all real x", "any real number"), r"\mathbb{R}")
WHOSE = (
    r"(?:(?:the |this |that |such |an? )*(?:(?:given|required|real|global|absolute|inverse) )?(?:limits?|values?"
    r"|solutions?|answers?|derivative|it|integral|inverse|function|maximum|minimum|max|min|slope|sum|series|expression"
    r"|numbers?|integers?|[a-z]) )?"
)
KINDS = (
    r"(?:such |more |other |valid |possible |real |complex |integer |integral |rational |positive |negative |natural "
    r"|whole |finite |common |feasible )*"
)
THINGS = (
    r"(?:solutions?|roots?|zeros?|zeroes|values?|numbers?|integers?|pairs?|triples?|triplets?|answers?|functions?|primes?"
    r"|[a-z](?: and [a-z])?)"
)
NONE = re.compile(
    rf"(?:(?:there (?:is|are|exists?)|it has|has|we have) )?no {KINDS}{THINGS}(?: exists?| found| possible)?"
    rf"|no {KINDS}{THINGS} satisf(?:y|ies) (?:it|this|the (?:equation|condition|inequality)s?)"
    r"|none|(?:the )?(?:empty set|null set)|none exists?|(?:the (?:system|equation) is )?inconsistent"
)
ABSENT = re.compile(
    rf"{WHOSE}(?:does not exist|do not exist|doesn't exist|don't exist|dne|is undefined|is not defined)"
)
UNDEFINED = ("undefined", "not defined", "no limit", "nonexistent", "non-existent", "not exist")
ENDLESS = re.compile(
    r"(?:there (?:is|are|exists?) )?(?:infinitely many|(?:an )?infinite(?: number(?: of)?)?) "
    rf"{KINDS}(?:solutions?|answers?)"
    r"|(?:there are )?infinitely many"
)
EXCEPT = re.compile(
    r"all real (?:numbers|values)?(?: ?[a-z])?,? ?(?:except|other than|but|excluding)(?: for)? "
    r"(?:[a-z] ?= ?)?(-?\d+(?:[./]\d+)?)(?:,? (?:and|or) (-?\d+(?:[./]\d+)?))?"
)
BOUNDS = {
    "greater than": ">",
    "more than": ">",
    "less than": "<",
    "at least": r"\ge",
    "at most": r"\le",
    "greater than or equal to": r"\ge",
    "less than or equal to": r"\le",
}
BOUND = re.compile(rf"([a-z])(?: is)? ({'|'.join(sorted(BOUNDS, key=len, reverse=True))}) (-?\d+(?:[./]\d+)?)")
VARIABLES = frozenset("abcdfghkmnpqrstuvwxyz")
DAY = 24 * 3600


def same_text(answer: str, gold: str) -> bool | None:
    """Words, multiple choice, times of day; None where at least one side is a formula."""
    if {answer, gold} == {r"\emptyset", r"\text{does not exist}"}:
        return True
    left, right = plain(answer), plain(gold)
    if left and left.casefold() == right.casefold() and len(left) > 1:
        return True
    first_time, second_time = clock(left), clock(right)
    if first_time and second_time:
        return same_time(first_time, second_time)
    first, second = choice(answer), choice(gold)
    if first and second and ("(" in answer + gold or r"\text" in answer + gold or first.isupper() or second.isupper()):
        return first.upper() == second.upper() if "(" in gold or r"\text" in gold else first == second
    for text, letter in ((answer, second), (gold, first)):
        more = CHOICE_AND_MORE.fullmatch(TEXT_COMMAND.sub(r" \1 ", text).strip())
        if more and letter and letter.isupper():
            return (more.group(1) or more.group(2)) == letter and not SECOND_THOUGHT.search(more.group(3))
    if is_words(answer) and is_words(gold):
        if all(set(side) <= VARIABLES and len(side) <= 4 for side in (left, right)) and r"\text" not in answer + gold:
            return None
        return same_words(left, right)
    return None


def phrase(text: str) -> str:
    """An answer in words that says that there is nothing, no end of it, or which numbers, in one spelling; any other as
    it is."""
    words = plain(text).casefold()
    if not words or not (words[0].isalpha() and len(words) <= 100):
        return text
    if words in PHRASES:
        return PHRASES[words]
    if NONE.fullmatch(words):
        return r"\emptyset"
    if ABSENT.fullmatch(words) or words in UNDEFINED:
        return r"\text{does not exist}"
    if ENDLESS.fullmatch(words):
        return r"\text{infinitely many solutions}"
    if left_out := EXCEPT.fullmatch(words):
        return rf"\mathbb{{R}} \setminus \{{{', '.join(part for part in left_out.groups() if part)}\}}"
    bound = BOUND.fullmatch(words)
    return f"{bound.group(1)} {BOUNDS[bound.group(2)]} {bound.group(3)}" if bound else text


def plain(text: str) -> str:
    """Without `\\text{}` and the quotes and full stops around words."""
    return normalize.SPACES.sub(" ", TEXT_COMMAND.sub(r" \1 ", text)).strip().strip("\"'.").strip()


def choice(text: str) -> str:
    """The letter of a multiple-choice answer: `(C)`, `\\text{(C)}`, `C.`; "" if it is none."""
    match = CHOICE.fullmatch(plain(text).replace(" ", ""))
    return match.group(1) if match else ""


def is_words(text: str) -> bool:
    words = plain(text)
    if not PLAIN_WORDS.fullmatch(words) or (len(words) < 2 and words.isascii()):
        return False
    return r"\text" in text or not any(part in tokens.FUNCTIONS | tokens.WORDS for part in words.split())


def same_words(one: str, other: str) -> bool:
    """Letters of any script and digits count, articles, "and" and other signs do not."""
    left, right = spelled(one), spelled(other)
    return left == right if left and right else one.strip() == other.strip() != ""


def spelled(words: str) -> str:
    text = re.sub(r"^(?:the|a|an) ", "", re.sub(r"[\W_]+", " ", words.casefold()).strip())
    return text.replace(" and ", " ")


# Times of day


def clock(text: str) -> tuple[int, str] | None:
    """(seconds of the day, "am", "pm" or "" for neither): `3:30 PM`, `15:30`, `10 o'clock`; None for anything else."""
    if text.lower() in ("noon", "midnight"):
        return (DAY // 2, "pm") if text.lower() == "noon" else (0, "am")
    match = CLOCK.fullmatch(DAYTIME.sub(lambda part: " am" if part.group(1) == "morning" else " pm", text))
    if match is None or not (match.group(2) or match.group(4) or text.endswith("clock")):
        return None
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    half = match.group(4)[0].lower() + "m" if match.group(4) else "am" if hour == 0 else ""
    if hour > 24 or minute > 59 or second > 59 or (match.group(4) and not 1 <= hour <= 12):
        return None
    if match.group(4):
        hour = hour % 12 + (12 if half == "pm" else 0)
    return (hour * 3600 + minute * 60 + second) % DAY, half


def same_time(one: tuple[int, str], other: tuple[int, str]) -> bool:
    """Where one side says neither am nor pm, `3:30` may be either, `15:30` may not."""
    (first, half), (second, other_half) = one, other
    if first == second:
        return True
    silent = first if not half else second
    return bool(half) != bool(other_half) and silent < DAY // 2 and (first - second) % (DAY // 2) == 0
