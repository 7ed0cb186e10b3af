"""Groups of completions for a reward worker, and what it makes of them."""

import asyncio
from typing import Any

import numpy as np

from actors.reward.worker import RewardWorker
from rewards.verdict import Reward
from srm_ray.rl.types import Completion, Group, Prompt

CHAT = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n<think>\n"
SQUARE = [{"fn": "f", "args": [7], "expected": 49}]
OWN = "tests.actors.own_rewards"


def prompt(**fields: Any) -> Prompt:
    return Prompt(index=0, token_ids=(1, 2), text=fields.pop("text", CHAT), **fields)


def completion(text: str, finish: str = "stop", tokens: int = 3) -> Completion:
    zeros = np.zeros(tokens, np.int32)
    return Completion(zeros, zeros.astype(np.float32), zeros, finish, 0, text, "rollout-0")


def group(texts: list[str], **fields: Any) -> Group:
    return Group(prompt(**fields), tuple(completion(text) for text in texts))


def boxed(answer: str) -> str:
    return rf"a</think>\boxed{{{answer}}}"


def fenced(code: str) -> str:
    return f"a</think>\n```python\n{code}\n```"


def score(worker: RewardWorker, *groups: Group) -> list[tuple[Reward, ...]]:
    async def all_of_them() -> list[tuple[Reward, ...]]:
        return list(await asyncio.gather(*(worker.score(g) for g in groups)))

    return asyncio.run(all_of_them())
