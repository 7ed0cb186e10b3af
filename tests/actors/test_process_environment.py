"""What a run sets in the environment of its processes, and what it leaves as it was."""

import os

import pytest

from actors.runtime import env

pytestmark = pytest.mark.integration


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"OMP_WAIT_POLICY": "ACTIVE", "LD_PRELOAD": "mine.so"})
    env.set_for_cluster()
    assert os.environ == {**env.CLUSTER, "OMP_WAIT_POLICY": "ACTIVE", "LD_PRELOAD": "mine.so"}
    assert env.of_learner(gpus=0) == {}


def test_ranks_with_gpus_keep_their_allocator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    assert env.of_learner(gpus=0)
    assert env.of_learner(gpus=1) == {}
