"""MBPP's rows, in the full form (`text`), the sanitized one (`prompt`, `test_imports`) and MBPP+ ("Mbpp/2"): the one
reader for training and for measuring.

Its files hold all of its splits, distinguished by task_id: rows of the split asked for are taken, and for training no
other than `train` may be.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from srm_ray.data.drops import Unusable
from srm_ray.errors import UserError

SPLITS = {"prompt": (1, 10), "test": (11, 510), "validation": (511, 600), "train": (601, 974)}  # task_id, both in

COLUMNS = frozenset(["text", "prompt", "test_list", "test_setup_code", "test_imports", "task_id"])


@dataclass(frozen=True, slots=True)
class MbppProblem:
    """text: what is asked. setup: statements that come before the tests. tests: asserts."""

    text: str
    setup: tuple[str, ...]
    tests: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """What training asks: the first test names the function, the others must be passed unseen."""
        return f"{self.text}\nYour code, in a Python block, must pass tests such as:\n{self.tests[0]}"

    @property
    def statements(self) -> list[str]:
        """What is run: the setup as one statement, then the tests."""
        return [*(["\n".join(self.setup)] if self.setup else []), *self.tests]


def is_mbpp(row: Any) -> bool:
    return isinstance(row, Mapping) and "test_list" in row and "task_id" in row


def in_split(task_id: Any, split: str, where: str, measuring: bool) -> bool:
    """Whether a row is of the split. Raises `UserError` for a split that is not there or is not for this."""
    if split not in SPLITS:
        raise UserError(f"{where}: MBPP has the splits {', '.join(SPLITS)}, not {split!r}")
    if split != "train" and not measuring:
        raise UserError(f"{where}: MBPP's split {split} is for measuring; train on split train (task_id 601 to 974)")
    found = re.fullmatch(r"(?:mbpp/)?(\d+)", str(task_id).strip(), re.IGNORECASE)
    if not found or isinstance(task_id, bool | float):
        raise UserError(f"{where}: MBPP's `task_id` must be a whole number or Mbpp/<number>, got {task_id!r}")
    low, high = SPLITS[split]
    return low <= int(found.group(1)) <= high


def problem_of(row: Mapping[str, Any]) -> MbppProblem:
    """Raises `Unusable`."""
    text, tests = row.get("text") or row.get("prompt"), row["test_list"]
    if not isinstance(text, str) or not text.strip():
        raise Unusable(f"MBPP's `text` is missing (found {', '.join(row)})")
    if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
        raise Unusable("MBPP's `test_list` must be a list of statements")
    setup = [row.get("test_setup_code") or "", *(row.get("test_imports") or [])]
    return MbppProblem(text.strip(), tuple(one for one in setup if one.strip()), tuple(tests))
