"""A model's engines, or an endpoint, as what is measured on an environment (`srm_ray.evaluation.episodes`).

    Problems (rows as tasks, the environment's contract) --of a model--> prompts, EnginePlayer
                                                         --of a server--> prompts, EndpointPlayer

Environments are processes of this command's own (`srm_ray.environments.sessions`).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from actors.environment.check import contract_of, plan_of, spec_of
from actors.environment.episodes import EpisodePlan, Episodes
from rewards.extract import opened_thinking
from srm_ray.config.evaluate import EvaluateConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.data.prompts import with_system
from srm_ray.data.tasks import Task
from srm_ray.environments.contract import Contract
from srm_ray.environments.dialogue import Ask, converse
from srm_ray.environments.episode import Limits
from srm_ray.environments.prompts import Asked, check_columns, held_out_tasks, rendered, row_of
from srm_ray.environments.rendering import opening
from srm_ray.environments.sessions import EpisodeFailed, Sessions
from srm_ray.errors import UserError
from srm_ray.evaluation.episodes import EPISODES, Played
from srm_ray.inference.completers import Sampling, Subject
from srm_ray.model.loading import ModelInfo
from srm_ray.rl.types import Completion, Episode, Prompt

if TYPE_CHECKING:
    from actors.rollout.pool import RolloutPool


@dataclass(frozen=True)
class Problems:
    """What is measured, of any model. config: as of a run that plays (`EvaluateConfig.playing`)."""

    config: GRPOConfig
    contract: Contract
    tasks: tuple[Task, ...]

    @property
    def graded(self) -> bool:
        """Whether graders decide, since the environment has no rewards."""
        return not self.contract.rewards


async def problems_of(config: EvaluateConfig) -> Problems:
    """Raises `UserError` for an environment that is none, and rows that cannot be used."""
    playing = config.playing()
    contract = await contract_of(playing)
    assert contract is not None, "the config names an environment or tools"
    name, graded, most = playing.environment.name, not contract.rewards, config.limit or EPISODES
    found = held_out_tasks(playing.data, name, graded, most, option="rows")
    if not found:
        raise UserError("no problems: --rows names no rows to measure with (rows.path, or a generator)")
    return Problems(playing, contract, tuple(found))


def plan_and_prompts(problems: Problems, info: ModelInfo, most: int, context: int) -> tuple[EpisodePlan, list[Prompt]]:
    """How this model plays, and what it is asked. most, context: tokens of an episode, and with its prompt; where the
    first is no less it is half of the second. Raises `UserError`."""
    config, contract = problems.config, problems.contract
    most = most if most < context else context // 2
    rollout = config.rollout.model_copy(update={"max_new_tokens": most})
    config = config.model_copy(update={"rollout": rollout})
    plan = plan_of(config, info, contract, context - most)
    limited = "lower sampling.max_new_tokens or raise engine.max_model_len"
    asked = Asked(plan.renderer, contract, config.environment.name, problems.graded, context - most, limited)
    return plan, rendered(list(problems.tasks), asked, config.data.system)


def engine_player(
    problems: Problems, sessions: Sessions, subject: Subject, info: ModelInfo, sampling: Sampling, context: int
) -> "tuple[EnginePlayer, list[Prompt]]":
    """A model's engines, and what they are asked. context: prompt + episode, tokens."""
    from actors.rollout.scoring import PoolCompleter

    assert isinstance(subject.completer, PoolCompleter), "engines answer"
    plan, prompts = plan_and_prompts(problems, info, sampling.max_new_tokens, context)
    return EnginePlayer(plan, sessions, subject.completer.ready, sampling), prompts


def server_player(
    problems: Problems, sessions: Sessions, subject: Subject, sampling: Sampling
) -> "tuple[EndpointPlayer, list[Prompt]]":
    """As `engine_player`, of an endpoint, which renders itself."""
    from srm_ray.evaluation.endpoint import Endpoint

    assert isinstance(subject.completer, Endpoint), "a server answers"
    ask, limits = subject.completer.asking(sampling), limits_of(problems.config)
    system = problems.config.data.system
    prompts = [plain_prompt(task, index, problems.contract, system) for index, task in enumerate(problems.tasks)]
    return EndpointPlayer(problems.contract, sessions, ask, limits), prompts


class EnginePlayer:
    """Engines play token by token. ready: gives their pool, and starts it first."""

    def __init__(
        self, plan: EpisodePlan, sessions: Sessions, ready: "Callable[[], Awaitable[RolloutPool]]", sampling: Sampling
    ):
        self.plan, self.ready, self.sampling = plan, ready, sampling
        self.episodes = Episodes(plan, sessions)

    async def play(self, prompt: Prompt, seeds: Sequence[int], environment_seed: int) -> list[Played]:
        pool = await self.ready()

        async def turn(ids: tuple[int, ...], seed: int, most: int, worker: str) -> Completion:
            (one,) = await pool.generate(ids, (seed,), replace(self.sampling, max_new_tokens=most), prefer=worker)
            return one

        group = await self.episodes.group(prompt, 0, seeds, environment_seed, turn)
        return [played_of(group.prompt.text, one) for one in group.completions]


def played_of(prompt: str, completion: Completion) -> Played:
    episode = completion.episode or Episode(())
    last = episode.turns[-1].text if episode.turns else ""
    return Played(
        prompt, completion.text, opened_thinking(prompt) + last, completion.sampled_tokens, completion.seed, episode
    )


class EndpointPlayer:
    """A server plays by messages."""

    def __init__(self, contract: Contract, sessions: Sessions, ask: Ask, limits: Limits):
        self.contract, self.sessions, self.ask, self.limits = contract, sessions, ask, limits

    async def play(self, prompt: Prompt, seeds: Sequence[int], environment_seed: int) -> list[Played]:
        return [await self._once(prompt, seed, environment_seed) for seed in seeds]

    async def _once(self, prompt: Prompt, seed: int, environment_seed: int) -> Played:
        async with self.sessions.player() as player:
            try:
                observation = await player.reset(row_of(prompt), environment_seed)
            except EpisodeFailed as failed:
                return Played("", "", "", 0, seed, Episode((), failure=failed.reason))
            begun = opening(prompt.messages, observation, self.contract.kind)
            made = await converse(player, self.ask, self.contract, begun, self.limits, seed)
        shown = [f"[{one['role']}]\n{words_of(one)}" for one in made.messages]
        text = "\n\n".join(shown[len(begun) :])
        return Played("\n\n".join(shown[: len(begun)]) + "\n\n", text, made.words, made.tokens_out, seed, made.episode)


def words_of(message: dict[str, Any]) -> str:
    calls = [f"{call['function']['name']}({call['function']['arguments']})" for call in message.get("tool_calls", ())]
    return "\n".join(filter(None, [message["content"], *calls]))


def plain_prompt(task: Task, index: int, contract: Contract, system: str) -> Prompt:
    """A task as a prompt that nobody renders here. Raises `UserError` for a row that `reset` does not take."""
    check_columns(contract, task)
    messages = with_system(task.messages, system) if task.messages else []
    text = "\n".join(message["content"] for message in messages)
    return Prompt(index, (), text, messages=tuple(messages), **task.known())


async def opened_sessions(config: GRPOConfig) -> Sessions:
    sessions = Sessions(spec_of(config))
    await sessions.start()
    return sessions


def limits_of(config: GRPOConfig) -> Limits:
    options = config.environment
    return Limits(options.max_turns, options.max_turn_tokens, config.rollout.max_new_tokens)
