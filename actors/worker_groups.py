"""Everyone that a GRPO run employs: rollout, reward and learner actors, started together, ended together."""

import asyncio
from dataclasses import replace
from typing import Protocol

from actors.environment.episodes import EpisodePlan, Episodes
from actors.environment.pool import EnvironmentPool
from actors.judge import opening as judge
from actors.judge.opening import open_judge
from actors.learner.group import LearnerGroup
from actors.learner.spec import LearnerSpec, Taught
from actors.reward.pool import RewardPool
from actors.reward.spec import OWN, RewardSpec
from actors.rollout.engine_spec import USUAL_START, EngineSpec, cores_each, episode_block, spec_of
from actors.rollout.pool import OtherEngine, RolloutPool, TimeLimits
from actors.rollout.scoring import ScoringWorker
from actors.rollout.worker import RolloutWorker
from actors.runtime import placement
from actors.runtime.compute import engine_dtype, learner_precision
from actors.runtime.placement import Need, resources
from actors.runtime.pool import OnEvent, PoolOptions
from actors.runtime.replies import WorkerCounts
from actors.teacher import opening as teacher
from actors.teacher.opening import open_teacher
from actors.teacher.scoring import EngineTeacher
from srm_ray.config.grpo import GRPOConfig, bounds
from srm_ray.console import hub
from srm_ray.console.progress import phase
from srm_ray.environments.episode import Generate
from srm_ray.environments.grading import for_graders, own_rewards, with_grades
from srm_ray.errors import LearnerLost, RunError
from srm_ray.files.roots import lasting
from srm_ray.inference.completers import Sampling
from srm_ray.rl.seeds import HELD_OUT, completion_seed, environment_seed
from srm_ray.rl.types import Completion, Group, Learned, Prompt, TrainBatch
from srm_ray.runs.folder import RunFolder


class Role(Protocol):
    """What the workers of any role are for a run's beginning and end."""

    async def start(self) -> object: ...

    async def close(self) -> None: ...


class WorkerGroups:
    """The loop's workers. `async with WorkerGroups(...) as workers` starts them and ends them whatever happens.

    model: Hugging Face folder or hub name. context: prompt + completion, tokens. on_event: called when one dies, joins
    or leaves. plan: how episodes of several turns are played; None: a completion is sampled in one go. engine:
    another one than vLLM's, for measurements.
    """

    def __init__(
        self,
        config: GRPOConfig,
        model: str,
        *,
        context: int,
        stop_token_ids: tuple[int, ...],
        on_event: OnEvent = lambda event, **info: None,
        plan: EpisodePlan | None = None,
        engine: OtherEngine | None = None,
    ):
        self.config = config
        self.asleep = False
        self.sampled = self.sampling_now = 0  # groups: since the last step, and under way
        self.reservation = placement.reserve(needs(config), strategy=config.placement)
        places = self.reservation.places
        rollout, learner, recovery = config.rollout, config.learner, config.recovery
        self.on_event = on_event
        worker_class = ScoringWorker if config.teacher.demonstration else RolloutWorker
        self.rollouts = RolloutPool(
            PoolOptions(places["rollout"], bounds(rollout.workers), recovery, on_event),
            engine.spec if engine else engine_spec(config, model, context, stop_token_ids),
            limits=TimeLimits(rollout.start_timeout, config.weights.push_timeout),
            keep_partial=config.max_staleness > 0,
            share=lambda update: self.learner.share(update),
            worker_class=engine.worker_class if engine else worker_class,
        )
        self.teacher = open_teacher(config, places, on_event, self.rollouts, context)
        self.rewards = RewardPool(
            PoolOptions(places["reward"], bounds(config.reward.workers), recovery, on_event), reward_spec(config)
        )
        run_folder = RunFolder(config.run_dir, stage="grpo").path
        self.judge = open_judge(config, places, on_event, run_folder / "judge")
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
                PoolOptions(places["environment"], (count, count), recovery, on_event), plan.spec
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
    def _roles(self) -> list[Role]:
        others: list[Role] = [role for role in (self.environments, self.teacher, self.judge) if role is not None]
        return [self.rollouts, self.learner, self.rewards, *others]

    def _started(self) -> str:
        engines, ranks = self.rollouts.members, self.learner
        ready = sum(member.info is not None for member in engines)
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
            return await self.grade(Group(prompt, await self.rollouts.generate(prompt.token_ids, (0,), self.greedy)))
        chance = environment_seed(HELD_OUT, prompt.index)
        return await self.grade(await self.episodes.group(prompt, 0, (0,), chance, self._turns(self.greedy)))

    def _turns(self, sampling: Sampling) -> Generate:
        """How a turn of an episode is sampled: where the one before was, whose engine has it in its cache."""

        async def turn(ids: tuple[int, ...], seed: int, most: int, worker: str) -> Completion:
            (sampled,) = await self.rollouts.generate(
                ids, (seed,), replace(sampling, max_new_tokens=most), prefer=worker
            )
            return sampled

        return turn

    async def score(self, group: Group) -> Group:
        """The group with rewards, and with what the teacher makes of it where there is one."""
        if self.teacher is None:
            return await self.grade(group)
        graded, scored = await asyncio.gather(self.grade(group), self.teacher.score(group))
        return replace(graded, completions=scored.completions)

    async def grade(self, group: Group) -> Group:
        """The group with rewards: of its environment where that has one, else of the graders."""
        if self.episodes is None:
            return await self._graded(group)
        if self.episodes.plan.contract.rewards:
            return own_rewards(group, self.episodes.plan.threshold)
        graded = await self._graded(for_graders(group))
        return with_grades(group, graded.rewards)

    async def _graded(self, group: Group) -> Group:
        return await self.rewards.score(group, await self.judge.verdicts(group) if self.judge else None)

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
        self.on_event("restarted", role="learner", worker="learner", cause=str(lost))
        self.rollouts.forget()
        await self.learner.restart(lost)

    async def scale(self, rollouts: int | None = None, rewards: int | None = None) -> None:
        """Ask for other numbers of workers. Returns at once."""
        if rollouts is not None:
            await self.rollouts.pool.scale(rollouts)
        if rewards is not None:
            await self.rewards.pool.scale(rewards)

    def worker_counts(self) -> WorkerCounts:
        """Who is there, as `srm_ray.scale` asks for them."""
        return WorkerCounts(rollouts=self.rollouts.pool.present(), rewards=self.rewards.pool.present())

    def describe(self) -> dict[str, float]:
        """Metrics of the workers: how many serve, and how many have been replaced so far."""
        return {
            "rollout/workers": len(self.rollouts.pool.serving()),
            "reward/workers": len(self.rewards.pool.serving()),
            **self._describe_environments(),
            **self._describe_teacher(),
            **(self.judge.describe() if self.judge else {}),
            "restarts/rollout": self.rollouts.pool.budget.total,
            "restarts/reward": self.rewards.pool.budget.total,
            "restarts/learner": self.learner.budget.total,
        }

    def _describe_teacher(self) -> dict[str, float]:
        if not isinstance(self.teacher, EngineTeacher) or not self.teacher.own:
            return {}
        pool = self.teacher.pool.pool
        return {"teacher/workers": len(pool.serving()), "restarts/teacher": pool.budget.total}

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
    if learns and judge.has_engines(config):
        found["judge"] = judge.need(config)
    if learns and teacher.has_engines(config):
        found["teacher"] = teacher.need(config)
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
        top=config.teacher.top_k if config.teacher.demonstration else 0,
    )


def learner_spec(config: GRPOConfig, model: str, *, threads: int | None = None) -> LearnerSpec:
    """threads: of each rank; None: as the config says."""
    options = config.learner
    options = options.model_copy(update={"precision": learner_precision(options)})
    return LearnerSpec(
        model=lasting(model),
        learner=options,
        loss=config.loss,
        algorithm=config.algorithm,
        temperature=config.rollout.temperature,
        seed=config.seed,
        threads=threads or options.threads or cores_each(options.workers),
        publish_dtype=engine_dtype(config.rollout, model),
        transport=config.weights.transport,
        teacher=Taught(config.teacher.weight, config.teacher.top_k) if config.teacher.teaches else None,
    )


def reward_spec(config: GRPOConfig) -> RewardSpec:
    options = config.reward
    used = {"length": bool(options.overlong_cache)} | {name: options.own == name for name in OWN}
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
        model=lasting(options.model.path),
        model_length=options.model.max_length,
        judged=options.judge.judges,
        check_share=options.check_share,
        threshold=options.threshold,
        allow_unsafe=options.allow_unsafe,
        processes=options.processes,
    )
