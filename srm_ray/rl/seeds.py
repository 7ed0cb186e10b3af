"""Every completion's own seed."""

import hashlib


def completion_seed(run_seed: int, prompt_index: int, draw: int, sample: int) -> int:
    """A seed in 0 .. 2^63 - 1 from (run seed, prompt index, draw, sample index) alone."""
    key = f"{run_seed}/{prompt_index}/{draw}/{sample}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) >> 1


def continued_seed(seed: int, tokens: int) -> int:
    """The seed with which a completion of `seed` goes on after `tokens` tokens on another worker."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{tokens}".encode(), digest_size=8).digest()) >> 1
