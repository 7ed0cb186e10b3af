r"""A `tokenizer.json` from elsewhere, judged before the library that runs its expressions reads it.

    folder --check--> nothing, or `UserError`

The library matches a tokenizer's regular expressions by going back and forth, without a limit: `(a+)+$` takes longer
than anyone waits, on fifty letters of a prompt. Refused are expressions whose time can grow faster than a small power
of the text: a repetition of what is itself of no fixed length, more than `MOST_REPEATS` endless repetitions in a row
before what may fail, back references. Refused too is what makes texts grow without bound, and numbers that no
tokenizer has.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from srm_ray.errors import UserError, one_line, printable

LARGEST_FILE = 512 << 20  # bytes
LARGEST_NUMBER = 1 << 31
LONGEST_EXPRESSION = 20_000
MOST_REPEATS = 1  # as all published ones: with two, a thousand characters take seconds, four thousand minutes
LONG = 4  # repetitions more or less that count as endless
MOST_GROWTH = 1000.0
FOREIGN = re.compile(r"\\[pP]\{\^?[\w ]+\}|\\[pP][A-Z]|\\[hHRXKGO]|\\x\{[0-9A-Fa-f]+\}")  # what Python has not
FLAGS = re.compile(r"\(\?[imsx-]+\)")
GROUPS = {re.compile(r"\(\?[imsx-]+:"): "(?:", re.compile(r"\(\?<(?=[A-Za-z_])"): "(?P<"}


def check(folder: Path) -> None:
    """Raises `UserError` for a tokenizer.json that could stop or fill the machine. Nothing where there is none."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return
    stat = path.stat()
    if reason := why_not(path, stat.st_size, stat.st_mtime_ns):
        raise UserError(f"{folder}: its tokenizer cannot be loaded: {reason}")


def of_hub(name: str) -> Path:
    """The local folder in which a hub's tokenizer.json lies, once it has come."""
    from transformers.utils import cached_file

    found = cached_file(name, "tokenizer.json", _raise_exceptions_for_missing_entries=False)
    return Path(found).parent if found else Path(name)


@cache
def why_not(path: Path, size: int, changed: int) -> str:
    if size > LARGEST_FILE:
        return f"tokenizer.json is larger than {LARGEST_FILE >> 20} MB"
    try:
        for part, reason in problems(json.loads(path.read_text(encoding="utf-8"))):
            return f"{printable(part)[:80]!r} in tokenizer.json {reason}"
    except (OSError, ValueError, RecursionError) as error:
        return one_line(error)[:200]
    return ""


def problems(plain: Any) -> Iterator[tuple[str, str]]:
    growth = 1.0
    for value in parts(plain):
        if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            yield str(value)[:40], "is a number that no tokenizer has"
        if not isinstance(value, dict):
            continue
        expression = value.get("Regex")
        if isinstance(expression, str) and (reason := why_unbounded(expression)):
            yield expression, reason
        if value.get("type") == "Replace":
            growth *= growth_of(value)
        elif value.get("type") == "Prepend":
            growth *= 1 + len(str(value.get("prepend")))
        if growth > MOST_GROWTH:
            yield str(value), "lets texts grow without bound"


def parts(value: Any) -> Iterator[Any]:
    """Every value but the entries of a vocabulary and its merges, which the library judges itself."""
    stack = [value]
    while stack:
        one = stack.pop()
        yield one
        if isinstance(one, dict):
            stack.extend(child for key, child in one.items() if key not in ("vocab", "merges"))
        elif isinstance(one, list):
            stack.extend(one)


def growth_of(replace: dict[str, Any]) -> float:
    """How many times as long `Replace` can make a text."""
    pattern, content = replace.get("pattern"), str(replace.get("content"))
    found = pattern.get("String") if isinstance(pattern, dict) else None
    if isinstance(found, str) and found:
        return max(1.0, len(content.encode()) / len(found.encode()))
    return 1.0 + len(content.encode())


def why_unbounded(expression: str, most_repeats: int = MOST_REPEATS, whole: bool = False) -> str:
    """Why an expression may take for ever; "" where it may not. whole: it is to match the whole of a text."""
    if len(expression) > LONGEST_EXPRESSION:
        return f"has more than {LONGEST_EXPRESSION:,} characters"
    plain = FLAGS.sub("", FOREIGN.sub(r"\\w", without_classes(expression)))
    for group, spelling in GROUPS.items():
        plain = group.sub(spelling, plain)
    try:
        tree = re._parser.parse(plain)  # type: ignore[attr-defined]
    except (re.error, OverflowError, RecursionError, ValueError):
        return "cannot be judged: its time might have no bound"
    reason, repeats = judged(tree, whole)
    return reason or (f"has {repeats} endless repetitions in a row" if repeats > most_repeats else "")


def without_classes(expression: str) -> str:
    r"""Every `[...]`, whatever is within it (Oniguruma's may hold others), as `\w`: its width is one character."""
    out: list[str] = []
    depth = start = position = 0
    while position < len(expression):
        char = expression[position]
        step = 2 if char == "\\" else 1
        if char == "[":
            if not depth:
                start = position
            depth += 1
            step += expression.startswith("^", position + 1)
            step += expression.startswith("]", position + step)  # one that comes first is itself
        elif char == "]" and depth:
            depth -= 1
            if not depth:
                out.append(r"\w")
        elif not depth:
            out.append(expression[position : position + step])
        position += step
    return "".join(out) + expression[start:] * bool(depth)


def judged(tree: Any, fails: bool = False) -> tuple[str, int]:
    """(why it is refused or "", endless repetitions in a row) of a parsed expression.

    fails: whether what follows it may fail to match. A repetition counts where that is so of what follows: then it is
    tried at every length, for each length of those before it.
    """
    row = 0
    for kind, value in reversed(list(tree)):
        name = str(kind)
        reason, repeats, mandatory = "", 0, name not in ("SUBPATTERN", "BRANCH", "ATOMIC_GROUP")
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, body = value
            reason, repeats = judged(body, fails)
            if most > 1:
                shortest, longest = body.getwidth()
                if shortest != longest or repeats:
                    reason = reason or "repeats what has no fixed length: its time has no bound"
                elif has_choice(body):
                    reason = reason or "repeats a choice: its time has no bound"
            repeats += fails and most - least > LONG
            mandatory = least > 0
        elif name == "BRANCH":
            found = [judged(branch, fails) for branch in value[1]]
            reason = next((why for why, _ in found if why), "")
            repeats = max((count for _, count in found), default=0)
            mandatory = all(may_fail(branch) for branch in value[1])
        elif name in ("SUBPATTERN", "ASSERT", "ASSERT_NOT", "ATOMIC_GROUP"):
            body = value[-1] if isinstance(value, tuple) else value
            reason, repeats = judged(body, fails and name == "SUBPATTERN")
            mandatory = name.startswith("ASSERT") or may_fail(body)
        elif name in ("GROUPREF", "GROUPREF_EXISTS", "GROUPREF_IGNORE"):
            reason = "refers back to what it has matched: its time has no bound"
        if reason:
            return reason, row
        row += repeats
        fails = fails or mandatory
    return "", row


def may_fail(tree: Any) -> bool:
    """Whether there is anything in it that has to match."""
    return tree.getwidth()[0] > 0 or any(str(kind) in ("AT", "ASSERT", "ASSERT_NOT") for kind, _ in tree)


def has_choice(tree: Any) -> bool:
    return any(str(kind) == "BRANCH" or (str(kind) == "SUBPATTERN" and has_choice(value[-1])) for kind, value in tree)
