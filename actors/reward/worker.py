"""Reward worker: one Reward for each completion of a group.

    Group --> correctness: the user's own function, or a reward model --> processes (rewards.user), where there is one
                           a judge's verdicts, which come with the group
                           else the graders        --> rewards.dispatch
          --> format, length (event loop)
          <-- parts, weighted sum

A sample that hangs costs its own process its time limit; a process that dies is replaced and its sample tried again,
then reported `null`. The worker never raises for what a group holds: bad input, a grader's defect and a lost process
each have a reason, with `correct=None`, which masks the sample out of the loss.
"""

import asyncio
import contextlib
import logging
import os
import random
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Iterator, Sequence
from functools import partial

import rewards.format
import rewards.length
import rewards.user
from actors.reward.metrics import UNAVAILABLE, GradingStats, Latency, Published
from actors.reward.spec import RewardSpec, sampled
from actors.runtime import env
from actors.runtime.labels import node_id
from actors.runtime.liveness import Activity, Progress
from actors.runtime.replies import PingReply, WorkerInfo
from rewards.dispatch import Graders
from rewards.extract import opened_thinking
from rewards.grading_queue import GradingQueue
from rewards.problem import Problem
from rewards.sandbox.processes import Failure
from rewards.user import Own, Sampled, singles
from rewards.verdict import Reward, Verdict, judged
from srm_ray.errors import UserError
from srm_ray.process import memory
from srm_ray.rl.types import Completion, Group, Prompt

logger = logging.getLogger(__name__)
KEPT_LATENCIES = 1000
SLOWEST_GRADE = 6  # times its time limit: one that died over it is tried again, in a process that has to start
OwnResult = Awaitable[Own | Failure] | None


class RewardWorker:
    """Scores groups. A plain class; `ray.remote` where it is spawned (an async actor).

    Raises `UserError` at construction for a user function that cannot be used.
    """

    def __init__(self, spec: RewardSpec, index: int = 0) -> None:
        self.spec, self.index = spec, index
        env.keep_log(f"reward-{index}")
        try:
            self.function = spec.called(spec.processes)
        except rewards.user.BadFunction as error:
            raise UserError(f"--reward {error}") from None
        self.graders = Graders(
            spec.processes,
            math_timeout=spec.math_timeout,
            code_timeout=spec.code_timeout,
            allow_unsafe=spec.allow_unsafe,
            in_flight=spec.in_flight,
        )
        if "math" in spec.weights:
            self.graders.warm()
        self.calls = GradingQueue("function", spec.processes, spec.in_flight)
        self.queues = {**self.graders.queues, "function": self.calls}
        self.groups = 0
        self.node = node_id()
        self.progress = Progress()
        self.grading: Activity | None = None  # while there is something to grade: a step for each completion
        self.outstanding = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self.counts: Counter[tuple[str, str]] = Counter()
        self.latencies: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT_LATENCIES))
        self.published = Published.when_in_ray(index)
        logger.info("%r: code sandbox: %s", self, self.graders.code.sandbox.promise())

    def __repr__(self) -> str:
        return f"RewardWorker(reward-{self.index})"

    async def hand_back(self) -> None:
        """Nothing to hand back: grading ends by itself, within its time limits."""

    def ping(self) -> PingReply:
        """Who and where this is, and what it is doing; asked for in a thread of its own."""
        if self.loop is not None and not self.loop.is_closed():  # with it closed nothing is being graded
            turn = self.progress.begin("turning the event loop")
            self.loop.call_soon_threadsafe(self.progress.end, turn)
        return PingReply(WorkerInfo(f"reward-{self.index}", os.getpid(), self.node), self.progress.report())

    # Correctness alone, by the built-in graders: what an evaluation asks for (`srm_ray.evaluation.grading`)

    async def grade(
        self, problem: Problem, question: str | None, text: str, *, truncated: bool = False, last_number: bool = False
    ) -> Verdict:
        """As `rewards.dispatch.Graders.grade`."""
        with self.a_grade(self.time_limit()):
            return await self.graders.grade(problem, question, text, truncated=truncated, last_number=last_number)

    async def same(self, one: str, other: str) -> bool:
        with self.a_grade(self.time_limit()):
            return await self.graders.same(one, other)

    # Rewards

    async def score(self, group: Group, verdicts: Sequence[Own | Failure] | None = None) -> tuple[Reward, ...]:
        """One Reward per completion, in order. Never raises for what the group holds. verdicts: a judge's, by
        completion, where there is one."""
        self.groups += 1
        memory.give_back(self.groups)
        if not group.completions:
            return ()
        own = self.own_of(group) if verdicts is None else [resolved(one) for one in verdicts]
        limit = self.time_limit(group)

        async def one(completion: Completion, result: OwnResult) -> Reward:
            with self.a_grade(limit):
                return await self.reward(group.prompt, completion, result)

        return tuple(await asyncio.gather(*map(one, group.completions, own)))

    def time_limit(self, group: Group | None = None) -> float:
        """Seconds that one grade may take: a function of the user's own may be called for the whole group at once."""
        if group is None or self.function is None or not self.function.group:
            return max(self.spec.math_timeout, self.spec.code_timeout, self.spec.function_timeout)
        calls = len(group.completions) * self.spec.function_timeout
        return max(self.spec.math_timeout, self.spec.code_timeout, calls)

    @contextlib.contextmanager
    def a_grade(self, limit: float) -> Iterator[None]:
        """Grading shows as progress, completion by completion. limit: seconds that this one may take."""
        self.loop = asyncio.get_running_loop()
        if self.grading is None:
            self.grading = self.progress.begin("grading")
        self.grading.allowance = max(self.grading.allowance, SLOWEST_GRADE * limit)
        self.outstanding += 1
        try:
            yield
        finally:
            self.outstanding -= 1
            if self.grading is not None:
                self.grading.step()
                if not self.outstanding:
                    self.progress.end(self.grading)
                    self.grading = None

    async def reward(self, prompt: Prompt, completion: Completion, own: OwnResult = None) -> Reward:
        start = time.perf_counter()
        try:
            verdict, parts = await self.parts_of(prompt, completion, own)
        except Exception:  # a defect here must not lose the group: reported, counted, logged
            logger.exception("%r: prompt %s", self, getattr(prompt, "index", "?"))
            verdict, parts = Verdict(None, "grader_error"), {}
        seconds = time.perf_counter() - start
        self.count(verdict, seconds)
        value = sum(self.spec.weight(name) * part for name, part in parts.items())
        return Reward(0.0 if verdict.correct is None else value, verdict.correct, verdict.reason, seconds, parts)

    async def parts_of(
        self, prompt: Prompt, completion: Completion, own: OwnResult = None
    ) -> tuple[Verdict, dict[str, float]]:
        """Correctness and every part. A part that has no value makes the whole sample undecided.

        own: what the user's function will have given it; None where there is no such function.
        """
        if not isinstance(completion.text, str) or not isinstance(prompt.text, str):
            return Verdict(None, "bad_input"), {}
        parts: dict[str, float] = {}
        if own is None:
            text = opened_thinking(prompt.text) + completion.text
            verdict = await self.graders.grade(
                prompt, prompt.text, text, truncated=completion.truncated, last_number=self.spec.allow_last_number
            )
            if verdict.correct is not None:
                parts[verdict.kind] = float(verdict.correct)
        else:
            result = await own
            if isinstance(result, Failure):
                return Verdict(None, result.reason, self.spec.own), parts
            parts[self.spec.own] = result.value
            verdict = self.own_verdict(result, completion)
            if self.checks(completion):
                parts |= await self.verified(prompt, completion)
        if "format" in self.spec.weights:
            parts["format"] = rewards.format.score_completion(prompt.text, completion.text)
        if "length" in self.spec.weights:
            parts["length"] = rewards.length.score(len(completion.token_ids), self.spec.l_max, self.spec.l_cache)
        return verdict, parts

    # A reward of the user's own

    def own_of(self, group: Group) -> list[OwnResult]:
        """What the user's function gives each completion: of the whole group in one call, where it takes one."""
        function = self.function
        if function is None:
            return [None] * len(group.completions)
        texts = tuple(completion.text for completion in group.completions)
        cut = tuple(completion.truncated for completion in group.completions)
        if not all(isinstance(text, str) for text in (*texts, group.prompt.text)):
            return [None] * len(group.completions)
        whole, run = sampled(group.prompt, texts, cut), self.calls.run
        if not function.group:
            return [asyncio.ensure_future(run(None, partial(first_of, function, one))) for one in singles(whole)]
        results = asyncio.ensure_future(run(None, partial(function, whole)))
        return [asyncio.ensure_future(place_of(results, place)) for place in range(len(texts))]

    def own_verdict(self, own: Own, completion: Completion) -> Verdict:
        """Correct where the function says so itself, else where its value is above the threshold."""
        if own.correct is None and completion.truncated:
            return Verdict(False, "truncated", self.spec.own)
        verdict = judged(own.value > self.spec.threshold if own.correct is None else own.correct)
        return Verdict(verdict.correct, verdict.reason, self.spec.own)

    def checks(self, completion: Completion) -> bool:
        """Whether the graders decide a completion, too: by its seed, so that it is so whenever it is asked."""
        share = self.spec.check_share if self.spec.own in ("judge", "model") else 0.0
        return random.Random(completion.seed).random() < share

    async def verified(self, prompt: Prompt, completion: Completion) -> dict[str, float]:
        """The graders' word as a part of no weight; nothing where they cannot decide."""
        text = opened_thinking(prompt.text) + completion.text
        last_number, cut = self.spec.allow_last_number, completion.truncated
        verdict = await self.graders.grade(prompt, prompt.text, text, truncated=cut, last_number=last_number)
        return {} if verdict.correct is None else {"verified": float(verdict.correct)}

    # Counters

    def count(self, verdict: Verdict, seconds: float) -> None:
        kind = verdict.kind or "none"
        self.counts[kind, verdict.reason] += 1
        self.latencies[verdict.reason].append(seconds)
        if self.published is not None:
            depths = {name: queue.depth for name, queue in self.queues.items()}
            self.published.count(kind, verdict, seconds, depths)

    def stats(self) -> GradingStats:
        reasons: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        for (kind, reason), count in self.counts.items():
            reasons[reason] += count
            kinds[kind] += count
        sandbox = self.graders.code.sandbox
        return GradingStats(
            scored=sum(reasons.values()),
            reasons=dict(reasons),
            kinds=dict(kinds),
            seconds={reason: Latency.of(values) for reason, values in self.latencies.items()},
            queued={name: queue.depth for name, queue in self.queues.items()},
            sandbox=self.graders.tier() or UNAVAILABLE,
            sandbox_gaps=tuple(sandbox.gaps),
            sandbox_why=dict(sandbox.why),
            replaced=self.graders.replaced(),
        )

    def pids(self) -> list[int]:
        """Processes that grade (not their forkservers)."""
        return [*self.graders.pids(), *(self.function.pool.pids() if self.function else [])]

    def close(self) -> None:
        """End every process that the worker owns."""
        self.graders.close()
        self.calls.close()
        if self.function is not None:
            self.function.close()


def first_of(function: rewards.user.Function, one: Sampled) -> Own | Failure:
    return function(one)[0]


async def resolved(verdict: Own | Failure) -> Own | Failure:
    """A verdict that is there already, to be awaited like one that is not."""
    return verdict


async def place_of(results: "asyncio.Future[list[Own | Failure]]", place: int) -> Own | Failure:
    return (await results)[place]
