"""A user's rewards, good and bad."""

import asyncio
import os
import time


def length_of_answer(prompt: str, completion: str, answer: str | None) -> float:
    return min(len(completion), 10) / 10


def unannotated(prompt, completion, answer):  # type: ignore[no-untyped-def]
    return 1


def moods(prompt: str, completion: str, answer: str | None) -> float:
    if completion == "hang":
        while True:
            pass
    if completion == "sleep":
        time.sleep(100)
    if completion == "raise":
        raise ValueError("no")
    if completion == "nan":
        return float("nan")
    if completion == "exit":
        os._exit(1)
    return 0.5


def two(prompt: str, completion: str) -> float:
    return 0.0


def wrong_parameter(prompt: str, completion: int, answer: str | None) -> float:
    return 0.0


def answer_never_missing(prompt: str, completion: str, answer: str) -> float:
    return 0.0


def wrong_result(prompt: str, completion: str, answer: str | None) -> str:
    return ""


async def coroutine(prompt: str, completion: str, answer: str | None) -> float:
    await asyncio.sleep(0)
    return 0.25


def says_itself(prompt: str, completion: str, answer: str | None) -> bool:
    return completion == "right"


def pair(prompt: str, completion: str, answer: str | None, truncated: bool) -> tuple[float, bool] | None:
    return None if completion == "none" else (0.1, completion == "right" and not truncated)


def columns(prompt: str, completion: str, answer: str | None, difficulty: int, row: dict) -> float:
    return float(difficulty == row["difficulty"] == 3 and row["nested"] == {"a": [1]})


def column_with_a_default(prompt, completion, answer, *, difficulty=7):  # type: ignore[no-untyped-def]
    return difficulty / 10


async def whole_group(prompt: str, completions: list[str], answer: str | None, row: dict) -> list[float]:
    longest = max(map(len, completions))
    return [float(len(completion) == longest) for completion in completions]


def group_one_short(prompt: str, completions: list[str], answer: str | None) -> list[float]:
    return [0.0]


def calls_the_graders(prompt: str, completion: str, answer: str | None) -> tuple[float, bool]:
    import rewards.math.grader

    reward = rewards.math.grader.score(completion, answer or "")
    return reward.value / 2, reward.correct is True


def raises(prompt: str, completion: str, answer: str | None) -> float:
    return float(completion)


not_a_function = 5
