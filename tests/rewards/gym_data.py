"""Tests with Reasoning Gym are skipped, loudly, where the extra `gym` is not installed."""

import json
from typing import Any

import pytest

from rewards.gym import GymTask, installed

needs_gym = pytest.mark.skipif(
    not installed(), reason="REASONING GYM MISSING (pip install 'srm-ray[gym]'); this test checked nothing"
)


def task(family: str, seed: int = 5, index: int = 0, **options: Any) -> GymTask:
    return GymTask(family, json.dumps(options, sort_keys=True), seed, index)
