"""Environments of every kind, good and bad, as users write them."""

import os
import random
import time


def add(a: int, b: int = 1) -> int:
    """Adds.

    Args:
        a: the first number
        b: the second number
    """
    return a + b


def untyped(a) -> int:  # type: ignore[no-untyped-def]
    """Adds.

    Args:
        a: a number
    """
    return int(a)


def undescribed(a: int) -> int:
    """Adds."""
    return a


def silent(a: int) -> int:
    return a


class Counter:
    """Tools, a state, a reward that is a method."""

    def __init__(self) -> None:
        self.value = 0

    def reset(self, goal: int, **rest: object) -> str | None:
        self.goal = goal
        return f" Count to {goal}."

    def increment(self, by: int) -> int:
        """Count on.

        Args:
            by: how far
        """
        self.value += by
        return self.value

    async def slowly(self, seconds: float) -> str:
        """Wait.

        Args:
            seconds: how long
        """
        time.sleep(seconds)
        return "done"

    def fail(self) -> str:
        """Fail."""
        raise RuntimeError("broken")

    def die(self) -> str:
        """Die."""
        os._exit(3)

    def grow(self) -> str:
        """Take memory without end."""
        taken = []
        while True:
            taken.append(bytearray(1 << 24))

    def speak(self, length: int) -> str:
        """Say a lot.

        Args:
            length: characters
        """
        return "x" * length

    def reward(self) -> float:
        return float(self.value == self.goal)


class Guess:
    """Turns, a secret that follows from the seed."""

    def reset(self, seed: int) -> str:
        self.secret = random.randrange(10)
        return "Guess a digit."

    def step(self, text: str) -> tuple[str, float, bool]:
        right = text.strip() == str(self.secret)
        return ("right" if right else "wrong"), float(right), right


class Columns:
    def reset(self, first: str, second: int = 2) -> str:
        return first

    def step(self, text: str) -> tuple[str, float, bool]:
        return text, 0.0, True


class NoReset:
    def tool(self, a: int) -> int:
        """A tool.

        Args:
            a: a number
        """
        return a


class NothingToDo:
    def reset(self) -> None: ...


class UntypedTool:
    def reset(self) -> None: ...

    def tool(self, a) -> int:  # type: ignore[no-untyped-def]
        """A tool.

        Args:
            a: a number
        """
        return int(a)


class WantsArguments:
    def __init__(self, path: str):
        self.path = path

    def reset(self) -> None: ...


class BadStep:
    def reset(self) -> str:
        return "go"

    def step(self, text: str) -> str | None:
        return text


class Unlike:
    """What it says first is not the same for all episodes of a prompt."""

    def reset(self) -> str:
        return f"Number {time.time_ns()} of {os.getpid()}"

    def step(self, text: str) -> tuple[str, float, bool]:
        return "", 0.0, True


class Luck:
    """Won with an `a` within three turns."""

    def reset(self) -> str:
        self.left = 3
        return "Say a."

    def step(self, text: str) -> tuple[str, float, bool]:
        self.left -= 1
        won = text == "a"
        return "no", float(won), won or not self.left


class Parity:
    """Two turns; the second is right where the bytes of both are odd in sum, as a random model's are sometimes."""

    def reset(self, prompt: str) -> str:
        self.said: list[str] = []
        return prompt + " Go on."

    def step(self, text: str) -> tuple[str, float, bool]:
        self.said.append(text)
        odd = sum("".join(self.said).encode()) % 2
        return f"You said {len(text)} characters.", float(odd), len(self.said) == 2

    def reward(self) -> float:
        return float(sum("".join(self.said).encode()) % 2)
