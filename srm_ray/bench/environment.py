"""Whether engines stay full while environments work: episodes of turns that take no time, and 200 ms each, in turns.

A pool of episodes is always under way, twice as many as the engines decode at once; each sampled turn has the same
number of tokens. What is compared are tokens a second, of rounds that take turns.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from srm_ray.config.engine import EngineConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.inference.completers import Sampling
from srm_ray.rl.types import Completion, Prompt

NAME = "srm_ray.bench.environment:Waits"
TURNS, TOKENS = 4, 24
ENGINES, AT_ONCE, UNDER_WAY = 2, 48, 192  # sequences that one engine decodes, episodes in all
SLEEP, ROUNDS, WARM_UP, SECONDS = 0.2, 3, 3.0, 12.0
CONTEXT = 320


class Waits:
    """`TURNS` turns, each answered after `sleep` seconds."""

    def reset(self, sleep: float) -> str:
        self.sleep, self.left = sleep, TURNS
        return "Begin, and say anything."

    def step(self, text: str) -> tuple[str, float, bool]:
        time.sleep(self.sleep)
        self.left -= 1
        return f"{self.left} left, go on.", 0.0, not self.left


@dataclass
class Round:
    """What was sampled in the measured part of a round."""

    begins: float
    ends: float
    tokens: int = 0
    asked: int = 0  # tokens of prompts
    cached: int = 0  # of these in the prefix cache

    def count(self, ids: Sequence[int], made: Completion) -> None:
        if self.begins <= time.monotonic() < self.ends:
            self.tokens += len(made.token_ids)
            self.asked += len(ids)
            self.cached += made.cached or 0


async def measure(model: str) -> dict[str, Any]:
    from actors.environment.check import contract_of, plan_of
    from actors.environment.episodes import Episodes
    from actors.environment.pool import EnvironmentPool
    from actors.rollout.scoring import Engines, Prompting
    from actors.runtime.compute import engine_dtype
    from actors.runtime.placement import Places
    from actors.runtime.pool import PoolOptions
    from srm_ray.model.loading import open_model

    info = open_model(model)
    config = GRPOConfig(model=model, environment={"name": NAME}, rollout={"max_new_tokens": CONTEXT - 64})  # type: ignore[arg-type]
    contract = await contract_of(config)
    assert contract is not None, "the environment is named"
    plan = plan_of(config, info, contract, 64)
    options = EngineConfig(max_num_seqs=AT_ONCE, cpus=0.5, kv_cache_gb=0.5)
    options = options.model_copy(update={"dtype": engine_dtype(options, info.path)})
    environments = EnvironmentPool(PoolOptions(Places({})), plan.spec)
    engines = Engines(info, options, Prompting(CONTEXT, episodes=True), workers=ENGINES, seed=0)
    async with engines as completer:
        try:
            await environments.start()
            pool, episodes = await completer.ready(), Episodes(plan, environments)
            rounds: dict[float, list[Round]] = {0.0: [], SLEEP: []}
            for number in range(ROUNDS):
                for sleep, found in rounds.items():
                    found.append(await one_round(pool, episodes, sleep, number))
        finally:
            await environments.close()
    return summary(rounds)


async def one_round(pool: Any, episodes: Any, sleep: float, number: int) -> Round:
    """Episodes one after the other in each of `UNDER_WAY` places, until the round is over."""
    began = time.monotonic()
    found = Round(began + WARM_UP, began + WARM_UP + SECONDS)
    sampling = Sampling(1.0, TOKENS, ignore_stop=True)

    async def turn(ids: tuple[int, ...], seed: int, most: int, worker: str) -> Completion:
        (made,) = await pool.generate(ids, (seed,), sampling, prefer=worker)
        found.count(ids, made)
        return replace(made, finish_reason="stop")

    async def place(index: int) -> None:
        played = 0
        while time.monotonic() < found.ends:
            seed = 1_000_000 * number + 1000 * index + played
            prompt = Prompt(index, (), "", row={"sleep": sleep})
            await episodes.group(prompt, 0, (seed,), seed, turn)
            played += 1

    await asyncio.gather(*(place(index) for index in range(UNDER_WAY)))
    return found


def summary(rounds: dict[float, list[Round]]) -> dict[str, Any]:
    rates = {sleep: [one.tokens / SECONDS for one in found] for sleep, found in rounds.items()}
    ratios = sorted(slow / quick for quick, slow in zip(rates[0.0], rates[SLEEP], strict=True))
    everything = [one for found in rounds.values() for one in found]
    cached = sum(one.cached for one in everything) / max(1, sum(one.asked for one in everything))
    result = {
        "tokens_per_s": median(rates[0.0]),
        "sleeping_tokens_per_s": median(rates[SLEEP]),
        "ratio": median(ratios),
        "ratios": ratios,
        "prefix_cached": cached,
    }
    print(
        f"environment {result['sleeping_tokens_per_s']:,.0f} tokens/s with environments that sleep {SLEEP:g} s a call, "
        f"{result['tokens_per_s']:,.0f} with such as do not: {result['ratio']:.2f}, median of {len(ratios)} pairs of "
        f"rounds, {ratios[0]:.2f} to {ratios[-1]:.2f}; {UNDER_WAY} episodes under way; {cached:.0%} of the prompts' "
        "tokens were in the prefix cache",
        flush=True,
    )
    return result


def main(model: str) -> dict[str, Any]:
    from actors.runtime import cluster
    from actors.train.warm_start import make_base_model
    from srm_ray.files.roots import cache_root

    cluster.connect()
    try:
        return asyncio.run(measure(model or str(make_base_model(cache_root() / "tiny-base", seed=3407))))
    finally:
        cluster.disconnect()
