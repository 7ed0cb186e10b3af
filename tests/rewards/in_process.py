"""The math grader without its processes, for tests of what it says: nothing in them hangs."""

from typing import Any

from rewards.math.grader import Grader
from rewards.math.worker import compare_pair, fallback_pair


class InProcess(Grader):
    """Compares in the caller's own process."""

    def ask(self, pool: Any, pairs: list[tuple[str, str]], question: str) -> list[Any]:
        compare = compare_pair if pool is self.own else fallback_pair
        return [compare(answer, gold, question) for answer, gold in pairs]
