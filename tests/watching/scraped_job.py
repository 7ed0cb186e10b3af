"""A job for Prometheus to scrape: the real loop with scripted workers, in a Ray of its own.

Runs until its standard input closes. python -m tests.watching.scraped_job RAY_FOLDER RUN_FOLDER
"""

import contextlib
import select
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import ray

from srm_ray.rl.types import Learned, TrainBatch
from tests.watching import scripted

# What only some runs have. Here every run has it, so that every panel has something to show.
SOMETIMES = (
    "policy/kl eval/accuracy eval/accuracy_low eval/accuracy_high time/eval time/checkpoint "
    "queue/groups_ready queue/groups_in_flight suite/mean suite/kept policy/importance_masked probe/accepted "
    "episode/turns episode/tool_calls episode/tool_errors episode/with_tools episode/failed time/environment "
    "environment/workers restarts/environment difficulty/tried difficulty/solved difficulty/failed "
    "policy/entropy_beta policy/entropy_threshold throughput/prefix_cached "
    "teacher/reverse_kl teacher/top_k_kl teacher/workers restarts/teacher "
    "judge/agreement judge/calls judge/failed judge/cost"
).split()
NOTHING_WRONG = {"episode/failed": 0.0, "time/environment": 0.0, "judge/failed": 0.0}


class WorkerGroups(scripted.WorkerGroups):
    async def learn(self, batch: TrainBatch, lr: float) -> Learned:
        learned = await super().learn(batch, lr)
        return replace(learned, metrics=dict.fromkeys(SOMETIMES, 1.0) | NOTHING_WRONG | learned.metrics)


@ray.remote(num_cpus=0)
class Worker:
    def ping(self) -> str:
        return "here"


def main(ray_folder: str, run_folder: str) -> None:
    ray.init(
        address="local", num_cpus=1, include_dashboard=True, dashboard_port=0, _temp_dir=ray_folder,
        log_to_driver=False, logging_level="ERROR", _system_config={"metrics_report_interval_ms": 1000},
    )  # fmt: skip
    worker = Worker.options(name="rollout-0").remote()
    ray.get(worker.ping.remote())

    def script(step: int) -> scripted.Step:
        """Ten quick steps with an alarm; the next waits for the end of standard input."""
        if step > 10:
            select.select([sys.stdin], [], [])
            raise EOFError
        return scripted.Step(entropy=0.001)

    config = scripted.config_of().model_copy(update={"steps": 11})
    with mock.patch.object(scripted, "WorkerGroups", WorkerGroups), contextlib.suppress(EOFError):
        scripted.run(Path(run_folder), script, config, ray=True)
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
