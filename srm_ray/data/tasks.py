"""Problems before rendering, by source: what `data` names, opened and checked.

    file, dataset     -> FileTasks    shuffled anew in each pass by (seed, pass)
    arithmetic        -> SumTasks     endless
    word_problems     -> WordTasks    endless
    reasoning_gym/... -> GymTasks     endless, made and where needed scored by Reasoning Gym

`tasks.task(position, level)` is the same whoever asks and whenever. One problem in a few is held out by the hash
of its text, so that none is both trained on and measured with.
"""

import atexit
import json
import random
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

from rewards.gym import CHUNK, BadFamily, Gym, GymTask, Scorer
from rewards.gym_probe import REPORTED, Rates, probe
from rewards.problem import Problem
from srm_ray.config.data import GYM, SourceConfig
from srm_ray.console.progress import echo
from srm_ray.data import arithmetic, word_problems
from srm_ray.data.splits import digest, held_out
from srm_ray.errors import UserError

HELD_OUT_SEED = 0  # held-out problems are the same in every run, so that runs compare
GYM_HELD_OUT_ONE_IN = 4  # many families have few problems, and finding held-out ones takes this many tries each
GYM_ATTEMPTS = 64
SCORE_SECONDS = 5.0  # that a scorer has for an answer, as in a run
PROBED = 12  # problems of each level that a family is tried on before a run
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Task(Problem):
    """One problem before rendering. answer, tests (with entry_point) or gym is set. where: e.g. "problems.jsonl:17"."""

    messages: tuple[dict[str, str], ...]
    where: str = ""

    @property
    def text(self) -> str:
        """What its messages say."""
        return "\n".join(message["content"] for message in self.messages)


class Tasks(Protocol):
    """size: problems in one pass; None: endless. levels: of difficulty; 0: none."""

    @property
    def size(self) -> int | None: ...

    @property
    def levels(self) -> int: ...

    def task(self, position: int, level: int = 0) -> Task: ...

    def held_out(self, count: int) -> list[Task]:
        """Up to `count` problems that `task` never gives, spread over the levels."""
        ...


class FileTasks:
    """The rows of a file or dataset, and of another one for measuring."""

    levels = 0

    def __init__(self, tasks: list[Task], held_out: list[Task], seed: int):
        self.tasks, self._held_out, self.seed, self.size = tasks, held_out, seed, len(tasks)
        self.orders: dict[int, list[int]] = {}

    def task(self, position: int, level: int = 0) -> Task:
        return self.tasks[self.row(position)]

    def row(self, position: int) -> int:
        epoch, place = divmod(position, len(self.tasks))
        if epoch not in self.orders:
            self.orders.clear()
            order = random.Random(f"order/{self.seed}/{epoch}").sample(range(len(self.tasks)), len(self.tasks))
            self.orders[epoch] = order
        return self.orders[epoch][place]

    def held_out(self, count: int) -> list[Task]:
        return self._held_out[:count]


class SumTasks:
    """The built-in sums. settings: of each level, `terms` and `digits`."""

    size = None

    def __init__(self, config: SourceConfig, seed: int, source: str):
        self.settings = [sum_settings({**config.options, **level}) for level in config.levels or [{}]]
        self.levels, self.seed, self.source = len(config.levels), seed, source

    def task(self, position: int, level: int = 0) -> Task:
        return self._task(arithmetic.problem(self.seed, position, "train", **self.settings[level]))

    def held_out(self, count: int) -> list[Task]:
        found = []
        for level, settings in enumerate(self.settings):
            wanted = share_of(count, len(self.settings), level)
            found += arithmetic.problems(HELD_OUT_SEED, wanted, "held_out", **settings)
        return [self._task(problem) for problem in found]

    def _task(self, problem: arithmetic.SumProblem) -> Task:
        return Task(({"role": "user", "content": problem.question},), answer=problem.answer, source=self.source)


class WordTasks:
    """The built-in word problems; those held out are of other situations."""

    size = None
    levels = 0

    def __init__(self, config: SourceConfig, seed: int, source: str):
        if config.options or config.levels:
            raise UserError(f"word_problems has no options and no levels, got {config.options or config.levels}")
        self.seed, self.source = seed, source

    def task(self, position: int, level: int = 0) -> Task:
        return self._task(word_problems.problem(self.seed, position))

    def held_out(self, count: int) -> list[Task]:
        return [self._task(problem) for problem in word_problems.problems(HELD_OUT_SEED, count, "held_out")]

    def _task(self, problem: word_problems.WordProblem) -> Task:
        return Task(({"role": "user", "content": problem.question},), answer=problem.answer, source=self.source)


def sum_settings(options: dict[str, Any]) -> dict[str, int]:
    limits = {"terms": (2, 12), "digits": (1, 12)}
    for name, value in options.items():
        if name not in limits:
            raise UserError(f"arithmetic has no option {name!r}; it has terms and digits")
        low, high = limits[name]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise UserError(f"arithmetic's option {name} must be a whole number from {low} to {high}, got {value!r}")
    return options


class GymTasks:
    """A family of Reasoning Gym. Numbers are graded as mathematics, what only its scorer knows by that, the
    rest as text."""

    size = None

    def __init__(self, config: SourceConfig, seed: int, source: str):
        self.family = config.name.removeprefix(GYM)
        settings = [{**config.options, **level} for level in config.levels or [{}]]
        self.options = [json.dumps(one, sort_keys=True) for one in settings]
        self.levels, self.seed, self.source = len(config.levels), seed, source
        try:
            for one in settings:
                maker().check(self.family, one)
        except BadFamily as error:
            raise UserError(f"data.name {config.name}: {error}") from None

    def task(self, position: int, level: int = 0) -> Task:
        for attempt in range(GYM_ATTEMPTS):
            task = self._make(self.seed, position, level, attempt)
            if not self._held_out(task):
                return task
        raise UserError(
            f"data.name {GYM}{self.family}: options {self.options[level]} leave too few different problems to train on"
        )

    def held_out(self, count: int) -> list[Task]:
        found: dict[str, Task] = {}
        for level in range(len(self.options)):
            enough = len(found) + share_of(count, len(self.options), level)
            for position in range(8 * GYM_HELD_OUT_ONE_IN * count):
                if len(found) >= enough:
                    break
                task = self._make(HELD_OUT_SEED, position, level, 0)
                if self._held_out(task):
                    found.setdefault(task.messages[0]["content"], task)
        if count and not found:
            raise UserError(f"data.name {GYM}{self.family}: options {self.options[-1]} leave no problem to hold out")
        return list(found.values())

    def probe(self) -> None:
        """Try the family's grading on answers that deserve nothing, at every level. Raises UserError where it gives
        them full marks; warns where another problem's answer is often right, and where nothing was judged."""
        scorer = Scorer(timeout=SCORE_SECONDS)
        try:
            for level, options in enumerate(self.options):
                tasks = [self.task(position, level) for position in range(PROBED)]
                rates = self._rates(scorer, tasks)
                self._report(rates, options)
        finally:
            scorer.close()

    def _rates(self, scorer: Scorer, tasks: list[Task]) -> Rates | None:
        """By its scorer where that judges; by equal answers where they are compared as text or mathematics."""
        judged = [(task.gym, task.answer) for task in tasks if task.gym is not None]
        if judged:
            return probe(scorer, judged)
        golds = [task.answer for task in tasks]
        repeated = sum(gold == golds[place - 1] for place, gold in enumerate(golds)) / len(golds)
        return Rates(0.0, 0.0, repeated)

    def _report(self, rates: Rates | None, options: str) -> None:
        what = f"data.name {GYM}{self.family} with options {options}"
        if rates is None:
            echo(f"{what}: its scorer judged none of the answers that it was tried with, in {SCORE_SECONDS:g} s each")
            return
        if rates.worthless:
            raise UserError(
                f"{what}: its scorer gives full marks to {rates.noise:.0%} of answers that say nothing (such as "
                f"{rates.example!r}) and to {rates.nothing:.0%} of empty ones: nothing can be learned from it; choose "
                "another family"
            )
        if rates.others > REPORTED:
            echo(f"{what}: another problem's answer is right {rates.others:.0%} of the time")

    def _held_out(self, task: Task) -> bool:
        return held_out(task.messages[0]["content"], GYM_HELD_OUT_ONE_IN)

    def _make(self, seed: int, position: int, level: int, attempt: int) -> Task:
        chunk, index = divmod(position, CHUNK)
        key = f"gym/{seed}/{self.family}/{self.options[level]}/{chunk}/{attempt}"
        task = GymTask(self.family, self.options[level], digest(key) >> 33, index)
        try:
            made = maker().make(task)
        except BadFamily as error:
            raise UserError(f"Reasoning Gym: {error}") from None
        message = ({"role": "user", "content": made.question.strip()},)
        if made.answer is not None and NUMBER.fullmatch(made.answer):
            return Task(message, answer=made.answer, source=self.source, grader="math")
        if made.own or made.answer is None:
            return Task(message, answer=made.answer, source=self.source, grader="gym", gym=task)
        return Task(message, answer=made.answer, source=self.source, grader="text")


@lru_cache(maxsize=1)
def maker() -> Gym:
    """The process that makes Reasoning Gym's problems, started when first needed."""
    made = Gym()
    atexit.register(made.close)
    return made


def share_of(count: int, parts: int, part: int) -> int:
    """`count` divided over `parts`, the first ones getting what is left over: 10 over 3 is 4, 3, 3."""
    return count // parts + (part < count % parts)
