"""A user's rewards, good and bad."""

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
    return 0.0


not_a_function = 5
