"""Reward worker: one Reward for each completion of a group.

    Group --> answers extracted, compared cheaply (event loop, microseconds)
                |--> math pairs, each distinct one once --> processes (rewards.math.grader)
          --> code                                      --> sandbox   (rewards.code)
          --> Reasoning Gym's own scorers               --> processes (rewards.gym), confined
          --> the user's own function                   --> processes (rewards.user)
          --> text, choice, countdown, format, length (event loop)
          <-- parts, weighted sum

Math, code and the user's function have a queue each, with a bound on what is in flight: past it,
`score` waits, and so does its caller. A sample that hangs costs its own process its time limit; a
process that dies is replaced and its sample tried again, then reported `null`. There is no batching
delay: pairs go to a process one by one, so that none waits behind another in a batch.

The worker never raises for what a group holds: bad input, a grader's defect and a lost process each
have a reason, with `correct=None`, which masks the sample out of the loss.
"""

import asyncio
import logging
import os
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import rewards.choice
import rewards.code
import rewards.countdown
import rewards.extract
import rewards.format
import rewards.gym
import rewards.length
import rewards.math.grader
import rewards.text
import rewards.user
from actors.reward.grading_queue import GradingQueue
from actors.reward.metrics import Published, summary
from actors.runtime import env
from actors.runtime.labels import node_id
from actors.runtime.liveness import Activity, Progress
from rewards.code.sandbox import Limits
from rewards.sandbox.processes import Failure
from rewards.user import Own, Sampled, singles
from rewards.verdict import Reward, Verdict, judged, one_of
from srm_ray.errors import UserError
from srm_ray.process import memory
from srm_ray.rl.types import Completion, Group, Prompt

logger = logging.getLogger(__name__)
PARTS = ("math", "code", "format", "length", "function")
LIKE_MATH = ("text", "choice", "countdown", "gym")  # correctness of an answer, too: paid with the weight of `math`
KEPT_LATENCIES = 1000
SLOWEST_GRADE = 6  # times its time limit: one that died over it is tried again, in a process that has to start
OwnResult = Awaitable[Own | Failure] | None


@dataclass(frozen=True)
class RewardSpec:
    """What a completion is paid for, and what grading may cost.

    weights: weight of each part, e.g. {"math": 1.0, "format": 0.1}. `math` and `code` are the
        correctness part of prompts with an answer and with tests; parts without a weight are not
        computed, but correctness always is.
    math_timeout, code_timeout, function_timeout: seconds for one comparison, for all tests of one
        candidate, and for one call of the user's function.
    allow_last_number: without an announced answer, take the last number of the text.
    l_max, l_cache: tokens; see `rewards.length`. Needed when `length` has a weight.
    function: the user's own reward, "package.module:function" (see `rewards.user`), or "". It takes
        the built-in grading's place, weight 1.0 unless given.
    threshold: above it the function's value is correct, where the function does not say so itself.
    allow_unsafe: run code without a sandbox where none works; otherwise it is `sandbox_unavailable`.
    processes: how many samples of each kind (math, code, function) are graded at once.
    in_flight: samples of each kind that are held before `score` waits.
    """

    weights: dict[str, float] = field(default_factory=lambda: {"math": 1.0, "code": 1.0, "format": 0.1})
    math_timeout: float = 5.0
    code_timeout: float = 10.0
    function_timeout: float = 5.0
    allow_last_number: bool = False
    l_max: int = 0
    l_cache: int = 0
    function: str = ""
    threshold: float = 0.0
    allow_unsafe: bool = False
    processes: int = 2
    in_flight: int = 256

    def __post_init__(self) -> None:
        unknown = sorted(set(self.weights) - set(PARTS))
        if unknown:
            raise UserError(f"reward weights: unknown part {unknown[0]!r}; parts are {', '.join(PARTS)}")
        if "length" in self.weights and not 0 <= self.l_cache <= self.l_max > 0:
            raise UserError(f"a length reward needs 0 <= l_cache <= l_max, got {self.l_cache} and {self.l_max}")
        if "function" in self.weights and not self.function:
            raise UserError("the weights name a function, but no reward function is given (package.module:function)")
        if min(self.math_timeout, self.code_timeout, self.function_timeout) <= 0:
            raise UserError("reward time limits must be above 0 seconds")
        if self.processes < 1 or self.in_flight < 1:
            raise UserError(f"processes and in_flight must be at least 1, got {self.processes} and {self.in_flight}")


def check(spec: RewardSpec, prompts: Sequence[Prompt] = ()) -> None:
    """Fail early, with one clear line, on a user function that cannot be used. Raises `UserError`.

    prompts: the run's first, with each of which it is called: for an empty completion, and for one with the answer.
    """
    if not spec.function:
        return
    try:
        function = rewards.user.Function(spec.function)
        try:
            function.check([sampled(prompt, ("", f"\\boxed{{{prompt.answer}}}"), ()) for prompt in prompts])
        finally:
            function.close()
    except rewards.user.BadFunction as error:
        raise UserError(f"--reward {error}") from None


def sampled(prompt: Prompt, completions: tuple[str, ...], truncated: tuple[bool, ...]) -> Sampled:
    return Sampled(prompt.text, completions, prompt.answer, truncated, prompt.row)


@dataclass(frozen=True, slots=True)
class GradedVerdict:
    """Correctness of one completion: which grader said so ("" for none), and what."""

    kind: str
    verdict: Verdict


class RewardWorker:
    """Scores groups. A plain class; `ray.remote` where it is spawned (an async actor).

    Raises `UserError` at construction for a user function that cannot be used.
    """

    def __init__(self, spec: RewardSpec, index: int = 0) -> None:
        self.spec, self.index = spec, index
        env.keep_log(f"reward-{index}")
        limits = Limits(seconds=spec.code_timeout)
        self.function: rewards.user.Function | None = None
        if spec.function:
            try:
                self.function = rewards.user.Function(spec.function, spec.processes, spec.function_timeout)
            except rewards.user.BadFunction as error:
                raise UserError(f"--reward {error}") from None
        self.math = rewards.math.grader.Grader(spec.processes, spec.math_timeout)
        self.code = rewards.code.Grader(spec.processes, limits, spec.allow_unsafe)
        self.gym = rewards.gym.Scorer(spec.processes, spec.math_timeout, spec.allow_unsafe)
        queues = ("math", "code", "gym", "function")
        self.queues = {name: GradingQueue(name, spec.processes, spec.in_flight) for name in queues}
        if "math" in spec.weights:
            self.queues["math"].threads.submit(self.math.warm)
        self.groups = 0
        self.node = node_id()
        self.progress = Progress()
        self.grading: Activity | None = None  # while there is something to grade: a step for each completion
        self.outstanding = 0
        self.loop: asyncio.AbstractEventLoop | None = None
        self.counts: Counter[tuple[str, str]] = Counter()
        self.latencies: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT_LATENCIES))
        self.published = Published.when_in_ray(index)
        logger.info("%r: code sandbox: %s", self, self.code.sandbox.promise())

    def __repr__(self) -> str:
        return f"RewardWorker(reward-{self.index})"

    async def hand_back(self) -> None:
        """Nothing to hand back: grading ends by itself, within its time limits."""

    def ping(self) -> dict[str, Any]:
        """Who and where this is, and what it is doing; asked for in a thread of its own."""
        if self.loop is not None and not self.loop.is_closed():  # with it closed nothing is being graded
            turn = self.progress.begin("turning the event loop")
            self.loop.call_soon_threadsafe(self.progress.end, turn)
        progress = self.progress.report()
        return {"worker": f"reward-{self.index}", "pid": os.getpid(), "node": self.node, "progress": progress}

    async def score(self, group: Group) -> tuple[Reward, ...]:
        """One Reward per completion, in order. Never raises for what the group holds."""
        self.loop = asyncio.get_running_loop()
        self.groups += 1
        memory.give_back(self.groups)
        if not group.completions:
            return ()
        own = self.own_of(group)
        if self.grading is None:
            self.grading = self.progress.begin("grading")
        self.grading.allowance = max(self.grading.allowance, SLOWEST_GRADE * self.time_limit(group))
        return tuple(
            await asyncio.gather(
                *(self.counted(group.prompt, c, result) for c, result in zip(group.completions, own, strict=True))
            )
        )

    def time_limit(self, group: Group) -> float:
        """Seconds that one grade may take: a function of the user's own may be called for the whole group at once."""
        calls = len(group.completions) if self.function is not None and self.function.group else 1
        return max(self.spec.math_timeout, self.spec.code_timeout, calls * self.spec.function_timeout)

    async def counted(self, prompt: Prompt, completion: Completion, own: OwnResult = None) -> Reward:
        """Its reward; grading shows as progress, completion by completion."""
        self.outstanding += 1
        try:
            return await self.reward(prompt, completion, own)
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
            judgement, parts = await self.grade(prompt, completion, own)
        except Exception:  # a defect here must not lose the group: reported, counted, logged
            logger.exception("%r: prompt %s", self, getattr(prompt, "index", "?"))
            judgement, parts = GradedVerdict("", Verdict(None, "grader_error")), {}
        seconds = time.perf_counter() - start
        verdict = judgement.verdict
        self.count(judgement.kind, verdict, seconds)
        value = sum(self.weight(name) * part for name, part in parts.items())
        return Reward(0.0 if verdict.correct is None else value, verdict.correct, verdict.reason, seconds, parts)

    def weight(self, part: str) -> float:
        if part in LIKE_MATH:
            part = "math"
        return self.spec.weights.get(part, 1.0 if part == "function" else 0.0)

    async def grade(
        self, prompt: Prompt, completion: Completion, own: OwnResult = None
    ) -> tuple[GradedVerdict, dict[str, float]]:
        """Correctness and every part. A part that has no value makes the whole sample undecided.

        own: what the user's function will have said of it; None where there is no such function.
        """
        if not isinstance(completion.text, str) or not isinstance(prompt.text, str):
            return GradedVerdict("", Verdict(None, "bad_input")), {}
        parts: dict[str, float] = {}
        if own is None:
            judgement = await self.correctness(prompt, completion)
            if judgement.kind and judgement.verdict.correct is not None:
                parts[judgement.kind] = float(judgement.verdict.correct)
        else:
            result = await own
            if isinstance(result, Failure):
                return GradedVerdict("function", Verdict(None, result.reason)), parts
            parts["function"] = result.value
            judgement = GradedVerdict("function", self.said(result, completion))
        if "format" in self.spec.weights:
            parts["format"] = rewards.format.score_completion(prompt.text, completion.text)
        if "length" in self.spec.weights:
            parts["length"] = rewards.length.score(len(completion.token_ids), self.spec.l_max, self.spec.l_cache)
        return judgement, parts

    def own_of(self, group: Group) -> list[OwnResult]:
        """What the user's function says of each completion: of the whole group in one call, where it takes one."""
        function, queue = self.function, self.queues["function"]
        if function is None:
            return [None] * len(group.completions)
        texts = tuple(completion.text for completion in group.completions)
        cut = tuple(completion.truncated for completion in group.completions)
        if not all(isinstance(text, str) for text in (*texts, group.prompt.text)):
            return [None] * len(group.completions)
        whole = sampled(group.prompt, texts, cut)
        if not function.group:
            return [asyncio.ensure_future(queue.run(None, partial(first_of, function, one))) for one in singles(whole)]
        results = asyncio.ensure_future(queue.run(None, partial(function, whole)))
        return [asyncio.ensure_future(place_of(results, place)) for place in range(len(texts))]

    def said(self, own: Own, completion: Completion) -> Verdict:
        """Correct where the function says so itself, else where its value is above the threshold."""
        if own.correct is not None:
            return judged(own.correct)
        if completion.truncated:
            return Verdict(False, "truncated")
        return judged(own.value > self.spec.threshold)

    async def correctness(self, prompt: Prompt, completion: Completion) -> GradedVerdict:
        """Tests where the prompt has them, else its answer; a truncated completion is never correct."""
        if prompt.tests is None and prompt.answer is None and prompt.gym is None:
            return GradedVerdict("", Verdict(None, "bad_input"))
        kind = prompt.grader or ("code" if prompt.tests is not None else "math")
        if completion.truncated:
            return GradedVerdict(kind, Verdict(False, "truncated"))
        text = rewards.extract.opened_thinking(prompt.text) + completion.text
        graders: dict[str, Callable[[Prompt, str], Awaitable[Verdict]]] = {
            "math": self.grade_math,
            "code": self.grade_code,
            "text": self.grade_text,
            "choice": self.grade_choice,
            "countdown": self.grade_countdown,
            "gym": self.grade_gym,
        }
        return GradedVerdict(kind, await graders[kind](prompt, text))

    async def grade_text(self, prompt: Prompt, text: str) -> Verdict:
        if not isinstance(prompt.answer, str):
            return Verdict(None, "bad_input")
        reward = rewards.text.score(text, prompt.answer)
        return Verdict(reward.correct, reward.reason)

    async def grade_gym(self, prompt: Prompt, text: str) -> Verdict:
        """A right answer is right also where Reasoning Gym gives another as an example."""
        task, answer = prompt.gym, rewards.text.the_answer(text)
        if task is None:
            return Verdict(None, "bad_input")
        if isinstance(answer, Verdict):
            return answer
        return await self.queues["gym"].run((answer, task), lambda: self.gym.grade(answer, task))

    async def grade_choice(self, prompt: Prompt, text: str) -> Verdict:
        return rewards.choice.grade(text, prompt.answer or "", prompt.given)

    async def grade_countdown(self, prompt: Prompt, text: str) -> Verdict:
        return rewards.countdown.grade(text, prompt.answer or "", prompt.given)

    async def grade_math(self, prompt: Prompt, text: str) -> Verdict:
        """Each of several golds is right."""
        if not isinstance(prompt.answer, str):
            return Verdict(None, "bad_input")
        verdicts = []
        for gold in (prompt.answer, *prompt.also_right):
            verdicts.append(await self.compare_math(prompt, gold, text))
            if verdicts[-1].correct:
                break
        return one_of(verdicts)

    async def compare_math(self, prompt: Prompt, gold: str, text: str) -> Verdict:
        answers = rewards.math.grader.answers_of(text, self.spec.allow_last_number)
        if isinstance(answers, Verdict):
            return answers
        if len(answers) == 1:
            verdict = rewards.math.grader.quick(answers[0], gold, prompt.text)
            if verdict is not None:
                return verdict
            return await self.queues["math"].run(
                (answers[0], gold, prompt.text), lambda: self.math.equivalent(answers[0], gold, prompt.text)
            )
        key = (tuple(answers), gold, prompt.text)
        return await self.queues["math"].run(key, lambda: self.several(answers, gold, prompt.text))

    def several(self, answers: list[str], gold: str, question: str) -> Verdict:
        verdicts = self.math.grade([(answer, gold) for answer in answers], question)
        return rewards.math.grader.choose(answers, verdicts, self.math.grade)

    async def grade_code(self, prompt: Prompt, text: str) -> Verdict:
        def work() -> Verdict:
            reward = self.code.score(text, prompt.tests, prompt.entry_point, prompt.text)
            return Verdict(reward.correct, reward.reason)

        return await self.queues["code"].run((text, repr(prompt.tests), prompt.entry_point, prompt.text), work)

    # Counters

    def count(self, kind: str, verdict: Verdict, seconds: float) -> None:
        self.counts[kind or "none", verdict.reason] += 1
        self.latencies[verdict.reason].append(seconds)
        if self.published is not None:
            self.published.count(
                kind or "none", verdict, seconds, {name: queue.depth for name, queue in self.queues.items()}
            )

    def stats(self) -> dict[str, Any]:
        """Counts and latencies (seconds) by reason, queue depths, the sandbox's tier, replaced processes."""
        reasons: Counter[str] = Counter()
        kinds: Counter[str] = Counter()
        for (kind, reason), count in self.counts.items():
            reasons[reason] += count
            kinds[kind] += count
        return {
            "scored": sum(reasons.values()),
            "reasons": dict(reasons),
            "kinds": dict(kinds),
            "seconds": {reason: summary(values) for reason, values in self.latencies.items()},
            "queued": {name: queue.depth for name, queue in self.queues.items()},
            "sandbox": self.code.tier or "unavailable",
            "sandbox_gaps": list(self.code.sandbox.gaps),
            "sandbox_why": dict(self.code.sandbox.why),
            "replaced": self.math.own.replaced
            + self.math.fallback.replaced
            + self.code.sandbox.restarts
            + self.gym.pool.replaced,
        }

    def pids(self) -> list[int]:
        """Processes that grade (not their forkservers)."""
        own = self.function.pool.pids() if self.function else []
        return [*self.math.pids(), *self.code.pids(), *self.gym.pids(), *own]

    def close(self) -> None:
        """End every process that the worker owns."""
        for queue in self.queues.values():
            queue.close()
        self.math.close()
        self.code.close()
        self.gym.close()
        if self.function is not None:
            self.function.close()


def first_of(function: rewards.user.Function, one: Sampled) -> Own | Failure:
    return function(one)[0]


async def place_of(results: "asyncio.Future[list[Own | Failure]]", place: int) -> Own | Failure:
    return (await results)[place]
