"""Guess the number: `--environment srm_ray.environments.guess:Guess`. A game of several turns with a hidden state.

Halving what is left finds a number below 100 in seven guesses, which is what a player has; the number follows from the
seed, so that all episodes of a prompt look for the same one. The last whole number of a turn, after its thinking, is
the guess.
"""

import random
import re

from rewards.extract import after_thinking


class Guess:
    """Won with the right number; a turn without a number is a guess lost."""

    def reset(self, seed: int, high: int = 100, guesses: int = 7) -> str:
        self.secret = random.Random(seed).randint(1, high)
        self.left = guesses
        return (
            f"I think of a whole number from 1 to {high}. You have {guesses} guesses; after each I say higher or "
            "lower. Answer with your guess alone."
        )

    def step(self, text: str) -> tuple[str, float, bool]:
        said = after_thinking(text)
        found = re.findall(r"-?\d+", said if said is not None else "")
        self.left -= 1
        guess = int(found[-1][:9]) if found else None
        if guess == self.secret:
            return "Right!", 1.0, True
        if not self.left:
            return f"It was {self.secret}.", 0.0, True
        hint = "That is no number." if guess is None else "Higher." if guess < self.secret else "Lower."
        return f"{hint} {self.left} left.", 0.0, False
