"""Conversations in which tools are called and games are played, for the warm start of a model that is to learn to.

    seed -> Demonstrations.drills()   -> Demonstration or Document       -> pretraining
         -> Demonstrations.examples() -> Demonstration (messages, tools) -> SFT

They teach the form and some of the skill. Most sums are answered at once, which no small model can do rightly, a few
with the calculator; a player inches to the number more often than it jumps. What pays is left for reinforcement
learning to find out. None holds a sum that is measured with, nor is a game seeded as one that is.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from srm_ray.data.arithmetic import SUPERVISED_FROM, SumProblem, answer_text, problem
from srm_ray.data.tool_text import in_words
from srm_ray.environments.calculator import calculate
from srm_ray.environments.contract import schema
from srm_ray.environments.guess import Guess

CALCULATOR = "srm_ray.environments.calculator:calculate"
GUESS = "srm_ray.environments.guess:Guess"
COPIES = 3  # in a drill, for each conversation
TERMS, DIGITS = 5, 4  # of a sum, as configs/grpo/calculator.yaml asks them
HIGH = 31  # of a game
CALLING_SHARE = 0.25
JUMPING_SHARE = 0.4
Message = dict[str, Any]
Document = tuple[str, str]  # what is given, and what is learned to follow it


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A conversation as SFT data has it. tools: JSON schemas."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()


class Demonstrations(Protocol):
    def drills(self) -> Iterator[Demonstration | Document]:
        """Without end: in short what takes long to learn."""
        ...

    def examples(self) -> Iterator[Demonstration]:
        """Without end, the same for the same seed."""
        ...


class SumsWithCalculator:
    """Sums too long to be done in the head; `CALLING_SHARE` of them with the calculator."""

    def __init__(self, seed: int):
        self.seed, self.tools = seed, (schema(calculate, CALCULATOR),)

    def drills(self) -> Iterator[Demonstration | Document]:
        """Sums of one number or more that are copied, and what is copied in an episode: the sum into the call
        and the result into the answer, without the tool's description."""
        for index in itertools.count():
            draw = random.Random(f"copies/{self.seed}/{index}")
            for place in range(COPIES):
                copied = problem(self.seed, COPIES * index + place, terms=draw.randint(1, TERMS), digits=DIGITS)
                yield copied.question, f' "{sum_text(copied)}"'
            yield Demonstration(self._messages(problem(self.seed, index, terms=TERMS, digits=DIGITS), calls=True))

    def examples(self) -> Iterator[Demonstration]:
        for index in itertools.count(SUPERVISED_FROM):
            sum_ = problem(self.seed, index, terms=TERMS, digits=DIGITS)
            calls = random.Random(f"calls/{self.seed}/{index}").random() < CALLING_SHARE
            yield Demonstration(self._messages(sum_, calls=calls), self.tools)

    def _messages(self, sum_: SumProblem, *, calls: bool) -> tuple[Message, ...]:
        asked: Message = {"role": "user", "content": sum_.question}
        answer: Message = {"role": "assistant", "content": answer_text(sum_.answer)}
        if not calls:
            return asked, answer
        called: Message = {"role": "assistant", "content": "", "tool_calls": [self._call(sum_)]}
        return asked, called, {"role": "tool", "content": sum_.answer}, answer

    def _call(self, sum_: SumProblem) -> dict[str, Any]:
        arguments = {"expression": sum_text(sum_)}
        return {"type": "function", "function": {"name": "calculate", "arguments": arguments}}


def sum_text(sum_: SumProblem) -> str:
    return "+".join(map(str, sum_.operands))


class GuessingGames:
    """Games of a player who mostly guesses the lowest number left, and in `JUMPING_SHARE` of its guesses any."""

    def __init__(self, seed: int):
        self.seed = seed

    def drills(self) -> Iterator[Demonstration | Document]:
        """Numbers that are copied, guesses, and whole games."""
        for index, game in enumerate(self.examples()):
            draw = random.Random(f"ranges/{self.seed}/{index}")
            for _ in range(COPIES):
                copied = ", ".join(str(draw.randint(1, HIGH)) for _ in range(draw.randint(2, 6)))
                yield f"{copied}:", f" {copied}."
                low, high = sorted(draw.choices(range(1, HIGH + 1), k=2))
                yield f"{draw.choice(('Higher', 'Lower'))}: {low} to {high}.", f" {_guess(draw, low, high)}"
            yield game

    def examples(self) -> Iterator[Demonstration]:
        for index in itertools.count():
            draw = random.Random(f"guessing/{self.seed}/{index}")
            game = Guess()
            messages: list[Message] = [{"role": "user", "content": game.reset(draw.randrange(1 << 30))}]
            done = False
            while not done:
                guess = _guess(draw, game.low, game.high)
                observation, _, done = game.step(str(guess))
                messages.append({"role": "assistant", "content": str(guess)})
                if not done:
                    messages.append({"role": "user", "content": observation})
            yield Demonstration(tuple(messages))


def _guess(draw: random.Random, low: int, high: int) -> int:
    return draw.randint(low, high) if draw.random() < JUMPING_SHARE else low


MADE: dict[str, Callable[[int], Demonstrations]] = {CALCULATOR: SumsWithCalculator, GUESS: GuessingGames}


def tokenizer_texts(demonstrations: Demonstrations, count: int = 3000) -> Iterator[str]:
    """The conversations as the chat template writes them, less its control tokens."""
    for one in itertools.islice(demonstrations.examples(), count):
        messages, _ = in_words(one.messages, one.tools, [True] * len(one.messages))
        yield "\n".join(f"{message['role']}\n{message['content']}" for message in messages)
