"""The one evaluator: ask a model every problem, many at once, and have what it answers graded.

    problems --seeds--> ChatCompleter (or token by token, LogLikelihoodModel) --> Grader --> Samples
        suite   run     kept in a SampleFile, so that a killed evaluation goes on --> SuiteResult
                score   kept nowhere, for a look at a model                       --> SuiteResult
        rendered prompts  prompts                                                 --> Samples

Every completion's seed comes from (seed, problem, sample) alone, so the numbers do not depend on what was answered
before, on the order of arrival or on the number of engines.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from rewards.verdict import Verdict
from srm_ray.config.evaluate import PromptConfig
from srm_ray.errors import RunError, UserError
from srm_ray.evaluation import suites
from srm_ray.evaluation.grading import Grader, Sample, grade
from srm_ray.evaluation.progress import suite_progress
from srm_ray.evaluation.results import SuiteResult, summarise
from srm_ray.evaluation.samples import Line, SampleFile, lines_of
from srm_ray.evaluation.suites import Item, Suite
from srm_ray.inference.completers import (
    ChatCompleter,
    ChatCompletion,
    ContextOverflow,
    LogLikelihoodModel,
    Messages,
    Sampling,
)
from srm_ray.rl.seeds import completion_seed
from srm_ray.rl.types import Prompt

P = TypeVar("P")
IN_FLIGHT = 512  # completions under way


def messages_of(suite: Suite, item: Item, prompt: PromptConfig) -> Messages:
    instructed = prompt.instruction and suite.instructed and item.kind == "math"
    text = f"{item.question}\n\n{prompt.instruction}" if instructed else item.question
    system = prompt.system and not (item.before and item.before[0]["role"] == "system")  # a problem's own comes first
    opening = [{"role": "system", "content": prompt.system}] if system else []
    return [*opening, *item.before, {"role": "user", "content": text}]


async def each(problems: Sequence[P], one: Callable[[P], Awaitable[None]], in_flight: int = IN_FLIGHT) -> None:
    """`one(problem)` for all, a bounded number at once; the first failure ends the rest and is raised."""
    slots = asyncio.Semaphore(max(1, in_flight))

    async def bounded(problem: P) -> None:
        async with slots:
            await one(problem)

    try:
        async with asyncio.TaskGroup() as group:
            for problem in problems:
                group.create_task(bounded(problem))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None  # its own traceback says more than the group's


class Evaluator:
    """How problems are asked and graded: everything but the model.

    seed: of all completions. samples: completions of each problem. prompt: what is put around a suite's problems.
    in_flight: completions under way at once. extract: "final" or "flexible", of gsm8k.
    """

    def __init__(
        self,
        grader: Grader,
        sampling: Sampling,
        *,
        seed: int,
        samples: int = 1,
        prompt: PromptConfig | None = None,
        in_flight: int = IN_FLIGHT,
        extract: str = "final",
    ) -> None:
        self.grader, self.sampling, self.seed, self.samples = grader, sampling, seed, samples
        self.prompt, self.extract = prompt or PromptConfig(), extract
        self.in_flight = max(1, in_flight // samples)

    async def run(
        self,
        suite: Suite,
        items: Sequence[Item],
        completer: ChatCompleter,
        folder: Path,
        position: str,
        settings: dict[str, Any],
    ) -> SuiteResult:
        """Answer what `folder`'s samples do not hold yet; the whole suite's result. A failure ends it."""
        file = SampleFile(folder / f"{suite.name}.jsonl", self.samples)
        todo = [item for item in items if item.index not in file.done]
        if todo:
            await completer.prepare()
        with suite_progress(suite.name, position, len(items), len(items) - len(todo)) as progress:

            async def one(item: Item) -> None:
                lines = lines_of(item, await self.answer(suite, item, completer))
                file.add(item.index, lines)
                right = sum(line["correct"] is True for line in lines) / len(lines)
                progress.add(right, sum(line["tokens"] for line in lines))

            await self._each(suite, todo, one)
        return summarise(
            suite.name, suite.metric, file.finish([item.index for item in items]), settings, seed=self.seed
        )

    async def score(
        self, suite: Suite, items: Sequence[Item], completer: ChatCompleter, done: Callable[[], object] = lambda: None
    ) -> SuiteResult:
        """The same, kept nowhere: for a look at a model. done: called after each problem."""
        found: dict[int, list[Line]] = {}

        async def one(item: Item) -> None:
            found[item.index] = lines_of(item, await self.answer(suite, item, completer))
            done()

        await self._each(suite, items, one)
        return summarise(suite.name, suite.metric, [found[item.index] for item in items], {}, seed=self.seed)

    async def answer(self, suite: Suite, item: Item, completer: ChatCompleter) -> list[Sample]:
        """The completions of one of a suite's problems, graded."""
        messages = messages_of(suite, item, self.prompt)
        try:
            completions = await completer.answer(messages, self._seeds(item.index), self.sampling)
        except ContextOverflow:
            nothing = ChatCompletion(messages[-1]["content"], "", 0, True, 0)
            return [Sample(nothing, Verdict(False, "too_long"), None, False, False)] * self.samples
        flexible = suite.name == "gsm8k" and self.extract == "flexible"
        question = item.prelude if suite.kind == "code" else item.question
        return await grade(self.grader, item, question, completions, last_number=suite.last_number, flexible=flexible)

    async def prompts(
        self, prompts: Sequence[Prompt], model: LogLikelihoodModel, done: Callable[[], object] = lambda: None
    ) -> list[list[Sample]]:
        """The completions of rendered prompts, graded, in order. done: called after each prompt."""
        found: dict[int, list[Sample]] = {}

        async def one(prompt: Prompt) -> None:
            made = [await model.complete(prompt.token_ids, seed, self.sampling) for seed in self._seeds(prompt.index)]
            completions = [replace(completion, prompt=prompt.text) for completion in made]
            found[prompt.index] = await grade(self.grader, prompt, prompt.text, completions)
            done()

        await each(prompts, one, self.in_flight)
        return [found[prompt.index] for prompt in prompts]

    def _seeds(self, index: int) -> list[int]:
        return [completion_seed(self.seed, index, 0, number) for number in range(self.samples)]

    async def _each(self, suite: Suite, items: Sequence[Item], one: Callable[[Item], Awaitable[None]]) -> None:
        try:
            await each(items, one, self.in_flight)
        except (UserError, RunError) as error:
            raise type(error)(f"suite {suite.name}: {error}") from None


def settings_of(suite: Suite, items: Sequence[Any], **more: Any) -> dict[str, Any]:
    """What two results must share to be compared."""
    return {"problems": len(items), "problems_digest": suites.digest(items), **more}
