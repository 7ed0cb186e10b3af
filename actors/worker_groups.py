"""Everyone that a GRPO run employs: rollout, reward and learner actors, started together, ended together."""

import asyncio
from dataclasses import replace
from typing import Any

from actors.environment.episodes import EpisodePlan, Episodes
from actors.environment.pool import EnvironmentPool
from actors.learner.group import LearnerGroup
from actors.learner.spec import LearnerSpec
from actors.reward.pool import RewardPool
from actors.reward.spec import RewardSpec
from actors.rollout.engine_spec import USUAL_START, cores_each, episode_block, spec_of
from actors.rollout.pool import RolloutPool, TimeLimits
from actors.rollout.worker import EngineSpec
from actors.runtime import placement
from actors.runtime.compute import engine_dtype, learner_precision
from actors.runtime.placement import Need, resources
from actors.runtime.pool import Events, PoolOptions
from srm_ray.config.grpo import GRPOConfig, bounds
from srm_ray.console import hub
from srm_ray.console.progress import phase
from srm_ray.environments.episode import Generate
from srm_ray.environments.grading import for_graders, own_rewards, with_grades
from srm_ray.errors import LearnerLost, RunError
from srm_ray.inference.completers import Sampling
from srm_ray.rl.seeds import HELD_OUT, completion_seed, environment_seed
from srm_ray.rl.types import Completion, Group, Learned, Prompt, TrainBatch


class WorkerGroups:
    """The loop's workers. `async with WorkerGroups(...) as workers` starts them and ends them whatever happens.

    model: Hugging Face folder or hub name. context: prompt + completion, tokens. events: hears who died, joined or
    left. plan: how episodes of several turns are played; None: a completion is sampled in one go. spec and classes:
    another engine than vLLM's, for measurements.
    """

    def __init__(
        self,
        config: GRPOConfig,
        model: str,
        *,
        context: int,
        stop_token_ids: tuple[int, ...],
        events: Events = lambda event, **info: None,
        plan: EpisodePlan | None = None,
        spec: Any = None,
        **classes: Any,
    ):
        self.config = config
        self.asleep = False
        self.sampled = self.sampling_now = 0  # groups: since the last step, and under way
        self.reservation = placement.reserve(needs(config), strategy=config.placement)
        places = self.reservation.places
        rollout, learner, recovery = config.rollout, config.learner, config.recovery
        self.events = events
        self.rollouts = RolloutPool(
            PoolOptions(places["rollout"], bounds(rollout.workers), recovery, events),
            spec or engine_spec(config, model, context, stop_token_ids),
            limits=TimeLimits(rollout.start_timeout, config.weights.push_timeout),
            keep_partial=config.max_staleness > 0,
            share=lambda update: self.learner.share(update),
            **classes,
        )
        self.rewards = RewardPool(
            PoolOptions(places["reward"], bounds(config.reward.workers), recovery, events), reward_spec(config)
        )
        self.learner = LearnerGroup(
            learner.workers,
            learner_spec(config, model),
            max_new_tokens=rollout.max_new_tokens,
            mismatch_limit=config.weights.mismatch_limit,
            fresh_only=config.max_staleness > 0,
            recovery=recovery,
            places=places["learner"],
        )
        self.environments: EnvironmentPool | None = None
        self.episodes: Episodes | None = None
        if plan is not None:
            count = config.environment.workers
            self.environments = EnvironmentPool(
                PoolOptions(places["environment"], (count, count), recovery, events), plan.spec
            )
            self.episodes = Episodes(plan, self.environments)
        self.sampling = Sampling(rollout.temperature, rollout.max_new_tokens)
        self.greedy = Sampling(0.0, rollout.max_new_tokens)

    async def __aenter__(self) -> "WorkerGroups":
        config = self.config
        what = (
            f"starting {bounds(config.rollout.workers)[0]} rollout, {config.learner.workers} learner and "
            f"{bounds(config.reward.workers)[0]} reward worker(s)"
        )
        try:
            with phase(what, remember=True, usual=USUAL_START, status=self._started):
                await asyncio.gather(*(role.start() for role in self._roles))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        await asyncio.gather(*(role.close() for role in self._roles))
        self.reservation.release()

    @property
    def _roles(self) -> list[Any]:
        return [self.rollouts, self.learner, self.rewards, *([self.environments] if self.environments else [])]

    def _started(self) -> str:
        engines, ranks = self.rollouts.members, self.learner
        ready = sum(bool(member.info) for member in engines)
        learner = "ready" if ranks.info else ranks.doing() or "starting"
        started = f"{ready} of {len(engines)} engines ready, learner {learner}"
        return ", ".join(filter(None, [started, hub.downloaded(ranks.spec.model)]))

    def doing(self) -> str:
        """Where the step under way is, e.g. `sampling, 12 groups so far` or `learning from micro-batch 3 of 40`."""
        return self.learner.doing() or f"sampling, {self.sampled} groups so far, {self.sampling_now} under way"

    async def sample(self, prompt: Prompt, draw: int = 0) -> Group:
        """A group of completions from the current weights, unscored."""
        seeds = tuple(
            completion_seed(self.config.seed, prompt.index, draw, i) for i in range(self.config.rollout.group_size)
        )
        self.sampling_now += 1
        try:
            if self.episodes is None:
                group = Group(prompt, await self.rollouts.generate(prompt.token_ids, seeds, self.sampling), draw)
            else:
                chance = environment_seed(self.config.seed, prompt.index)
                group = await self.episodes.group(prompt, draw, seeds, chance, self._turns(self.sampling))
        finally:
            self.sampling_now -= 1
        self.sampled += 1
        return group

    async def answer(self, prompt: Prompt) -> Group:
        """One greedy completion, scored."""
        if self.episodes is None:
            return await self.score(Group(prompt, await self.rollouts.generate(prompt.token_ids, (0,), self.greedy)))
        chance = environment_seed(HELD_OUT, prompt.index)
        return await self.score(await self.episodes.group(prompt, 0, (0,), chance, self._turns(self.greedy)))

    def _turns(self, sampling: Sampling) -> Generate:
        """How a turn of an episode is sampled: where the one before was, whose engine has it in its cache."""

        async def turn(ids: tuple[int, ...], seed: int, most: int, worker: str) -> Completion:
            (sampled,) = await self.rollouts.generate(
                ids, (seed,), replace(sampling, max_new_tokens=most), prefer=worker
            )
            return sampled

        return turn

    async def score(self, group: Group) -> Group:
        """The group with rewards: of its environment where that has one, else of the graders."""
        if self.episodes is None:
            return await self.rewards.score(group)
        if self.episodes.plan.contract.rewards:
            return own_rewards(group, self.episodes.plan.threshold)
        graded = await self.rewards.score(for_graders(group))
        return with_grades(group, graded.rewards)

    async def learn(self, batch: TrainBatch, lr: float) -> Learned:
        """An optimizer step on the batch. Engines that share the GPU sleep until the next push."""
        if self.config.rollout.sleep:
            self.asleep = True
            await self.learner.unless_lost(self.rollouts.sleep())
        self.sampled = 0
        return await self.learner.step(batch, lr)

    async def push_weights(self, version: int) -> float:
        """The learner's weights to every rollout worker, as `version`. Returns the slowest load's seconds."""
        update = await self.learner.publish(version, elsewhere=bool(self.rollouts.nodes() - {self.learner.node}))
        if self.asleep:
            await self.rollouts.wake_up()
            self.asleep = False
        try:
            return await self.rollouts.push(update)
        except RunError:
            await self.learner.check()  # weights of a learner that died cannot be read
            raise

    async def restart_learner(self, lost: LearnerLost) -> None:
        """New ranks in place of those that died, with the model's first weights: load a checkpoint, then push."""
        self.events("restarted", role="learner", worker="learner", cause=str(lost))
        self.rollouts.forget()
        await self.learner.restart(lost)

    async def scale(self, rollouts: int | None = None, rewards: int | None = None) -> None:
        """Ask for other numbers of workers. Returns at once."""
        if rollouts is not None:
            await self.rollouts.pool.scale(rollouts)
        if rewards is not None:
            await self.rewards.pool.scale(rewards)

    def worker_counts(self) -> dict[str, int]:
        """Workers that serve or have not left yet, by role, as `srm_ray.scale` asks for them."""
        return {"rollouts": self.rollouts.pool.present(), "rewards": self.rewards.pool.present()}

    def describe(self) -> dict[str, float]:
        """Metrics of the workers: how many serve, and how many have been replaced so far."""
        return {
            "rollout/workers": len(self.rollouts.pool.serving()),
            "reward/workers": len(self.rewards.pool.serving()),
            **self._describe_environments(),
            "restarts/rollout": self.rollouts.pool.budget.total,
            "restarts/reward": self.rewards.pool.budget.total,
            "restarts/learner": self.learner.budget.total,
        }

    def _describe_environments(self) -> dict[str, float]:
        if self.environments is None:
            return {}
        pool = self.environments.pool
        return {"environment/workers": len(pool.serving()), "restarts/environment": pool.budget.total}


def needs(config: GRPOConfig, *, learns: bool = True, graded: bool = True) -> dict[str, Need]:
    """What a run starts with, by role. All but the learner may share nodes where `placement` is spread."""
    rollout, learner, reward = config.rollout, config.learner, config.reward
    found = {"rollout": Need(bounds(rollout.workers)[0], resources(rollout.cpus, rollout.gpus), "sampling")}
    if graded:
        found["reward"] = Need(bounds(reward.workers)[0], resources(reward.cpus), "sampling")
    if learns:
        found["learner"] = Need(learner.workers, resources(learner.cpus, learner.gpus), "learning")
    if learns and config.plays_episodes:
        found["environment"] = Need(config.environment.workers, resources(config.environment.cpus), "sampling")
    return found


def engine_spec(config: GRPOConfig, model: str, context: int, stop_token_ids: tuple[int, ...]) -> EngineSpec:
    return spec_of(
        config.rollout,
        model,
        context,
        stop_token_ids,
        seed=config.seed,
        workers=bounds(config.rollout.workers)[0],
        recompute_cache=config.rollout.cache_on_update == "recompute",
        sleep=config.rollout.sleep,
        transport=config.weights.transport,
        block_size=episode_block(config.rollout) if config.plays_episodes else 0,
    )


def learner_spec(config: GRPOConfig, model: str, *, threads: int | None = None) -> LearnerSpec:
    """threads: of each rank; None: as the config says."""
    options = config.learner
    options = options.model_copy(update={"precision": learner_precision(options)})
    return LearnerSpec(
        model=model,
        learner=options,
        loss=config.loss,
        algorithm=config.algorithm,
        temperature=config.rollout.temperature,
        seed=config.seed,
        threads=threads or options.threads or cores_each(options.workers),
        publish_dtype=engine_dtype(config.rollout, model),
        transport=config.weights.transport,
    )


def reward_spec(config: GRPOConfig) -> RewardSpec:
    options = config.reward
    used = {"length": bool(options.overlong_cache), "function": bool(options.function)}
    weights = {name: weight for name, weight in options.weights if weight and used.get(name, True)}
    return RewardSpec(
        weights=weights,
        math_timeout=options.timeout,
        code_timeout=options.timeout,
        function_timeout=options.timeout,
        allow_last_number=options.last_number,
        l_max=config.rollout.max_new_tokens,
        l_cache=options.overlong_cache,
        function=options.function,
        threshold=options.threshold,
        allow_unsafe=options.allow_unsafe,
        processes=options.processes,
    )
