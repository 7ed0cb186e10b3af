r"""Multiple choice: does this answer name the right one of the choices?

    completion --extract--> answer --named--> place of a choice --> verdict

A choice is named by its letter (`C`, `(c)`, `C. Mercury`, `option C`, `\text{C}`) or by its whole text. A completion
that is nothing but such a name needs no announcement.
"""

import re
import string
import time
from collections.abc import Sequence

from rewards import extract
from rewards.math.grader import MAX_ANSWERS, MAX_COMPLETION
from rewards.text import tidy
from rewards.verdict import Reward, Verdict, judged

LETTERS = string.ascii_uppercase
LABEL = re.compile(
    r"(?:(?:the\s+)?(?:option|choice|answer|alternative)\s+)?[(\[]?([A-Za-z])(?:[)\].:,]+|$|(?=\s))\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
DRESS = re.compile(r"\\(?:text|mathrm|textbf|mathbf|textit)\s*\{([^{}]*)\}|[$*`\"]|\\[()\[\]]")
END = " \t\n.。,;:"


def place_of(answer: str, choices: Sequence[str]) -> int | None:
    """Which choice an answer names, from 0; None where it names none, or one and the text of another."""
    shown = plain(answer)
    texts = [plain(choice) for choice in choices]
    if shown in texts and not (len(shown) == 1 and shown.upper() in LETTERS[: len(choices)]):  # a letter is a letter
        return texts.index(shown)
    found = LABEL.fullmatch(DRESS.sub(r"\1", answer).strip(END))
    if not found or LETTERS.find(found.group(1).upper()) >= len(choices):
        return None
    place, rest = LETTERS.index(found.group(1).upper()), plain(found.group(2))
    if not rest or rest == texts[place] or (texts[place] and rest.startswith(texts[place])):
        return place
    if rest in texts or found.group(1).islower():  # of another choice; `a planet` is no letter
        return None
    return place if re.match(r"\W*[A-Za-z][).\]:]", DRESS.sub(r"\1", answer).strip(END)) else None


def plain(text: str) -> str:
    """What of a text counts when it is compared with a choice."""
    return tidy(DRESS.sub(r"\1", text)).strip(END).casefold()


def grade(completion: str, gold: str, choices: Sequence[str]) -> Verdict:
    """gold: the right choice's letter. `several_answers` where different ones are named."""
    if len(completion) > MAX_COMPLETION:
        return Verdict(False, "too_long")
    right = LETTERS.find(gold) if len(gold) == 1 else -1
    if not 0 <= right < len(choices):
        return Verdict(None, "bad_gold")
    answers = list(dict.fromkeys(answer.strip() for answer in extract.final_answers(completion) if answer.strip()))
    if len(answers) > MAX_ANSWERS:
        return Verdict(False, "several_answers")
    if not answers:
        whole = extract.after_thinking(completion)
        if whole is None or place_of(whole, choices) is None:
            return Verdict(False, "no_answer")
        answers = [whole]
    named = {place_of(answer, choices) for answer in answers}
    if len(named) > 1:
        return Verdict(False, "several_answers")
    place = named.pop()
    return judged(place is not None and (place == right or plain(choices[place]) == plain(choices[right])))


def score(completion: str, gold: str, choices: Sequence[str]) -> Reward:
    """value: 1.0 when the final answer of `completion` names the choice with the letter `gold`, else 0.0."""
    start = time.perf_counter()
    verdict = grade(completion, gold, choices)
    return Reward(float(verdict.correct is True), verdict.correct, verdict.reason, time.perf_counter() - start)
