r"""Gold answers as data sets have them, brought to what graders compare with; those that nobody can grade are found.

    value of a column --texts_of--> ("72",) or several right answers, or BadGold
    golds of a whole data set --unreadable--> those that the math grader cannot read, and why

A text that is more than an answer is searched for one: what stands behind `####` on its last such line (GSM8K), what
the last `\boxed{}` holds (MATH), what `<answer>` tags or an announcement ("The answer is: 72") give. A worked solution
without any of these is a bad gold.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from rewards import extract
from rewards.math import normalize
from rewards.sandbox.processes import Died, Failure, Pool

HASHES = re.compile(r"####[ \t]*+([^#\n]*+)$", re.MULTILINE)
THOUSANDS = re.compile(r"([-+]?\s*+\$?\s*+)([1-9]\d{0,2}(?:,\d{3})+)((?:\.\d+)?)")
PLACEHOLDERS = frozenset(
    [
        "nan",
        "none",
        "null",
        "n/a",
        "<na>",
        "proof",
        "not found",
        "no answer",
        "see solution",
        "unknown",
        "tbd",
        "-",
        "?",
    ]
)
WORDS = re.compile(r"[A-Za-z]+(?: [A-Za-z]+)*")
PROSE = 15  # words of an answer that is one; more are a solution
KEYS = ("ground_truth", "answer", "value", "target", "gold", "final_answer", "text")  # of the gold, in an object
BATCH = 64
READ_TIMEOUT = 30.0  # seconds that reading one gold may take


class BadGold(ValueError):
    """Nothing can be compared with this; the message is the reason, the same for all golds of a kind."""


def texts_of(value: Any) -> tuple[str, ...]:
    """The gold in a column's value: one text, or several of which each is right. Raises `BadGold`."""
    value = listed(value)
    if isinstance(value, list | tuple):
        if not value:
            raise BadGold("the answer is an empty list")
        try:
            return tuple(dict.fromkeys(text for one in value for text in texts_of_one(one)))
        except RecursionError:
            raise BadGold("the answer is nested too deeply") from None
    return texts_of_one(value)


def texts_of_one(value: Any) -> tuple[str, ...]:
    if isinstance(value, bool):
        return ("Yes", "True") if value else ("No", "False")
    if isinstance(value, Mapping):
        found = next((value[key] for key in KEYS if value.get(key) is not None), None)
        if found is None or isinstance(found, Mapping):
            raise BadGold(f"the answer is an object ({', '.join(map(str, value))})")
        aliases = value.get("aliases")  # TriviaQA's
        return texts_of([found, *aliases] if isinstance(aliases, list) and isinstance(found, str) else found)
    if isinstance(value, list | tuple):
        raise BadGold("the answer is a list of lists")
    return (text_of(value),)


def listed(value: Any) -> Any:
    """A list of texts that is written as JSON (Skywork-OR1's `["\\\\frac{1}{2}"]`), read; `[0, 1]` is an interval."""
    if isinstance(value, str) and value.strip()[:1] == "[" and value.strip()[-2:] == '"]':
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return value
        if isinstance(found, list) and all(isinstance(one, str) for one in found):
            return found
    return value


def text_of(value: Any) -> str:
    """One answer as text. Raises `BadGold`."""
    if value is None:
        raise BadGold("the answer is null")
    if isinstance(value, float):
        if math.isnan(value):
            raise BadGold("the answer is NaN")
        if math.isinf(value):
            raise BadGold("the answer is infinite")
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if not isinstance(value, str):
        if isinstance(value, int | Decimal):  # Decimal: of Parquet
            return format(value, "f") if isinstance(value, Decimal) else str(value)
        raise BadGold(f"the answer is of the type {type(value).__name__}")
    text = final_answer(value)
    if not text:
        raise BadGold("the answer is empty")
    if text.casefold() in PLACEHOLDERS:
        raise BadGold(f"the answer is {text!r}, which stands for none")
    return text


def final_answer(text: str) -> str:
    r"""The answer in a text: GSM8K's `... #### 72`, a solution's `\boxed{72}`, a solution that announces it, or the
    text itself. Commas go where they separate thousands, not from tuples. Raises `BadGold` for a solution without."""
    visible = extract.after_thinking(text)
    if visible is None:
        raise BadGold("the answer is a thinking that does not end")
    visible = visible.strip()
    boxes, tails = extract.boxed(visible), list(HASHES.finditer(visible))
    if tails and not (is_prose(tails[-1].group(1)) or extract.boxed(visible[tails[-1].end() :])):  # else a heading
        return without_thousands(tails[-1].group(1).strip())
    if boxes:
        return without_thousands(boxes[-1].strip())
    if is_prose(visible) or "<answer>" in visible.lower():
        found = extract.final_answers(visible)
        if not found or not found[-1].strip() or is_prose(found[-1]):
            raise BadGold("the answer is a text that states no final answer")
        return without_thousands(found[-1].strip())
    return without_thousands(visible)


def is_prose(text: str) -> bool:
    """Whether a text is more than an answer: many words, or lines of them, or an announcement of one."""
    words = re.findall(r"(?<![\\\w])[^\W\d_]{2,}", text)
    lines = [line for line in text.splitlines() if line.strip()]
    return (
        len(words) > PROSE or (len(lines) > 1 and len(words) > len(lines)) or bool(words and extract.after_phrase(text))
    )


def without_thousands(text: str) -> str:
    found = THOUSANDS.fullmatch(text)
    return found.group(1) + found.group(2).replace(",", "") + found.group(3) if found else text


# Whether the math grader reads them


def unreadable(golds: Iterable[str]) -> dict[str, str]:
    """Of distinct golds those that the math grader cannot read, with the reason.

    Numbers and plain words are recognised here, others are read in a killable process, `BATCH` at a time.
    """
    bad: dict[str, str] = {}
    open_golds: list[str] = []
    for gold in dict.fromkeys(golds):
        reason = normalize.check(gold)
        if reason:
            bad[gold] = f"the math grader does not read the answer ({reason})"
        elif normalize.number(cleaned := normalize.clean(gold)) is None:
            if not cleaned:
                bad[gold] = "the answer is empty"
            elif not WORDS.fullmatch(cleaned):
                open_golds.append(gold)
    if open_golds:
        bad |= read_apart(open_golds)
    return bad


def read_apart(golds: Sequence[str]) -> dict[str, str]:
    pool = Pool("rewards.math.worker:serve_kinds", ["rewards.math.worker", "rewards.math.reading"], 1, 1 << 30)
    bad: dict[str, str] = {}
    try:
        for start in range(0, len(golds), BATCH):
            batch = golds[start : start + BATCH]
            try:
                replies = pool.run([(gold, normalize.clean(gold), "") for gold in batch], READ_TIMEOUT)
            except Died:
                replies = [Failure("worker_died")] * len(batch)
            for gold, reply in zip(batch, replies, strict=True):
                if isinstance(reply, Failure):
                    bad[gold] = f"the math grader does not read the answer ({reply.reason})"
                elif reply[0] is not True:
                    bad[gold] = "the math grader does not read the answer"
    finally:
        pool.close()
    return bad
