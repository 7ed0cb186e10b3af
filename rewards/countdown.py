r"""Countdown: does this expression reach the target, with each of the numbers used once?

    completion --extract--> expression --parse--> value by exact fractions, numbers used --> verdict

An expression is whole numbers, `+ - * /` (also `\times`, `\cdot`, `\div`, `\frac{a}{b}`, ×, ÷) and parentheses; what
follows `=` must be the target. Nothing is evaluated as code.
"""

import ast
import re
import time
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from rewards import extract
from rewards.verdict import CORRECT, WRONG, Reward, Verdict

MAX_EXPRESSION = 500  # characters
FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
SPELLINGS = {
    **dict.fromkeys(("\\times", "\\cdot", "×", "·", "⋅", "∗"), "*"),
    **dict.fromkeys(("\\div", "÷", "∕"), "/"),
    **dict.fromkeys(("−", "–", "—"), "-"),
    **dict.fromkeys(("\\left", "\\right", "\\,", "\\ ", "$", "\\(", "\\)", "\\[", "\\]", "`", "*" * 2), ""),
    "[": "(",
    "]": ")",
    "{": "(",
    "}": ")",
}
ALLOWED = re.compile(r"[\d+\-*/() ]+")


def value_of(expression: str) -> tuple[Fraction, list[int]] | None:
    """(value, numbers used) of an expression; None for anything else, and for a division by zero."""
    text = expression.strip().rstrip(".")
    for _ in range(8):
        text, more = FRACTION.subn(r"((\1)/(\2))", text)
        if not more:
            break
    for spelling, sign in SPELLINGS.items():
        text = text.replace(spelling, sign)
    text = " ".join(text.split())
    if len(text) > MAX_EXPRESSION or not ALLOWED.fullmatch(text) or "//" in text or "**" in text:
        return None
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    used: list[int] = []
    try:
        return evaluated(tree, used), used
    except (ZeroDivisionError, TypeError, RecursionError):
        return None


def evaluated(node: ast.expr, used: list[int]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used.append(node.value)
        return Fraction(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -evaluated(node.operand, used)
    if isinstance(node, ast.BinOp):
        left, right = evaluated(node.left, used), evaluated(node.right, used)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
    raise TypeError("not an arithmetic expression")


def equal(answer: str, target: str, numbers: Sequence[str]) -> Verdict:
    """Whether an expression, perhaps with `= target` behind it, uses each number once and has the target's value."""
    wanted = value_of(target)
    if wanted is None or not numbers:
        return Verdict(None, "bad_gold")
    expression, *results = answer.split("=")
    if len(results) > 1:
        return Verdict(False, "rejected_syntax")
    made = value_of(expression)
    if made is None:
        return Verdict(False, "rejected_syntax")
    if results and ((claimed := value_of(results[0])) is None or claimed[0] != wanted[0]):
        return WRONG
    value, used = made
    right = value == wanted[0] and Counter(used) == Counter(int(number) for number in numbers)
    return CORRECT if right else WRONG


def grade(completion: str, target: str, numbers: Sequence[str]) -> Verdict:
    """The verdict on a completion's one final answer."""
    answers = {answer.strip(): None for answer in extract.final_answers(completion) if answer.strip()}
    if not answers:
        return Verdict(False, "no_answer")
    if len(answers) > 1:
        return Verdict(False, "several_answers")
    return equal(next(iter(answers)), target, numbers)


def score(completion: str, target: str, numbers: Sequence[str]) -> Reward:
    """value: 1.0 when the final answer of `completion` reaches `target` with each of `numbers` used once, else 0.0."""
    start = time.perf_counter()
    verdict = grade(completion, target, numbers)
    return Reward(float(verdict.correct is True), verdict.correct, verdict.reason, time.perf_counter() - start)
