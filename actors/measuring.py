"""What is measured of a model, on engines that this starts on Ray or on an endpoint: suites and environments.

Job --opened--> Opened: engines, graded on reward workers beside them
                        an endpoint, graded on reward workers alone
    --measure_suite, measure_episodes--> SuiteResult
"""

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from srm_ray.config.evaluate import EvaluateConfig
from srm_ray.config.lengths import context_for
from srm_ray.errors import UserError
from srm_ray.runs.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from actors.environment.measuring import Problems
    from actors.reward.grading import Grading
    from actors.reward.pool import RewardPool
    from srm_ray.evaluation.grading import Grader
    from srm_ray.evaluation.lm_eval.harness import Options
    from srm_ray.evaluation.results import Results, SuiteResult
    from srm_ray.evaluation.suites import Item, Suite
    from srm_ray.inference.completers import Sampling, Subject
    from srm_ray.model.loading import ModelInfo


@dataclass(frozen=True)
class Job:
    """What is measured, of any model. played: of the environment, where there is one."""

    config: EvaluateConfig
    suites: "list[Suite]"
    items: "dict[str, list[Item]]"
    played: "Problems | None" = None

    @property
    def sampling(self) -> "Sampling":
        from srm_ray.inference.completers import Sampling

        options = self.config.sampling
        return Sampling(options.temperature, options.max_new_tokens, options.top_p)

    @property
    def in_flight(self) -> int:
        """Requests at once that keep every engine full."""
        return 2 * self.config.engine.max_num_seqs * self.config.workers

    @property
    def with_code(self) -> tuple[str, ...]:
        """Suites whose answers are run."""
        return tuple(name for name, items in self.items.items() if any(item.kind == "code" for item in items))

    @property
    def grading(self) -> "Grading | None":
        """Of the reward workers; None where the harness or the environment's own rewards say what is right."""
        from actors.reward.grading import Grading

        if not self.items and not (self.played and self.played.graded):
            return None
        return Grading(self.config.grading, self.with_code)

    def harness_options(self) -> "Options":
        from srm_ray.evaluation.lm_eval.harness import Options

        config, prompt = self.config, self.config.prompt
        return Options(
            self.sampling,
            config.seed,
            config.limit,
            config.harness.bbh,
            config.harness.think_end,
            prompt.system,
            prompt.chat_template,
            self.in_flight,
        )

    def settings(self, suite: "Suite") -> dict[str, Any]:
        """Of a suite with our own graders: what two results must share to be compared."""
        from srm_ray.evaluation.evaluator import settings_of

        config = self.config
        if suite.kind == "environment":
            return self.settings_of_episodes()
        return settings_of(
            suite,
            self.items[suite.name],
            seed=config.seed,
            extract=config.grading.extract if suite.name == "gsm8k" else "final",
            sampling=config.sampling.model_dump(),
            prompt=config.prompt.model_dump(),
        )

    def settings_of_episodes(self) -> dict[str, Any]:
        from srm_ray.evaluation import episodes

        config, played = self.config, self.played
        assert played is not None, "an environment is measured"
        return {
            "problems": len(played.tasks),
            "problems_digest": episodes.digest(played.tasks),
            "seed": config.seed,
            "sampling": config.sampling.model_dump(),
            "system": config.prompt.system,
            "threshold": config.grading.threshold,
            "environment": config.environment.model_dump(include={"name", "max_turns", "max_turn_tokens"}),
            "tools": list(config.tools),
        }

    def check(self, parent: "str | Results | None") -> None:
        """Fail before the long work: problems that are not there, a parent that cannot be compared with."""
        from srm_ray.evaluation import tax
        from srm_ray.evaluation.lm_eval import harness

        for suite in self.suites:
            if suite.kind == "harness":
                harness.load(suite, self.config.data.path, self.harness_options())
        if isinstance(parent, str):
            from srm_ray.model.loading import open_model

            check_model(self.config, open_model(parent, self.config.chat_template))
        elif parent is not None:
            tax.check_measured(parent, [suite.name for suite in self.suites])
            for suite in self.suites:
                if suite.kind != "harness":
                    tax.check_same_settings(suite.name, suite.metric, self.settings(suite), parent.suites[suite.name])


def check_model(config: EvaluateConfig, info: "ModelInfo") -> None:
    """Raise `UserError`, before an engine starts, for a model that cannot be measured as `config` says."""
    from srm_ray.model.loading import require_attention

    require_attention(info)
    engine_context(config, info)
    if config.prompt.chat_template and not info.tokenizer.chat_template:
        raise UserError(
            f"{info.path} has no chat template: give --chat_template chatml, or a file that holds one; "
            "--prompt.chat_template false asks in plain text"
        )


def engine_context(config: EvaluateConfig, info: "ModelInfo") -> int:
    """Prompt + completion, tokens. Raises `UserError` above the model's own context."""
    asked, new, name = config.engine.max_model_len, config.sampling.max_new_tokens, "engine.max_model_len"
    return context_for(asked, new, info.own_context, origins=config.origins, name=name)


@dataclass(frozen=True)
class Opened:
    """A model that answers, and what grades its answers. info: None of an endpoint."""

    subject: "Subject"
    grader: "Grader"
    info: "ModelInfo | None" = None


@asynccontextmanager
async def opened(job: Job, model: str, info: "ModelInfo | None") -> "AsyncIterator[Opened]":
    """Engines and reward workers on Ray, or without `info` the endpoint and reward workers."""
    from srm_ray.inference.completers import Subject

    config = job.config
    if info is None:
        from srm_ray.evaluation.endpoint import Endpoint

        async with Endpoint(config.endpoint, model, config.api_key) as server, reward_workers(job) as graders:
            yield Opened(Subject(server), graders)
        return
    from actors.rollout.scoring import Engines, Prompting

    episodes = bool(config.environment.name or config.tools)
    prompting = Prompting(engine_context(config, info), config.prompt.chat_template, episodes)
    engines = Engines(info, config.engine, prompting, workers=config.workers, seed=config.seed, grading=job.grading)
    async with engines as completer:
        yield Opened(Subject(completer, completer, info.tokenizer), engines.grader, info)


@asynccontextmanager
async def reward_workers(job: Job) -> "AsyncIterator[Grader]":
    """Where something is graded, those that live as long as the block. Raises `UserError` where code is graded and no
    sandbox holds."""
    from actors.reward import grading
    from actors.runtime import cluster

    if job.grading is None:
        yield grading.LazyGrader(nobody)
        return
    cluster.connect()
    async with grading.started(job.grading) as pool:
        yield pool


async def nobody() -> "RewardPool":
    raise AssertionError("nothing here is graded")


async def measure_suite(job: Job, suite: "Suite", model: Opened, folder: RunFolder, position: str) -> "SuiteResult":
    from srm_ray.evaluation.evaluator import Evaluator
    from srm_ray.evaluation.lm_eval import harness

    config, samples = job.config, folder.path / "samples"
    if suite.kind == "harness":
        options = job.harness_options()
        return await harness.run(suite, config.data.path, model.subject, samples, position, options)
    evaluator = Evaluator(
        model.grader,
        job.sampling,
        seed=config.seed,
        samples=config.sampling.samples,
        prompt=config.prompt,
        in_flight=job.in_flight,
        extract=config.grading.extract,
    )
    completer = model.subject.completer
    return await evaluator.run(suite, job.items[suite.name], completer, samples, position, job.settings(suite))


async def measure_episodes(job: Job, suite: "Suite", model: Opened, folder: RunFolder, position: str) -> "SuiteResult":
    """The environment, played by the model's engines or by the endpoint."""
    from actors.environment import measuring
    from srm_ray.evaluation import episodes
    from srm_ray.evaluation.samples import SampleFile

    config, played = job.config, job.played
    assert played is not None, "an environment is measured"
    sessions = await measuring.opened_sessions(played.config)
    try:
        player: episodes.EpisodeModel
        subject, info = model.subject, model.info
        if info is None:
            player, prompts = measuring.server_player(played, sessions, subject, job.sampling)
        else:
            context = engine_context(config, info)
            player, prompts = measuring.engine_player(played, sessions, subject, info, job.sampling, context)
        judge = episodes.Judge(model.grader, played.contract.rewards, config.grading.threshold)
        evaluator = episodes.EpisodeEvaluator(judge, config.seed, min(job.in_flight, config.environment.at_once))
        file = SampleFile(folder.path / "samples" / f"{suite.name}.jsonl", config.sampling.samples)
        return await evaluator.run(suite, prompts, player, file, position, job.settings(suite))
    finally:
        sessions.close()
