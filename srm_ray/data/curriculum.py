"""Difficulty that rises with accuracy: which level of a source each prompt index is drawn at.

    graded groups -> share right at a source's current level -> a window's worth at raise_at? -> next level
                                                                for every index from the cursor on

What a prompt index is drawn at depends on the schedule alone, a list of (first index, level), which is saved
with the run: an index that is drawn again, or by a continued run, gives the same prompt.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from srm_ray.rl.step_metrics import metric_name
from srm_ray.rl.types import Group


@dataclass
class LevelSchedule:
    """One source's way up. schedule: (first prompt index, level), rising. right, seen: of the current window."""

    top: int
    schedule: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    right: int = 0
    seen: int = 0

    @property
    def level(self) -> int:
        return self.schedule[-1][1]

    def at(self, index: int) -> int:
        return next(level for first, level in reversed(self.schedule) if first <= index)


class Curriculum:
    """levels: number of levels of each source that has any."""

    def __init__(self, levels: dict[str, int], *, raise_at: float, window: int):
        self.raise_at, self.window = raise_at, window
        self.schedules = {name: LevelSchedule(count - 1) for name, count in levels.items() if count}

    @property
    def at_top(self) -> bool:
        """Whether no source has a harder level to come."""
        return all(one.level == one.top for one in self.schedules.values())

    def level(self, source: str, index: int) -> int:
        """The level that prompt `index` is drawn at; 0 for a source without levels."""
        return self.schedules[source].at(index) if source in self.schedules else 0

    def observe(self, groups: Iterable[Group], cursor: int) -> dict[str, int]:
        """Count the grades of a step; levels that this raised, by source, hold from prompt index `cursor` on.

        Completions that no grader could decide do not count, nor do groups of a level already passed.
        """
        for group in groups:
            one = self.schedules.get(group.prompt.source)
            if one is None or group.prompt.level != one.level:
                continue
            decided = [reward.correct for reward in group.rewards if reward.correct is not None]
            one.seen += len(decided)
            one.right += sum(decided)
        raised = {}
        for name, one in self.schedules.items():
            if one.seen < self.window:
                continue
            passed = one.right >= self.raise_at * one.seen
            one.right = one.seen = 0
            if passed and one.level < one.top:
                one.schedule.append((cursor, one.level + 1))
                raised[name] = one.level
        return raised

    def describe(self) -> dict[str, float]:
        return {f"curriculum/level/{metric_name(name)}": one.level for name, one in self.schedules.items()}

    def to_plain(self) -> dict[str, Any]:
        return {
            name: {"schedule": [list(entry) for entry in one.schedule], "right": one.right, "seen": one.seen}
            for name, one in self.schedules.items()
        }

    def restore(self, plain: dict[str, Any]) -> None:
        """As `to_plain` gave it; sources that it does not name go back to their beginning."""
        for name, one in self.schedules.items():
            saved = plain.get(name, {"schedule": [(0, 0)], "right": 0, "seen": 0})
            one.schedule = [(int(first), int(level)) for first, level in saved["schedule"]]
            one.right, one.seen = saved["right"], saved["seen"]
