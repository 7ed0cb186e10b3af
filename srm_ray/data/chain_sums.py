r"""Reasoning Gym's chain_sum with worked reasoning, for the warm start of a model that is to learn it.

    position -> GymTasks (training problems alone) -> question, reasoning, answer -> document, conversation

The reasoning goes column by column, with signs, then adds the columns: 47 - 36 + 29 is
`7-6+9=10, 4-3+2=3, 30+10=40`, and 13 - 48 is `3-8=-5, 1-4=-3, -30-5=-35`.
"""

import itertools
import random
import re
from collections.abc import Iterator

from srm_ray.config.data import GYM, SourceConfig
from srm_ray.data.arithmetic import SUPERVISED_FROM, Messages, answer_text
from srm_ray.data.tasks import GymTasks

NAME = GYM + "chain_sum"
OPTIONS = {"min_terms": 2, "max_terms": 3, "min_digits": 2, "max_digits": 2}
TERM = re.compile(r"([+-]?)\s*(\d+)")


class ChainSums:
    """The endless problems of `seed`; none of them is ever measured with."""

    def __init__(self, seed: int):
        self.tasks = GymTasks(SourceConfig(name=NAME, options=OPTIONS), seed, "chain_sum")
        self.seed = seed

    def problem(self, index: int) -> tuple[str, str, str]:
        """(question, reasoning, answer)."""
        task = self.tasks.task(index)
        question, answer = task.messages[0]["content"], task.answer
        assert answer is not None, "chain_sum always has an answer"
        return question, reasoning(terms_of(question)), answer

    def documents(self) -> Iterator[tuple[str, str]]:
        """As `arithmetic.documents`: what carries no loss, and its working."""
        for index in itertools.count():
            question, thought, answer = self.problem(index)
            yield question, f" {thought} {answer_text(answer)}"

    def conversations(self, thinking_share: float) -> Iterator[Messages]:
        """As `arithmetic.conversations`."""
        for index in itertools.count(SUPERVISED_FROM):
            question, thought, answer = self.problem(index)
            thinks = random.Random(f"thinks/chain_sum/{self.seed}/{index}").random() < thinking_share
            content = f"<think>\n{thought if thinks else ''}\n</think>\n{answer_text(answer)}"
            yield [{"role": "user", "content": question}, {"role": "assistant", "content": content}]

    def tokenizer_texts(self, count: int = 6000) -> Iterator[str]:
        for index in range(count):
            question, thought, answer = self.problem(index)
            yield f"user\n{question}\nassistant\n{thought}\n{answer_text(answer)}"


def terms_of(question: str) -> list[int]:
    """The numbers of "...: 47 - 36 + 29 =", with their signs."""
    expression = question.rsplit(":", 1)[1].rpartition("=")[0]
    return [int(sign + digits) for sign, digits in TERM.findall(expression)]


def reasoning(terms: list[int]) -> str:
    columns = max(len(str(abs(term))) for term in terms)
    steps, totals = [], []
    for place in range(columns):
        digits = [(-1 if term < 0 else 1) * (abs(term) // 10**place % 10) for term in terms]
        signs = [-1 if term < 0 else 1 for term in terms]
        shown = "".join(
            ("-" if sign < 0 else "+" if n else "") + str(abs(digit))
            for n, (digit, sign) in enumerate(zip(digits, signs, strict=True))
        )
        steps.append(f"{shown}={sum(digits)}")
        totals.append(sum(digits) * 10**place)
    if columns > 1:
        sum_of_columns = "".join(f"{total:+d}" for total in reversed(totals)).removeprefix("+")
        steps.append(f"{sum_of_columns}={sum(totals)}")
    return ", ".join(steps)
