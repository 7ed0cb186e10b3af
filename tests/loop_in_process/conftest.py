"""What these runs need not wait for."""

import os

import pytest


@pytest.fixture(autouse=True)
def no_power_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is killed here, so nothing must reach the disk itself: that takes most of the time."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
