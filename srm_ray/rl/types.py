"""One frozen dataclass for each hop of the loop: Prompt -> Completion -> Group -> TrainBatch -> Learned.

stream --Prompt--> rollout worker --Completion x G--> reward worker --Reward x G-->
driver --Group (with advantages)--> TrainBatch --> learner --Learned--> driver
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from rewards.problem import Problem
from rewards.verdict import Reward


@dataclass(frozen=True, slots=True)
class Prompt(Problem):
    """One problem, rendered.

    index: position in the task stream, unique in a run; orders every batch. Example: 1041.
    token_ids: the rendered prompt, ending with the generation prompt. Example: (6, 301, ...).
    text: the same as text, special tokens included.
    level: the difficulty that it was drawn at; 0 where its source has none. Example: 2.
    messages: the conversation before rendering, where an environment goes on with it; else ().
    shown_ids: the prompt that the policy is shown as its own teacher, with a demonstration in it; else ().
    """

    index: int
    token_ids: tuple[int, ...]
    text: str
    level: int = 0
    messages: tuple[dict[str, str], ...] = ()
    shown_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool, and what came of it.

    name, arguments: as the model wrote them; of a call that could not be read, "" and {}.
    result: what the model sees. error: the tool was not called, or raised; `result` says why. seconds: that it took.
    """

    name: str
    arguments: dict[str, Any]
    result: str = ""
    error: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of an episode: what was sampled, and the environment's reply.

    start, end: the turn's sampled tokens are `token_ids[start:end]` of its completion; what follows up to the next
        turn's start is the environment's.
    seed: the turn's own. text: decoded, without the stop token. worker: who sampled it.
    calls: of tools, in order. observation: what the environment's `step` returned; "" where tools are called instead.
    reward: of this step, or None. seconds: that the environment took. cached: see `Completion`, of this turn's prompt.
    """

    start: int
    end: int
    seed: int
    text: str
    worker: str
    calls: tuple[ToolCall, ...] = ()
    observation: str = ""
    reward: float | None = None
    seconds: float = 0.0
    cached: int | None = None


@dataclass(frozen=True, slots=True)
class Episode:
    """How a completion of several turns came about.

    reward: what the environment itself gives the episode; None where graders decide. correct: whether it is right, as
    the environment says itself, or None. failure: why the environment could not go on, a word of
    `rewards.verdict.REASONS`; "" where it could. truncated: "turns" or "tokens", the limit that ended it, or "".
    """

    turns: tuple[Turn, ...]
    reward: float | None = None
    correct: bool | None = None
    failure: str = ""
    truncated: str = ""

    def record(self) -> dict[str, Any]:
        """As JSON for a run's record, which is the same whenever the run is: without seconds and cached tokens."""
        plain = asdict(self)
        for turn in plain["turns"]:
            del turn["cached"]
            for timed in (turn, *turn["calls"]):
                del timed["seconds"]
        return plain

    @staticmethod
    def of(plain: dict[str, Any] | None) -> "Episode | None":
        """The episode of which `plain` is the JSON."""
        if plain is None:
            return None
        turns = [turn | {"calls": tuple(ToolCall(**call) for call in turn["calls"])} for turn in plain["turns"]]
        return Episode(**plain | {"turns": tuple(Turn(**turn) for turn in turns)})


@dataclass(frozen=True, slots=True)
class TeacherScores:
    """What a teacher makes of a completion's tokens, each given the tokens before it, at temperature 1.

    logprobs: of the tokens themselves. Shape [T], float32.
    top_ids, top_logprobs: the teacher's K likeliest tokens in each place. [T, K], int32 and float32; None where they
        were not asked for.
    """

    logprobs: np.ndarray
    top_ids: np.ndarray | None = None
    top_logprobs: np.ndarray | None = None

    def record(self) -> dict[str, Any]:
        """As JSON, whose floats read back bit for bit."""
        arrays = {name: getattr(self, name) for name in self.__slots__}
        return {name: None if array is None else array.tolist() for name, array in arrays.items()}

    @staticmethod
    def of(plain: dict[str, Any] | None) -> "TeacherScores | None":
        """The scores of which `plain` is the JSON."""
        if plain is None:
            return None
        logprobs, ids, top = plain["logprobs"], plain["top_ids"], plain["top_logprobs"]
        if ids is None:
            return TeacherScores(np.array(logprobs, np.float32))
        return TeacherScores(np.array(logprobs, np.float32), np.array(ids, np.int32), np.array(top, np.float32))


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled completion.

    token_ids: sampled tokens, the stop token included; of an episode those of the environment, too. Shape [T], int32.
    logprobs: log-probability of each token under the distribution it was sampled from. [T], float32.
    versions: weight version each token was sampled under. [T], int32.
    finish_reason: "stop" (ended by itself), "length" (cut at max_new_tokens), or, between rollout workers
        only, "abort" (handed back unfinished).
    seed: the request's own seed.
    text: decoded, without the stop token (stripped by id).
    worker: name of the rollout worker. Example: "rollout-0".
    episode: its turns, where an environment took part; None: all tokens were sampled in one go. The environment's
        tokens have the log-probability 0 and the version of the token before them.
    cached: tokens of the prompt that the engine had in its prefix cache; None of an episode, and where not known.
    teacher: what the run's teacher makes of it; None where there is none.
    """

    token_ids: np.ndarray
    logprobs: np.ndarray
    versions: np.ndarray
    finish_reason: str
    seed: int
    text: str
    worker: str
    episode: Episode | None = None
    cached: int | None = None
    teacher: TeacherScores | None = None

    @property
    def truncated(self) -> bool:
        return self.finish_reason == "length"

    @property
    def oldest_version(self) -> int:
        return int(self.versions.min()) if len(self.versions) else 0

    @property
    def sampled_T(self) -> np.ndarray | None:
        """[T] bool, False on the environment's tokens; None where there are none."""
        if self.episode is None:
            return None
        mask = np.zeros(len(self.token_ids), bool)
        for turn in self.episode.turns:
            mask[turn.start : turn.end] = True
        return mask

    @property
    def sampled_tokens(self) -> int:
        """How many tokens the policy sampled: those that the loss and its denominator count."""
        if self.episode is None:
            return len(self.token_ids)
        return sum(turn.end - turn.start for turn in self.episode.turns)


@dataclass(frozen=True, slots=True)
class Group:
    """The G completions of one prompt, and, once scored, their rewards and advantages.

    draw: how often this prompt index had been drawn before (0, 1, ...); part of every seed.
    rewards: one per completion, or () before scoring.
    advantages: shape [G], float32, or None before they are computed.
    """

    prompt: Prompt
    completions: tuple[Completion, ...]
    draw: int = 0
    rewards: tuple[Reward, ...] = ()
    advantages: np.ndarray | None = field(default=None)

    @property
    def oldest_version(self) -> int:
        """Weight version of the oldest token: what the group's staleness counts from."""
        versions = [completion.oldest_version for completion in self.completions if len(completion.versions)]
        return min(versions, default=0)


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """The groups of one optimizer step, ordered by prompt index.

    groups: every group scored and with advantages.
    version: the weight version that the learner holds before this step. Example: 41.
    entropy_beta: weight of the entropy bonus. Example: 0.005.
    """

    groups: tuple[Group, ...]
    version: int
    entropy_beta: float = 0.0

    @property
    def completions(self) -> list[Completion]:
        return [completion for group in self.groups for completion in group.completions]


@dataclass(frozen=True, slots=True)
class Learned:
    """What one optimizer step made of a `TrainBatch`.

    metrics: by name (srm_ray.runs.metrics).
    logprobs: the learner's log-probability of every token before the step, laid out as the batch:
        [group][completion], each [T] float32; 0 for tokens of an environment.
    """

    metrics: dict[str, float]
    logprobs: tuple[tuple[np.ndarray, ...], ...]
