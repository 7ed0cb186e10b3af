"""Who scores the student's samples: a frozen model's engines, an endpoint, or the policy itself.

    Group --prompt, token ids of each completion--> Teacher --> the same group, each completion with `TeacherScores`

`EngineTeacher` asks a pool of rollout workers, one request a group, by the calls that sampling makes: a worker that
dies is replaced, and what it was scoring is scored by another. The weights of a teacher of its own never change, so the
scores are the same whoever gives them.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from actors.rollout.pool import RolloutPool
from actors.rollout.scoring import Teaching
from srm_ray.errors import RunError
from srm_ray.inference.prompt_scores import ScoringClient
from srm_ray.rl.types import Completion, Group, Prompt, TeacherScores


class Teacher(Protocol):
    """`start` before anything else, `close` whatever happens."""

    async def start(self) -> None: ...

    async def score(self, group: Group) -> Group:
        """With `teacher` of each completion. Raises RunError where it cannot be had."""
        ...

    async def close(self) -> None: ...


class EngineTeacher:
    """A pool whose workers are `ScoringWorker`s. top_k: likeliest tokens in each place, too.

    own: whether the pool is the teacher's, to be started and ended with it; else it is that of the policy.
    """

    def __init__(self, pool: RolloutPool, *, top_k: int, own: bool) -> None:
        self.pool, self.top_k, self.own = pool, top_k, own

    async def start(self) -> None:
        if self.own:
            await self.pool.start()

    async def score(self, group: Group) -> Group:
        continuations = tuple(tuple(one.token_ids.tolist()) for one in group.completions)
        request = Teaching(0.0, 1, continuations=continuations, top=self.top_k)
        seeds = tuple(range(len(continuations)))
        scored = await self.pool.generate(shown_ids(group.prompt), seeds, request)
        return with_scores(group, [one.teacher for one in scored])

    async def close(self) -> None:
        if self.own:
            await self.pool.close()


class EndpointTeacher:
    """A server that gives prompt log-probabilities."""

    def __init__(self, client: ScoringClient, *, top_k: int) -> None:
        self.client, self.top_k = client, top_k

    async def start(self) -> None:
        await self.client.__aenter__()

    async def score(self, group: Group) -> Group:
        prompt = shown_ids(group.prompt)
        scored = await asyncio.gather(*(self._one(prompt, completion) for completion in group.completions))
        return with_scores(group, scored)

    async def _one(self, prompt: tuple[int, ...], completion: Completion) -> TeacherScores:
        return await self.client.score(prompt, completion.token_ids.tolist(), self.top_k)

    async def close(self) -> None:
        await self.client.__aexit__()


def shown_ids(prompt: Prompt) -> tuple[int, ...]:
    """What the teacher reads before a completion: the policy's own prompt, or one with a demonstration in it."""
    return prompt.shown_ids or prompt.token_ids


def with_scores(group: Group, scored: Sequence[TeacherScores | None]) -> Group:
    made = []
    for completion, scores in zip(group.completions, scored, strict=True):
        if scores is None or len(scores.logprobs) != len(completion.token_ids):
            raise RunError(f"the teacher gave no score for each token of a completion of prompt {group.prompt.index}")
        if not np.isfinite(scores.logprobs).all():
            raise RunError(f"the teacher's scores of prompt {group.prompt.index} are no finite numbers")
        made.append(replace(completion, teacher=scores))
    return replace(group, completions=tuple(made))
