"""Guess the number: `--environment srm_ray.environments.guess:Guess`. A game of several turns with a hidden state.

Halving what is left finds a number up to 31 in five guesses, which is what a player has; the number follows from the
seed, so that all episodes of a prompt look for the same one. The last whole number of a turn, after its thinking, is
the guess.
"""

import random
import re

from rewards.extract import after_thinking


class Guess:
    """Won with the right number; a turn without a number is a guess lost."""

    def reset(self, seed: int, high: int = 31, guesses: int = 5) -> str:
        self.secret, self.low, self.high = random.Random(seed).randint(1, high), 1, high
        self.guesses = guesses
        return (
            f"I think of a whole number. You have {guesses} guesses; after each I say higher or lower, and what is "
            f"left. Answer with your guess alone: {self._left()}"
        )

    def step(self, text: str) -> tuple[str, float, bool]:
        visible = after_thinking(text)
        found = re.findall(r"-?\d+", visible if visible is not None else "")
        self.guesses -= 1
        guess = int(found[-1][:9]) if found else None
        if guess == self.secret:
            return "Right!", 1.0, True
        if not self.guesses:
            return f"It was {self.secret}.", 0.0, True
        if guess is None:
            return f"That is no number: {self._left()}", 0.0, False
        if guess < self.secret:
            self.low = max(self.low, guess + 1)
            return f"Higher: {self._left()}", 0.0, False
        self.high = min(self.high, guess - 1)
        return f"Lower: {self._left()}", 0.0, False

    def _left(self) -> str:
        return f"{self.low} to {self.high}."
