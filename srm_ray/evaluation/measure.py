"""One suite with our own graders: ask, grade, keep, sum up.

    items --seeds--> ChatCompleter (n each, many problems at once) --> Graders --> SampleFile --> SuiteResult

Every completion's seed comes from (seed, problem, sample) alone, so the numbers do not depend on what was answered
before, on the order of arrival or on the number of engines.
"""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from srm_ray.errors import RunError, UserError
from srm_ray.evaluation import suites
from srm_ray.evaluation.grading import Graders, Sample
from srm_ray.evaluation.progress import suite_progress
from srm_ray.evaluation.results import SuiteResult, summarise
from srm_ray.evaluation.samples import SampleFile, lines_of
from srm_ray.evaluation.suites import Item, Suite
from srm_ray.inference.completers import ChatCompleter, ChatCompletion, ContextOverflow, Decoding, Messages
from srm_ray.rl.seeds import completion_seed


def messages_of(suite: Suite, item: Item, *, system: str, instruction: str) -> Messages:
    text = f"{item.question}\n\n{instruction}" if instruction and suite.instructed else item.question
    opening = [{"role": "system", "content": system}] if system else []
    return [*opening, {"role": "user", "content": text}]


class Measurement:
    """How suites are asked and graded: everything but the model. samples: completions of each problem."""

    def __init__(
        self,
        graders: Graders,
        decoding: Decoding,
        *,
        seed: int,
        samples: int = 1,
        system: str = "",
        instruction: str = "",
        in_flight: int = 512,
    ) -> None:
        self.graders, self.decoding, self.seed, self.samples = graders, decoding, seed, samples
        self.system, self.instruction = system, instruction
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
                lines = file.add(item, await self.answer(suite, item, completer))
                right = sum(line["correct"] is True for line in lines) / len(lines)
                progress.add(right, sum(line["tokens"] for line in lines))

            await self._each(suite, todo, one)
        return summarise(suite.name, suite.metric, file.finish(items), settings, seed=self.seed)

    async def score(
        self, suite: Suite, items: Sequence[Item], completer: ChatCompleter, done: Callable[[], object] = lambda: None
    ) -> SuiteResult:
        """The same, kept nowhere: for a look at a model in training. done: called after each problem."""
        found: dict[int, list[dict[str, Any]]] = {}

        async def one(item: Item) -> None:
            found[item.index] = lines_of(item, await self.answer(suite, item, completer))
            done()

        await self._each(suite, items, one)
        return summarise(suite.name, suite.metric, [found[item.index] for item in items], {}, seed=self.seed)

    async def answer(self, suite: Suite, item: Item, completer: ChatCompleter) -> list[Sample]:
        seeds = [completion_seed(self.seed, item.index, 0, number) for number in range(self.samples)]
        messages = messages_of(suite, item, system=self.system, instruction=self.instruction)
        try:
            said = await completer.answer(messages, seeds, self.decoding)
        except ContextOverflow:
            nothing = ChatCompletion(messages[-1]["content"], "", 0, True, 0)
            return [Sample(nothing, False, "too_long", None, None, False, False)] * self.samples
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.graders.threads, self.graders.grade, suite, item, said)

    async def _each(self, suite: Suite, items: Sequence[Item], one: Any) -> None:
        """`one(item)` for all, a bounded number at once; the first failure ends the rest and names the suite."""
        room = asyncio.Semaphore(self.in_flight)

        async def bounded(item: Item) -> None:
            async with room:
                await one(item)

        try:
            async with asyncio.TaskGroup() as group:
                for item in items:
                    group.create_task(bounded(item))
        except ExceptionGroup as failed:
            first = failed.exceptions[0]
            if isinstance(first, UserError | RunError):
                raise type(first)(f"suite {suite.name}: {first}") from None
            raise first from None  # a defect: its own traceback says more than the group's


def settings_of(suite: Suite, items: Sequence[Any], **more: Any) -> dict[str, Any]:
    """What two results must share to be compared."""
    return {"problems": len(items), "problems_digest": suites.digest(items), **more}
