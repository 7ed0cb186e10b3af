"""Every completion's own seed, and every turn's."""

import hashlib

HELD_OUT = -1  # in place of the run's seed: held-out episodes are the same in every run


def completion_seed(run_seed: int, prompt_index: int, draw: int, sample: int) -> int:
    """A seed in 0 .. 2^63 - 1 from (run seed, prompt index, draw, sample index) alone."""
    return _digest(f"{run_seed}/{prompt_index}/{draw}/{sample}")


def continued_seed(seed: int, tokens: int) -> int:
    """The seed with which a completion of `seed` goes on after `tokens` tokens on another worker."""
    return _digest(f"{seed}/{tokens}")


def turn_seed(seed: int, turn: int) -> int:
    """The seed of turn 0, 1, ... of an episode that has `seed`; the first turn's is the episode's own."""
    return _digest(f"{seed}/turn/{turn}") if turn else seed


def environment_seed(run_seed: int, prompt_index: int) -> int:
    """What an environment's chance follows from, 0 .. 2^31 - 1: the same for all completions of a prompt, so that they
    meet the same task."""
    return _digest(f"{run_seed}/{prompt_index}/environment") >> 32


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) >> 1
