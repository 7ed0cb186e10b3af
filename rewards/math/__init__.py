"""Mathematics: answers compared with golds. See `rewards.math.grader`."""

from rewards.math.grader import Grader, equivalent, score

__all__ = ["Grader", "equivalent", "score"]
