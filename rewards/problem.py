"""A problem as graders see it: what decides whether an answer is right."""

from dataclasses import dataclass, fields
from typing import Any

from rewards.gym import GymTask


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is right, and who says so. What else a problem has (its messages, its tokens) subclasses add.

    answer: gold answer, for the math and the text grader. Example: "72".
    tests: for the code grader (see `rewards.code`); entry_point: the function that they call.
    source: which data set it came from. Example: "gsm8k".
    grader: "math", "code", "text", "choice", "countdown" or "gym"; "": code where there are tests, else math.
    also_right: further gold answers for the math grader, each right by itself. Example: ("True",).
    given: what the problem gives and its grader needs: the choices of "choice", the numbers of "countdown".
    gym: the Reasoning Gym task, for its own scorer.
    row: the row that it was made from, every column, where a reward of the user's own decides; else None.
    """

    answer: str | None = None
    tests: Any = None
    entry_point: str | None = None
    source: str = ""
    grader: str = ""
    gym: GymTask | None = None
    row: dict[str, Any] | None = None
    also_right: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    def known(self) -> dict[str, Any]:
        """What a problem in another form is made with: the fields above, by name."""
        return {each.name: getattr(self, each.name) for each in fields(Problem)}

    @property
    def kind(self) -> str:
        """Whose it is to grade; "" where there is nothing to compare with."""
        if self.tests is None and self.answer is None and self.gym is None:
            return ""
        return self.grader or ("code" if self.tests is not None else "math")
