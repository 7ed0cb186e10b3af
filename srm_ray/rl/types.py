"""One frozen dataclass for each hop of the loop: Prompt -> Completion -> Group -> TrainBatch -> Learned.

stream --Prompt--> rollout worker --Completion x G--> reward worker --Reward x G-->
driver --Group (with advantages)--> TrainBatch --> learner --Learned--> driver
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rewards.gym import GymTask
from rewards.verdict import Reward


@dataclass(frozen=True, slots=True)
class Prompt:
    """One problem, rendered.

    index: position in the task stream, unique in a run; orders every batch. Example: 1041.
    token_ids: the rendered prompt, ending with the generation prompt. Example: (6, 301, ...).
    text: the same as text, special tokens included.
    answer: gold answer for the math grader, or None. Example: "72".
    tests: tests for the code grader (see rewards.code), or None.
    entry_point: function that code tests call, or None.
    source: which dataset it came from. Example: "gsm8k".
    grader: "math", "code", "text", "choice", "countdown" or "gym"; "": code where there are tests, else math.
    also_right: further gold answers for the math grader, each right by itself. Example: ("True",).
    given: what the problem gives and its grader needs: the choices of "choice", the numbers of "countdown".
    gym: the Reasoning Gym task, for its own scorer, or None.
    row: the row that it was made from, every column, where a reward of the user's own decides; else None.
    level: the difficulty that it was drawn at; 0 where its source has none. Example: 2.
    """

    index: int
    token_ids: tuple[int, ...]
    text: str
    answer: str | None = None
    tests: Any = None
    entry_point: str | None = None
    source: str = ""
    grader: str = ""
    gym: GymTask | None = None
    row: dict[str, Any] | None = None
    level: int = 0
    also_right: tuple[str, ...] = ()
    given: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled completion.

    token_ids: sampled tokens, the stop token included. Shape [T], int32.
    logprobs: log-probability of each token under the distribution it was sampled from. [T], float32.
    versions: weight version each token was sampled under. [T], int32.
    finish_reason: "stop" (ended by itself), "length" (cut at max_new_tokens), or, between rollout workers
        only, "abort" (handed back unfinished).
    seed: the request's own seed.
    text: decoded, without the stop token (stripped by id).
    worker: name of the rollout worker. Example: "rollout-0".
    """

    token_ids: np.ndarray
    logprobs: np.ndarray
    versions: np.ndarray
    finish_reason: str
    seed: int
    text: str
    worker: str

    @property
    def truncated(self) -> bool:
        return self.finish_reason == "length"

    @property
    def oldest_version(self) -> int:
        return int(self.versions.min()) if len(self.versions) else 0


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
        return min(completion.oldest_version for completion in self.completions)


@dataclass(frozen=True, slots=True)
class TrainBatch:
    """The groups of one optimizer step, ordered by prompt index.

    groups: every group scored and with advantages.
    version: the weight version that the learner holds before this step. Example: 41.
    """

    groups: tuple[Group, ...]
    version: int

    @property
    def completions(self) -> list[Completion]:
        return [completion for group in self.groups for completion in group.completions]


@dataclass(frozen=True, slots=True)
class Learned:
    """What one optimizer step made of a `TrainBatch`.

    metrics: by name (srm_ray.runs.metrics).
    logprobs: the learner's log-probability of every token before the step, laid out as the batch:
        [group][completion], each [T] float32.
    """

    metrics: dict[str, float]
    logprobs: tuple[tuple[np.ndarray, ...], ...]
