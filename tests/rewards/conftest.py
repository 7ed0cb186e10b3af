"""Graders that several files of tests share."""

from collections.abc import Iterator

import pytest

from rewards.code import Grader
from rewards.code.sandbox import Limits
from tests.rewards.in_process import InProcess


@pytest.fixture(scope="module")
def in_process() -> Iterator[InProcess]:
    """Of mathematics."""
    ours = InProcess()
    yield ours
    ours.close()


@pytest.fixture(scope="module")
def code_grader() -> Iterator[Grader]:
    """One sandbox, 3 s a candidate."""
    ours = Grader(1, Limits(seconds=3.0))
    yield ours
    ours.close()
