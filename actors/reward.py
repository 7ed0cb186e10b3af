"""Reward worker: one Reward for each completion of a group.

Group --> math (prompt.answer) or code (prompt.tests) --> correctness
      --> format, length, the user's own function       --> parts, weighted sum
"""

import time
from collections import Counter
from dataclasses import dataclass, field

import rewards.code
import rewards.extract
import rewards.format
import rewards.length
import rewards.math
from rewards.verdict import Reward, Verdict
from srm_ray.rl.types import Completion, Group, Prompt


@dataclass(frozen=True)
class RewardSpec:
    """What a completion is paid for.

    weights: weight of each part, e.g. {"math": 1.0, "format": 0.1}. `math` and `code` are the same
        part, correctness, for prompts with an answer and with tests.
    """

    weights: dict[str, float] = field(default_factory=lambda: {"math": 1.0, "code": 1.0, "format": 0.1})
    math_timeout: float = 5.0
    code_timeout: float = 10.0
    allow_last_number: bool = False
    l_max: int = 0
    l_cache: int = 0
    function: str = ""
    allow_unsafe: bool = False
    processes: int = 1


class RewardWorker:
    """Scores groups. A plain class; `ray.remote` where it is spawned."""

    def __init__(self, spec: RewardSpec, index: int = 0) -> None:
        self.spec, self.index = spec, index
        self.reasons: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"RewardWorker(reward-{self.index})"

    def ping(self) -> str:
        return f"reward-{self.index}"

    async def score(self, group: Group) -> tuple[Reward, ...]:
        """One Reward per completion, in order."""
        return tuple([self.reward(group.prompt, completion) for completion in group.completions])

    def reward(self, prompt: Prompt, completion: Completion) -> Reward:
        start = time.perf_counter()
        kind, verdict = self.correctness(prompt, completion)
        parts = {kind: float(verdict.correct is True)} if kind else {}
        if "format" in self.spec.weights:
            parts["format"] = rewards.format.score_completion(prompt.text, completion.text)
        if "length" in self.spec.weights:
            parts["length"] = rewards.length.score(len(completion.token_ids), self.spec.l_max, self.spec.l_cache)
        value = sum(self.spec.weights.get(name, 0.0) * part for name, part in parts.items())
        self.reasons[verdict.reason] += 1
        undecided = verdict.correct is None
        seconds = time.perf_counter() - start
        return Reward(0.0 if undecided else value, verdict.correct, verdict.reason, seconds, parts)

    def correctness(self, prompt: Prompt, completion: Completion) -> tuple[str, Verdict]:
        if completion.truncated:
            return ("code" if prompt.tests is not None else "math"), Verdict(False, "truncated")
        text = rewards.extract.opened_thinking(prompt.text) + completion.text
        if prompt.tests is not None:
            reward = rewards.code.score(text, prompt.tests, prompt.entry_point)
            return "code", Verdict(reward.correct, reward.reason)
        if prompt.answer is not None:
            reward = rewards.math.score(text, prompt.answer, allow_last_number=self.spec.allow_last_number)
            return "math", Verdict(reward.correct, reward.reason)
        return "", Verdict(None, "bad_input")

    def stats(self) -> dict:
        return {"reasons": dict(self.reasons), "queued": 0, "sandbox": "unavailable"}

    def close(self) -> None:
        """End every process that the worker owns."""
