r"""Text grader: is this answer the gold answer, character by character?

    completion --extract--> answer --tidy--> equal strings?

For answers that are no mathematics: words, sequences, grids. Only white space at the ends of lines and
runs of it within them, and a `\text{...}` around the whole, do not count; case does.
"""

import re
import time

from rewards import extract
from rewards.math.grader import MAX_COMPLETION
from rewards.verdict import Reward, Verdict, judged

TEXT = re.compile(r"\\(?:text|texttt|mathrm|mathtt|textbf)\s*\{(.*)\}", re.DOTALL)


def tidy(text: str) -> str:
    """Without `\\text{}` around it, without white space that carries nothing."""
    wrapped = TEXT.fullmatch(text.strip())
    lines = (wrapped.group(1) if wrapped else text).strip().splitlines()
    return "\n".join(" ".join(line.split()) for line in lines)


def equal(answer: str, gold: str) -> Verdict:
    """An empty answer is `no_answer`, whatever the gold."""
    return judged(tidy(answer) == tidy(gold)) if tidy(answer) else Verdict(False, "no_answer")


def the_answer(completion: str) -> str | Verdict:
    """The one final answer of a completion as it was written, or the verdict where there is not one."""
    if len(completion) > MAX_COMPLETION:
        return Verdict(False, "too_long")
    answers = {tidy(found): found for found in extract.final_answers(completion) if found.strip()}
    if len(answers) > 1:
        return Verdict(False, "several_answers")
    return next(iter(answers.values()), Verdict(False, "no_answer"))


def score(completion: str, gold: str) -> Reward:
    """value: 1.0 when the final answer of `completion` is `gold` as text, else 0.0."""
    start = time.perf_counter()
    answer = the_answer(completion)
    verdict = answer if isinstance(answer, Verdict) else equal(answer, gold)
    return Reward(float(verdict.correct is True), verdict.correct, verdict.reason, time.perf_counter() - start)
