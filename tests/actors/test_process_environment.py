"""Which allocator a run's processes have: their memory stays as it is after the first minutes (see bench's soak)."""

import os
from pathlib import Path

import psutil
import pytest
import ray

from actors import process_environment


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"OMP_WAIT_POLICY": "ACTIVE", "LD_PRELOAD": "mine.so"})
    process_environment.set_for_cluster()
    assert os.environ == {**process_environment.CLUSTER, "OMP_WAIT_POLICY": "ACTIVE", "LD_PRELOAD": "mine.so"}
    assert process_environment.of_learner(gpus=0) == {}


def test_a_learner_on_a_cpu_has_its_own_allocator_and_not_the_raylets_settings(ray_session: None) -> None:
    @ray.remote(num_cpus=0)
    class Rank:
        def environment(self) -> dict[str, str]:
            assert "libjemalloc" in Path("/proc/self/maps").read_text()
            return dict(psutil.Process().environ())

    assert process_environment.of_learner(gpus=1) == {}
    rank = Rank.options(runtime_env={"env_vars": process_environment.of_learner(gpus=0)}).remote()
    assert ray.get(rank.environment.remote())["MALLOC_CONF"] == "tcache:true"
    ray.kill(rank)
