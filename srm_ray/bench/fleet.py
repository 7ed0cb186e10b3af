"""Where the driver would stop scaling: its real stream and pools over hundreds of scripted rollout workers.

Scripted workers cost nothing, so that what is measured is the driver: processor time and memory for each
completion that passes through it, with every request in flight that real engines would have. A step takes a batch
and pushes (empty) weights to every worker.
"""

import asyncio
import resource
import time
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil

from srm_ray.bench.overlap import grade, prompt
from srm_ray.rl.sources import AsyncSource, Calls, Flight, KeepRate, SourceState

if TYPE_CHECKING:
    from actors.rollout.pool import RolloutPool
    from actors.rollout.scripted_engine import Script, ScriptedHosts
    from srm_ray.rl.types import Prompt

WORKERS, IN_FLIGHT, GROUP_SIZE, HOSTS = 256, 64, 8, 4
BATCH = 2  # groups of a step for each worker
STEPS = 40
SECONDS = 8.0  # that the longest completion takes


async def measure(workers: int = WORKERS) -> dict[str, Any]:
    from actors.rollout.scripted_engine import Script, scripted_hosts

    script = Script(96 / SECONDS, 96, max_num_seqs=IN_FLIGHT, max_model_len=160)
    with scripted_hosts(script, HOSTS) as hosts:
        found = await driven(workers, script, hosts)
    print(
        f"fleet     {workers} scripted workers, {found['in_flight']:,} requests in flight: driver "
        f"{1000 * found['seconds']:.3f} ms of processor time a completion "
        f"({found['completions_per_s']:,.0f} completions/s), memory {found['memory'] / 2**20:.0f} MiB, "
        f"grown by {found['growth'] / 2**20:.1f} MiB over the last {STEPS // 2} steps; "
        f"a push {found['push'] * 1000:.0f} ms",
        flush=True,
    )
    return {"workers": workers, **found}


async def driven(workers: int, script: "Script", hosts: "ScriptedHosts") -> dict[str, float]:
    """The pool and the stream of a run, over the workers that live in `hosts`."""
    from actors.rollout.pool import RolloutPool
    from actors.rollout.scripted_engine import HostedWorker
    from actors.runtime.placement import Places
    from actors.runtime.pool import PoolOptions
    from srm_ray.inference.completers import Sampling
    from srm_ray.rl.seeds import completion_seed
    from srm_ray.rl.types import Group

    def spawn_hosted(number: int, name: str, place: Any) -> HostedWorker:
        return HostedWorker(hosts[number % HOSTS], number)

    pool = RolloutPool(PoolOptions(Places({}), (workers, workers)), script, spawn=spawn_hosted)
    sampling = Sampling(1.0, 96)

    async def sample(prompt: "Prompt", draw: int) -> Group:
        seeds = tuple(completion_seed(0, prompt.index, draw, i) for i in range(GROUP_SIZE))
        return Group(prompt, await pool.generate(prompt.token_ids, seeds, sampling), draw)

    await pool.start()
    stream = AsyncSource(
        SourceState(),
        Calls(prompt, sample, grade),
        Flight(8, GROUP_SIZE, lambda: pool.capacity),
        version=0,
        want=BATCH * workers,
        limit=100 * BATCH * workers,
        keep_rate=KeepRate(1.0),
    )
    try:
        return await steps(stream, pool)
    finally:
        await stream.close()


async def steps(stream: AsyncSource, pool: "RolloutPool") -> dict[str, float]:
    """Take batches as a learner that needs no time would. The first half of the steps warms up."""
    from srm_ray.weights.flat import WeightUpdate

    process = psutil.Process()
    node = next(iter(pool.nodes()))
    done, most, pushes = 0, 0, []
    for step in range(STEPS):
        if step == STEPS // 2:
            used, began, memory = cpu(), time.perf_counter(), process.memory_info().rss
        collected = await stream.take()
        if step >= STEPS // 2:
            done += GROUP_SIZE * len(collected.graded)
            most = max(most, GROUP_SIZE * len(stream.in_flight))
        pushing = time.perf_counter()
        await pool.push(WeightUpdate(step + 1, "", node, "", ()))
        pushes.append(time.perf_counter() - pushing)
        stream.advance(step + 1)
    wall = time.perf_counter() - began
    now = process.memory_info().rss
    return {
        "seconds": (cpu() - used) / done,
        "completions_per_s": done / wall,
        "in_flight": most,
        "memory": now,
        "growth": now - memory,
        "push": median(pushes[STEPS // 2 :]),
    }


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> list[dict[str, Any]]:
    from actors.runtime import cluster

    cluster.connect()
    try:
        return [asyncio.run(measure(workers)) for workers in (WORKERS // 4, WORKERS)]
    finally:
        cluster.disconnect()
