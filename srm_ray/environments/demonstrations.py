"""Conversations in which tools are called and games are played, for the warm start of a model that is to learn to.

    seed -> Demonstrations.drills()   -> Demonstration without tools     -> pretraining
         -> Demonstrations.examples() -> Demonstration (messages, tools) -> SFT

They teach the form and some of the skill. Most sums are answered at once, which no small model can do rightly, a few
with the calculator; half of a player's guesses heed all that it was told, the others nothing. What pays is left for
reinforcement learning to find out. None holds a sum that is measured with, nor is a game seeded as one that is.
"""

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from srm_ray.data.arithmetic import SUPERVISED_FROM, Problem, answer_text, problem
from srm_ray.data.tool_text import in_words
from srm_ray.environments.calculator import calculate
from srm_ray.environments.contract import schema
from srm_ray.environments.guess import Guess

CALCULATOR = "srm_ray.environments.calculator:calculate"
GUESS = "srm_ray.environments.guess:Guess"
TERMS, DIGITS = 5, 4  # of a sum, as configs/grpo/calculator.yaml asks them
CALLING_SHARE = 0.25
HEEDING_SHARE = 0.5
Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Demonstration:
    """A conversation as SFT data has it. tools: JSON schemas."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()


class Demonstrations(Protocol):
    def drills(self) -> Iterator[Demonstration]:
        """Without end: short conversations of what takes long to learn."""
        ...

    def examples(self) -> Iterator[Demonstration]:
        """Without end, the same for the same seed."""
        ...


class SumsWithCalculator:
    """Sums too long to be done in the head; `CALLING_SHARE` of them with the calculator."""

    def __init__(self, seed: int):
        self.seed, self.tools = seed, (schema(calculate, CALCULATOR),)

    def drills(self) -> Iterator[Demonstration]:
        """What is copied, the sum into the call and the result into the answer, without the tool's description."""
        for index in itertools.count():
            yield Demonstration(self._messages(problem(self.seed, index, terms=TERMS, digits=DIGITS), calls=True))

    def examples(self) -> Iterator[Demonstration]:
        for index in itertools.count(SUPERVISED_FROM):
            sum_ = problem(self.seed, index, terms=TERMS, digits=DIGITS)
            calls = random.Random(f"calls/{self.seed}/{index}").random() < CALLING_SHARE
            yield Demonstration(self._messages(sum_, calls=calls), self.tools)

    def _messages(self, sum_: Problem, *, calls: bool) -> tuple[Message, ...]:
        asked: Message = {"role": "user", "content": sum_.question}
        answer: Message = {"role": "assistant", "content": answer_text(sum_.answer)}
        if not calls:
            return asked, answer
        called: Message = {"role": "assistant", "content": "", "tool_calls": [self._call(sum_)]}
        return asked, called, {"role": "tool", "content": sum_.answer}, answer

    def _call(self, sum_: Problem) -> dict[str, Any]:
        arguments = {"expression": "+".join(map(str, sum_.operands))}
        return {"type": "function", "function": {"name": "calculate", "arguments": arguments}}


class GuessingGames:
    """Games of a player who heeds what it was told in `HEEDING_SHARE` of its guesses."""

    def __init__(self, seed: int):
        self.seed = seed

    def drills(self) -> Iterator[Demonstration]:
        """Whole games: nothing of them is shorter."""
        return self.examples()

    def examples(self) -> Iterator[Demonstration]:
        for index in itertools.count():
            draw = random.Random(f"guessing/{self.seed}/{index}")
            game = Guess()
            messages: list[Message] = [{"role": "user", "content": game.reset(draw.randrange(1 << 30))}]
            low, high, done = 1, 100, False
            while not done:
                heeds = draw.random() < HEEDING_SHARE
                guess = draw.randint(low, high) if heeds else draw.randint(1, 100)
                said, _, done = game.step(str(guess))
                messages.append({"role": "assistant", "content": str(guess)})
                if not done:
                    messages.append({"role": "user", "content": said})
                low, high = (max(low, guess + 1), high) if said.startswith("Higher") else (low, min(high, guess - 1))
            yield Demonstration(tuple(messages))


MADE: dict[str, Callable[[int], Demonstrations]] = {CALCULATOR: SumsWithCalculator, GUESS: GuessingGames}


def tokenizer_texts(demonstrations: Demonstrations, count: int = 3000) -> Iterator[str]:
    """The conversations as the chat template writes them, less its control tokens."""
    for one in itertools.islice(demonstrations.examples(), count):
        messages, _ = in_words(one.messages, one.tools, [True] * len(one.messages))
        yield "\n".join(f"{message['role']}\n{message['content']}" for message in messages)
