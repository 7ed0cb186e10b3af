"""A model measured on an environment: every problem is played `samples` times, many at once.

    prompts --seeds--> EpisodeModel --> Played --its environment's reward, or a Grader--> lines of a SampleFile
        --> SuiteResult: pass@k, and by episode turns, calls, errors, reward

What an episode begins from, its seed and its environment's follow from (seed, problem, sample) alone. Environments of
evaluations have seeds that no training has (`HELD_OUT`), the same in every command.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rewards.extract import after_thinking, boxed
from rewards.verdict import Reward
from srm_ray.environments.grading import own_reward
from srm_ray.evaluation import suites
from srm_ray.evaluation.evaluator import each
from srm_ray.evaluation.grading import Grader
from srm_ray.evaluation.progress import suite_progress
from srm_ray.evaluation.results import SuiteResult, summarise
from srm_ray.evaluation.samples import Line, SampleFile
from srm_ray.evaluation.suites import Suite
from srm_ray.rl.seeds import HELD_OUT, completion_seed, environment_seed
from srm_ray.rl.types import Episode, Prompt

EPISODES = 200  # problems where data has no end and nothing is asked for
TASK = "environment"


@dataclass(frozen=True, slots=True)
class Played:
    """One episode. prompt, text: what it began from and all that followed, as far as it is known; last: the last turn,
    with the opening of its thinking. tokens: that the model sampled."""

    prompt: str
    text: str
    last: str
    tokens: int
    seed: int
    episode: Episode


class EpisodeModel(Protocol):
    async def play(self, prompt: Prompt, seeds: Sequence[int], environment_seed: int) -> list[Played]:
        """An episode for each seed."""
        ...


def suite_of(name: str, tools: Sequence[str]) -> Suite:
    """The environment as a suite, by the name of its class, or of its tools."""
    named = name or "+".join(tool.rpartition(":")[2] for tool in tools)
    return Suite(named.rpartition(":")[2], "environment", instructed=False)


def digest(prompts: Sequence[Any]) -> str:
    """Of what is asked. prompts: or tasks."""
    return suites.digest([[list(one.messages), one.answer, one.row] for one in prompts])


@dataclass(frozen=True)
class Judge:
    """Says what an episode is worth: the environment itself where it has rewards, else the graders for the last turn.

    threshold: above it an environment's reward is right, unless it says so itself.
    """

    grader: Grader
    own: bool
    threshold: float

    async def reward(self, prompt: Prompt, played: Played) -> Reward:
        if self.own or played.episode.failure:
            return own_reward(played.episode, self.threshold)
        cut = bool(played.episode.truncated)
        verdict = await self.grader.grade(prompt, prompt.text, played.last, truncated=cut)
        return Reward(float(verdict.correct is True), verdict.correct, verdict.reason)


@dataclass(frozen=True)
class EpisodeEvaluator:
    """How problems are played and judged: everything but the model. in_flight: episodes under way at once."""

    judge: Judge
    seed: int
    in_flight: int

    async def run(
        self,
        suite: Suite,
        prompts: Sequence[Prompt],
        model: EpisodeModel,
        file: SampleFile,
        position: str,
        settings: dict[str, Any],
    ) -> SuiteResult:
        """Play what `file` does not hold yet; the result of all."""
        todo = [prompt for prompt in prompts if prompt.index not in file.done]
        with suite_progress(suite.name, position, len(prompts), len(prompts) - len(todo)) as progress:

            async def one(prompt: Prompt) -> None:
                seeds = [completion_seed(self.seed, prompt.index, 0, sample) for sample in range(file.n)]
                episodes = await model.play(prompt, seeds, environment_seed(HELD_OUT, prompt.index))
                rewards = [await self.judge.reward(prompt, played) for played in episodes]
                pairs = enumerate(zip(episodes, rewards, strict=True))
                file.add(prompt.index, [line(prompt, n, played, reward) for n, (played, reward) in pairs])
                right = sum(reward.correct is True for reward in rewards) / len(rewards)
                progress.add(right, sum(played.tokens for played in episodes))

            await each(todo, one, max(1, self.in_flight // file.n))
        lines = file.finish([prompt.index for prompt in prompts])
        return summarise(suite.name, suite.metric, lines, settings, seed=self.seed)


def line(prompt: Prompt, sample: int, played: Played, reward: Reward) -> Line:
    """As of a completion (`samples.lines_of`), with the episode turn by turn."""
    visible = after_thinking(played.last)
    return {
        "prompt_index": prompt.index,
        "draw": 0,
        "sample": sample,
        "prompt": played.prompt,
        "completion": played.text,
        "gold": prompt.answer,
        "reward": reward.value,
        "correct": reward.correct,
        "reason": reward.reason,
        "parts": reward.parts,
        "advantage": 0.0,
        "kept": True,
        "finish_reason": "length" if played.episode.truncated else "stop",
        "seed": played.seed,
        "versions": [],
        "tokens": played.tokens,
        "answer": None,
        "group": None,
        "finished": visible is not None and not played.episode.truncated,
        "boxed": bool(boxed(visible or "")),
        "episode": played.episode.record(),
    }
