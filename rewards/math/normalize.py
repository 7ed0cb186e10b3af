"""Steps one and two of the comparison: normal strings, and exact rational numbers.

Both are safe in the caller's own process: linear in an input of bounded length, nothing is
evaluated, and integers have at most `MAX_DIGITS` digits.

    text --check--> (rejected_syntax | too_long)
         --clean--> ASCII where possible, one spelling of each LaTeX construct
         --number--> Fraction, for what is plainly one number
"""

import re
import unicodedata
from fractions import Fraction

MAX_CHARS = 4000
MAX_DIGITS = 1500

# Bidirectional controls and zero-width characters hide what is written; nothing else that is
# invisible has a place in an answer either (categories Cc, Cf, Cs, Co, Cn), but for white space.
WHITE = {
    ord(c): " " for c in "\t\n\r\f\v\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
}
SPELLINGS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "‒": "-",
    "×": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ", "∙": r"\cdot ", "÷": "/", "∕": "/", "⁄": "/",
    "π": r"\pi ", "∞": r"\infty ", "√": r"\sqrt ", "≤": r"\le ", "⩽": r"\le ", "≥": r"\ge ", "⩾": r"\ge ",
    "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "°": r"^\circ ", "º": r"^\circ ",
    "±": r"\pm ", "∓": r"\mp ", "…": r"\ldots ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ",
    "λ": r"\lambda ", "μ": r"\mu ", "µ": r"\mu ", "φ": r"\phi ", "ω": r"\omega ", "δ": r"\delta ", "ε": r"\epsilon ",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℚ": r"\mathbb{Q}", "ℕ": r"\mathbb{N}", "ℂ": r"\mathbb{C}",
    "⟨": r"\langle ", "⟩": r"\rangle ", "′": "'", "’": "'", "‘": "'", "“": '"', "”": '"', "，": ",", "⌊": r"\lfloor ",
    "∠": r"\angle ", "△": r"\triangle ", "≡": r"\equiv ", "≈": r"\approx ", "≃": r"\approx ", "≅": r"\approx ",
    "≒": r"\approx ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "∖": r"\setminus ", "→": r"\to ",
}  # fmt: skip
SUPERSCRIPT = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ⁻⁺", "0123456789n-+", strict=True))
SUBSCRIPT = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))


def check(text: str) -> str | None:
    """The reason why `text` is not read at all, or None. Never fails on any string."""
    if len(text) > MAX_CHARS:
        return "too_long"
    if text.isascii():
        return "rejected_syntax" if "\0" in text or CONTROL.search(text) else None
    for char in text:
        if not char.isascii() and ord(char) not in WHITE and unicodedata.category(char) in HIDDEN:
            return "rejected_syntax"
    if len(to_ascii(text)) > 2 * MAX_CHARS:  # one ligature may be eighteen letters
        return "too_long"
    return "rejected_syntax" if CONTROL.search(text) else None


CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def to_ascii(text: str) -> str:
    """Digits of every script, full-width forms, super- and subscripts and common signs in ASCII."""
    if text.isascii():
        return text
    out: list[str] = []
    for char in text:
        if char.isascii():
            out.append(char)
        elif ord(char) in WHITE:
            out.append(" ")
        elif char in SPELLINGS:
            out.append(SPELLINGS[char])
        elif char in SUPERSCRIPT or char in SUBSCRIPT:
            out.append(char)  # a run of them is one exponent, or one index
        elif (digit := unicodedata.decimal(char, None)) is not None:
            out.append(str(digit))
        elif unicodedata.category(char) == "No" and (value := vulgar(char)):
            out.append(value)
        else:
            out.append(unicodedata.normalize("NFKC", char))
    return RAISED.sub(lambda run: raised(run.group()), "".join(out))


RAISED = re.compile(f"[{''.join(SUPERSCRIPT)}]+|[{''.join(SUBSCRIPT)}]+")


def raised(run: str) -> str:
    """`¹²` as `^{12}`, `₁₂` as `_{12}`."""
    if run[0] in SUPERSCRIPT:
        return "^{" + "".join(SUPERSCRIPT[char] for char in run) + "}"
    return "_{" + "".join(SUBSCRIPT[char] for char in run) + "}"


def vulgar(char: str) -> str:
    """`½` as ` \\frac{1}{2}` (the space keeps `1½` a mixed number); "" for anything else."""
    top, bar, bottom = unicodedata.normalize("NFKC", char).partition("⁄")
    return rf" \frac{{{top}}}{{{bottom}}}" if bar and top.isdigit() and bottom.isdigit() else ""


TYPED = re.compile(  # a number in another type: \mathbf{5}
    r"\\(?:math(?:bf|rm|it|sf|tt|normal)|boldsymbol|pmb|bm)\s*"
    r"\{\s*([-+]?\s?(?:\\?\$)?\d[\d.,/]*(?:\\?%)?)\s*\}"
)
# What need be in the text, pattern, spelling
SIMPLE = [
    # A brace that only `\right.` closes: a system, or a function by cases.
    (
        r"\begin",
        re.compile(r"\\left\s*\\\{\s*\\begin\s*\{(?:array|aligned|gathered|matrix)\}(?:\s*\{[lcr|\s]*\})?"),
        r"\\begin{cases}",
    ),
    (r"\end", re.compile(r"\\end\s*\{(?:array|aligned|gathered|matrix)\}\s*\\right\s*\."), r"\\end{cases}"),
    (".", re.compile(r"\\(?:left|right)\s*\."), ""),
    ("vert", re.compile(r"\\(?:vert|lvert|rvert)(?![a-zA-Z])"), "|"),
    ("prime", re.compile(r"\^\s*(?:\{\s*\\prime\s*\}|\\prime(?![a-zA-Z]))"), "'"),
    ("", re.compile(r"\\(?:left|right|displaystyle|textstyle|limits|nolimits|[bB]igg?[lrm]?)(?![a-zA-Z])"), ""),
    ("frac", re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    ("binom", re.compile(r"\\[dt]binom(?![a-zA-Z])"), r"\\binom"),
    (r"\leq", re.compile(r"\\(?:leq|leqslant)(?![a-zA-Z])"), r"\\le"),
    (r"\geq", re.compile(r"\\(?:geq|geqslant)(?![a-zA-Z])"), r"\\ge"),
    (r"\neq", re.compile(r"\\neq(?![a-zA-Z])"), r"\\ne"),
    ("", re.compile(r"\\(?:mbox|textrm|textup|textnormal|textbf|textit|textsf|texttt|hbox|emph)(?![a-zA-Z])"),
     r"\\text"),
    ("math", re.compile(r"\\([ij])math(?![a-zA-Z])"), r"\1"),
    ("", TYPED, r"{\1}"),
    ("", re.compile(r"\\(mathbf|boldsymbol|vec|hat) ([A-Za-z])(?![a-zA-Z])"), r"\\\1{\2}"),
    (r"\degree", re.compile(r"\\(?:degree|degrees)(?![a-zA-Z])"), r"^\\circ"),
    (r"\circ", re.compile(r"\^\s*\{\s*\\circ\s*\}"), r"^\\circ"),
    ("{:}", re.compile(r"\{:\}"), ":"),
    ("mod", re.compile(r"\(\s*(?:\\bmod|\\?mod(?![A-Za-z])|\\text\s*\{\s*mod\s*\})\s*+([^()]*+)\)"), r"\\pmod{\1}"),
    ("", re.compile(r"\\(?:varnothing|O)(?![a-zA-Z])"), r"\\emptyset"),
    # Thousands: 10{,}000  10,\!000  10\,000
    (",", re.compile(r"(?<=\d)\s*(?:\{,\}|,\\!|\\,)\s*(?=\d{3}(?!\d))"), ","),
    ("", re.compile(r"(?<!\\)\\(?:[!,;:> ]|q?quad|(?:enspace|thinspace)(?![a-zA-Z]))|~"), " "),
]  # fmt: skip
INNER_MATH = re.compile(r"(?<!\\)\$([^$]*)(?<!\\)\$")
WHOLE_TEXT = re.compile(r"\\text\s*\{([^{}]*)\}")
DOUBLED = re.compile(
    r"(?<!\\)\\\\(?:boxed|frac|dfrac|tfrac|sqrt|text|mathrm|mathbb|left|pi|infty|begin|cdot|times|circ|le|ge|leq"
    r"|geq|cup|cap|in|pm|sin|cos|tan|ln|log|angle|theta|alpha|beta|emptyset|binom|overline|\{|%|\$|\()(?![a-z])"
)
LEAD_IN = r"(?:(?:so|thus|hence|therefore),?\s+)?(?:the\s+)?(?:final\s+)?answer(?:\s*+(?:is\b|[:=]))?"
ANSWER_IS = re.compile(rf"(?:\\text\s*\{{\s*{LEAD_IN}\s*+:?\s*+\}}|{LEAD_IN}(?![A-Za-z]))\s*+:?\s*+", re.I)
LEADS = (r"\approx", r"\sim", r"\cong", r"\text", "~")
BACKSLASHES = re.compile(r"\\+")
ABOUT = re.compile(
    r"(?:(?:\\(?:approx|simeq|cong|sim)|~"
    r"|approximately|approx\.?|about|around|roughly|circa|environ|ungefähr|etwa|aproximadamente|примерно|приблизительно"
    r"|около)(?![A-Za-z])|大?约)\s*",
    re.I,
)
CURRENCIES = {"€": "euro", "£": "gbp", "¥": "jpy", "₹": "rupee", "₩": "won", "₽": "ruble"}
FOREIGN_MONEY = re.compile(
    r"(?P<sign>[-+]?)\s?(?:(?P<ahead>[€£¥₹₩₽])\s?)?(?P<number>[\d.,]*\d)"
    r"(?P<scale>\s?(?:hundred|thousand|million|billion|trillion))?\s?(?P<behind>[€£¥₹₩₽])?"
    r"(?:\s*(?:/|(?<=\s)(?:per|an?|each|every)(?=\s))\s*(?P<rate>[A-Za-z]{1,20}))?"
)
WRAPPERS = [("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"), ("`", "`")]
BOXED = re.compile(r"\\(?:boxed|fbox|underline|(?:text)?color(?:box)?\s*\{[A-Za-z]{1,20}\})\s*\{(.*)\}$", re.DOTALL)
SPACES = re.compile(r"\s+")


def clean(text: str) -> str:
    """One spelling of each construct; outer `$...$`, `\\boxed{...}` and the final full stop removed.

    `\\dfrac` -> `\\frac`, `\\left(` -> `(`, `\\leq` -> `\\le`, `10{,}000` -> `10,000`, thin spaces
    -> space, runs of white space -> one space.
    """
    text = unwrap(halved(to_ascii(text)))
    if text[:1].isalpha() or text.startswith(LEADS):
        if lead := ANSWER_IS.match(text):
            text = text[lead.end() :]
        if about := ABOUT.match(text):
            text = text[about.end() :]
    if text.count("$") >= 2:
        text = INNER_MATH.sub(r"\1", text)
    if not text.isascii() and (money := FOREIGN_MONEY.fullmatch(text)):
        text = in_words(money) or text
    if "\\" in text or "~" in text or "{,}" in text or "{:}" in text or "mod" in text:
        for key, pattern, spelling in SIMPLE:
            if key in text:
                text = pattern.sub(spelling, text)
    text = SPACES.sub(" ", unwrap(text)).strip()
    whole = WHOLE_TEXT.fullmatch(text)
    return whole.group(1).strip() if whole and any(char.isdigit() for char in whole.group(1)) else text


def halved(text: str) -> str:
    """`\\\\frac{1}{2}` as `\\frac{1}{2}`: every backslash twice, as JSON within JSON leaves them."""
    if "\\\\" not in text or not DOUBLED.search(text):
        return text
    if any(len(run) % 2 for run in BACKSLASHES.findall(text)):
        return text  # `\\\\` ends a row of a matrix here
    return text.replace("\\\\", "\\")


def in_words(money: re.Match[str]) -> str:
    """`€18/day` as `18\\text{ euro per day}`; "" where there is not one sign of a currency."""
    signs = [sign for sign in (money["ahead"], money["behind"]) if sign]
    if len(signs) != 1:
        return ""
    rate = f" per {money['rate']}" if money["rate"] else ""
    return f"{money['sign']}{money['number']}{money['scale'] or ''}\\text{{ {CURRENCIES[signs[0]]}{rate}}}"


def unwrap(text: str) -> str:
    """Without outer math marks, bold marks, boxes and the full stop at the end."""
    for _ in range(4):
        before = text
        text = text.strip()
        if text.endswith((".", ",", ";")) and not text.endswith(("..", "\\,", "\\;")):
            text = text[:-1].rstrip()
        text = text.removesuffix("\\\\").rstrip()  # the end of a line
        for left, right in WRAPPERS:
            inner = text[len(left) : -len(right)]
            if text.startswith(left) and text.endswith(right) and inner and left not in inner and right not in inner:
                text = inner
                break
        box = BOXED.match(text)
        if box and balanced(box.group(1)):
            text = box.group(1)
        if text == before:
            break
    return text


def balanced(text: str) -> bool:
    """Whether braces close in order within `text`."""
    depth = 0
    for char in text:
        depth += (char == "{") - (char == "}")
        if depth < 0:
            return False
    return depth == 0


def squeeze(text: str) -> str:
    """The form in which equal strings are equal answers: no spaces but between two words or numbers."""
    return re.sub(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])", "", text)


INTEGER = re.compile(r"[+-]?\d+")
DECIMAL = re.compile(r"([+-]?)\s?(\d+|[1-9]\d{0,2}(?:,\d{3})+|)(?:\.(\d*))?")
FRACTION = re.compile(
    r"([+-]?)\s?(?:\\frac\s?(?:\{\s?(-?\d+)\s?\}|(\d))\s?(?:\{\s?(-?\d+)\s?\}|(\d))|(\d+)\s?/\s?(-?\d+))"
)
MONEY = re.compile(r"(-?)\s?\\?\$\s?(?=[\d.])")


def number(text: str) -> Fraction | None:
    """The exact value of `text` (as `clean` left it) where it is plainly one number, else None.

    Read here: integers, decimals, thousands separators, `a/b`, `\\frac{a}{b}`, a dollar sign before
    them. Everything else (mixed numbers, powers, units, percentages) is left to the parser.
    """
    if len(text) > MAX_DIGITS:
        return None
    if INTEGER.fullmatch(text):
        return Fraction(int(text))
    if "$" in text:
        text = MONEY.sub(r"\1", text, count=1)
    match = DECIMAL.fullmatch(text)
    if match:
        sign, whole, part = match.groups()
        if not whole and not part:
            return None
        digits = (whole or "0").replace(",", "") + (part or "")
        value = Fraction(int(digits), 10 ** len(part or ""))
        return -value if sign == "-" else value
    match = FRACTION.fullmatch(text)
    if match:
        top = int(match.group(2) or match.group(3) or match.group(6))
        bottom = int(match.group(4) or match.group(5) or match.group(7))
        if bottom == 0:
            return None
        return Fraction(-top if match.group(1) == "-" else top, bottom)
    return None
