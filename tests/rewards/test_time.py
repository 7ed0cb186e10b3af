"""What reads a whole completion, or a whole row, in the caller's own process is linear in it."""

import time
from collections.abc import Callable

import pytest

from rewards import choice, countdown, extract, golds, gym, text
from rewards.code import answer
from rewards.math import grader
from srm_ray.data import conversations
from srm_ray.environments import calls

SIZE = 400_000  # characters: a quadratic reading takes minutes
READERS: dict[str, Callable[[str], object]] = {
    "final answers": lambda text: extract.final_answers(text, allow_last_number=True),
    "code": lambda text: answer.code_of(text, frozenset({"f"})),
    "choice": lambda text: choice.grade(text, "B", ["a planet", "b"]),
    "countdown": lambda text: countdown.score(text, "24", ["1", "23"]),
    "text": lambda found: text.score(found, "a b"),
    "gym": lambda text: gym.ENORMOUS.search(text),
    "a gold": golds.without_thousands,
    "calls": lambda text: [calls.parse(text, family) for family in ("hermes", "llama", "mistral", "pythonic")],
    "a row's gold": lambda text: conversations.question_answer(text, "boxed"),
}
# (what it begins with, what is repeated, what it ends with)
ATTACKS = [
    ("[f(]", " ", "x"),
    ("- $", " ", "x"),
    ("2 ** (", " ", "x"),
    ("#### 1", "\t", "x"),
    ("#### 1", "a\t", "x"),
    ("The answer is 1", " ", "x"),
    ("The answer is ", " *", "x"),
    ("A", " ", "x"),
    (r"\text{", " ", "x"),
    (r"\boxed{", r"\boxed{", "1}"),
    ("", "```\n", "x"),
    ("<answer>", "</answer><answer>", "x"),
    ("[TOOL_CALLS]f", "[CALL_ID] a ", "x"),
    ("<tool_call>", "<tool_call>{", "x"),
]


@pytest.mark.parametrize("name", READERS)
def test_no_text_takes_long_to_read(name: str) -> None:
    start = time.process_time()
    for begin, repeated, end in ATTACKS:
        READERS[name](begin + repeated * (SIZE // len(repeated)) + end)
        assert time.process_time() - start < 240, (begin, repeated)


def test_an_answer_of_spaces_takes_no_time() -> None:
    start = time.process_time()
    for begin in (r"\text{answer", r"\text{so, the final answer :", "answer", "the answer is", "(\\mod", "约"):
        grader.quick(begin + " " * 3950 + "x", "112")
    assert time.process_time() - start < 60
