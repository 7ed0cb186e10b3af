"""95 % confidence intervals of a share."""

import math
from dataclasses import asdict, dataclass
from typing import Any

Z = 1.959963984540054  # two-sided 95 %


@dataclass(frozen=True, slots=True)
class Share:
    """A share with its interval: value, low, high in 0..1, of n trials."""

    value: float
    low: float
    high: float
    n: int

    def to_plain(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


def wilson(successes: int, n: int) -> Share:
    """Wilson's score interval (Wilson 1927), which stays within 0..1 and is right for small n too."""
    if n == 0:
        return Share(0.0, 0.0, 1.0, 0)
    p = successes / n
    scale = 1 + Z * Z / n
    centre = (p + Z * Z / (2 * n)) / scale
    half = Z * math.sqrt(p * (1 - p) / n + Z * Z / (4 * n * n)) / scale
    # The bounds of none and all are exact, which rounding makes 4e-18 and 0.9999999999999999.
    return Share(p, max(0.0, centre - half) if successes else 0.0, min(1.0, centre + half) if successes < n else 1.0, n)
