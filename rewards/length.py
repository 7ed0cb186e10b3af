"""Length reward: DAPO's soft overlong penalty (arXiv 2503.14476, equation 13), in tokens.

n <= l_max - l_cache            0
l_max - l_cache < n <= l_max    ((l_max - l_cache) - n) / l_cache, down to -1
l_max < n                       -1
"""


def score(tokens: int, l_max: int, l_cache: int) -> float:
    """Penalty in [-1, 0] for a completion of `tokens` tokens (the stop token included).

    l_max: tokens at which the penalty reaches -1; l_cache: width of the ramp, in tokens (0: a step
    from 0 to -1 just above l_max). Raises ValueError unless 0 <= l_cache <= l_max and tokens >= 0.
    """
    if tokens < 0 or not 0 <= l_cache <= l_max:
        raise ValueError(f"tokens >= 0 and 0 <= l_cache <= l_max are needed, got {tokens}, {l_cache}, {l_max}")
    free = l_max - l_cache
    if tokens <= free:
        return 0.0
    return max(-1.0, (free - tokens) / l_cache) if l_cache else -1.0
