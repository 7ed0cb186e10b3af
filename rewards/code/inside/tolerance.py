"""How far a number may be from the one that is expected: of what a program prints, and of what a call returns."""

TOLERANCE = 1e-6


def within(value, expected, tolerance=TOLERANCE):
    """Relatively for numbers below 1, absolutely from there on, and by its millionth relatively above a million."""
    size = abs(expected)
    try:
        return size < float("inf") and abs(value - expected) <= tolerance * max(min(1.0, size), 1e-6 * size, 1e-6)
    except OverflowError:  # a whole number that is no float
        return False
