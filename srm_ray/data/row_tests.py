"""Tests of code, by a row's columns, in the forms that `rewards.code` runs."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rewards.code.forms import COLUMNS, CONTEST, NAMES, of_row
from srm_ray.data.columns import Columns
from srm_ray.data.messages import from_json
from srm_ray.data.row_golds import at

CODE_COLUMNS = frozenset(
    {*COLUMNS, *NAMES, "test_imports", "test_setup_code", "challenge_test_list", "metadata", *CONTEST}
)
HOLDERS = frozenset({*COLUMNS, "reward_model"})  # columns in which tests may be


def tests_of(columns: Columns) -> tuple[Any, str | None]:
    """Tests of code in the forms that `rewards.code` knows, with their entry point; None where there are none."""
    row = {name: columns.row[own] for name, own in columns.names.items()}
    gold = from_json(at(columns, "reward_model.ground_truth"), "ground_truth")
    if looks_like_tests(gold):
        return gold, row.get("entry_point")
    if not looks_like_tests(row.get("ground_truth")):
        row.pop("ground_truth", None)
    if looks_numeric(row.get("verification_info")):
        row.pop("verification_info", None)
    tests, entry, _ = of_row(row)
    if tests is not None:
        columns.read |= {own for name, own in columns.names.items() if name in CODE_COLUMNS}
    return tests, entry


def looks_like_tests(value: Any) -> bool:
    """Whether a gold is tests of code rather than an answer."""
    value = from_json(value, "tests") if isinstance(value, str) else value
    if isinstance(value, Mapping):
        return bool({"inputs", "outputs", "test_cases", "fn_name", "test_list", "functional"} & set(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        known = {"stdin", "input", "args", "stdin_stdout", "fn_name"}
        return bool(value) and all(isinstance(one, Mapping) and known & set(one) for one in value)
    return isinstance(value, str) and bool(re.search(r"^\s*(?:assert\b|def (?:check|test_))", value, re.MULTILINE))


def looks_numeric(value: Any) -> bool:
    """Whether `verification_info` holds an answer (PrimeIntellect's mathematics) rather than tests."""
    value = from_json(value, "verification_info") if isinstance(value, str) else value
    if not isinstance(value, Mapping):
        return False
    answer = value.get("answer")
    return (isinstance(answer, Mapping) and "value" in answer) or (
        "ground_truth" in value and not looks_like_tests(value["ground_truth"])
    )
