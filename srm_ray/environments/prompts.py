"""What episodes begin from: the rows of a run's data, or, where it has none, empty rows with a seed each."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from srm_ray.config.data import CurriculumConfig, DataConfig, SourceConfig
from srm_ray.console.progress import echo
from srm_ray.data.drops import Drops, Unusable
from srm_ray.data.problems import ProblemReader
from srm_ray.data.prompts import (
    GENERATED_CHECKED,
    LIMITED_BY,
    TaskStream,
    open_generator,
    sources_of,
    with_system,
)
from srm_ray.data.reading import RowSource, records
from srm_ray.data.tasks import FileTasks, Task, Tasks, share_of
from srm_ray.environments.contract import BadEnvironment, Contract
from srm_ray.environments.rendering import TurnRenderer
from srm_ray.errors import UserError
from srm_ray.rl.types import Prompt


class SeedTasks:
    """Empty rows: what an episode is about follows from its seed, and that from its place in the run."""

    size, levels = None, 0

    def __init__(self, source: str):
        self.source = source

    def task(self, position: int, level: int = 0) -> Task:
        return Task((), source=self.source, row={})

    def held_out(self, count: int) -> list[Task]:
        return [self.task(position) for position in range(count)]


@dataclass(frozen=True)
class Asked:
    """How the tasks of a run become prompts of episodes. limit: tokens that a prompt may have, and how that came about.

    environment: the class, "" for functions alone. graded: rows must have an answer or tests, since graders decide.
    """

    renderer: TurnRenderer
    contract: Contract
    environment: str
    graded: bool
    limit: int
    limited_by: str = LIMITED_BY


class EpisodeStream:
    """`stream[index]` is the prompt of that index, with its messages and its row; rendered, with the tools, where an
    episode begins with the row's messages alone, or with those and more. As `srm_ray.data.prompts.PromptStream`."""

    def __init__(self, tasks: TaskStream, asked: Asked, system: str):
        self.tasks, self.asked, self.system = tasks, asked, system
        self.size, self.curriculum, self.difficulty = tasks.size, tasks.curriculum, tasks.difficulty

    def __getitem__(self, index: int) -> Prompt:
        task, level = self.tasks.task(index)
        return self.render(task, index, level)

    def render(self, task: Task, index: int, level: int = 0) -> Prompt:
        """Raises UserError where a prompt does not leave room for new tokens."""
        asked, renderer = self.asked, self.asked.renderer
        messages = with_system(task.messages, self.system) if task.messages else []
        ids: tuple[int, ...] = ()
        if messages and asked.contract.kind == "tools":
            ids = renderer.prompt(renderer.messages(messages, None))
        if len(ids) > asked.limit:
            raise UserError(
                f"{task.where or f'prompt {index} ({task.source})'} has {len(ids)} tokens as a prompt, with the tools, "
                f"{asked.limit} are left for it: {asked.limited_by} or shorten the prompt"
            )
        text = renderer.tokenizer.decode(list(ids), skip_special_tokens=False)
        return Prompt(index, ids, text, level=level, messages=tuple(messages), **task.known())

    def first(self, count: int) -> list[Prompt]:
        """The first prompts, fewer where there are not so many."""
        return [self[index] for index in range(count if self.size is None else min(count, self.size))]

    def check(self) -> None:
        """Every row of a pass (of a generator: some) is rendered, and has the columns that `reset` takes."""
        self.tasks.probe()
        for index, task in enumerate(self._pass()):
            check_columns(self.asked.contract, task)
            self.render(task, index)

    def _pass(self) -> Iterator[Task]:
        for tasks in self.tasks.sources.values():
            positions = range(GENERATED_CHECKED if tasks.size is None else tasks.size)
            for level in range(max(1, tasks.levels)):
                yield from (tasks.task(position, level) for position in positions)


def check_columns(contract: Contract, task: Task) -> None:
    """Raises `UserError` where `reset` does not take what the task's row has."""
    columns = set(task.row) if task.row is not None else {"prompt", "answer"}
    try:
        contract.check_columns(columns)
    except BadEnvironment as error:
        raise UserError(f"{task.where or task.source}: {error}") from None


def training_episodes(config: DataConfig, asked: Asked, seed: int, curriculum: CurriculumConfig) -> EpisodeStream:
    """What a run trains on. Raises `UserError` for rows that cannot be used."""
    return EpisodeStream(
        training_tasks(config, asked.environment, asked.graded, seed, curriculum), asked, config.system
    )


def training_tasks(
    config: DataConfig, environment: str, graded: bool, seed: int, curriculum: CurriculumConfig
) -> TaskStream:
    """As `training_episodes`, before they are rendered."""
    if seeds_alone(config, environment):
        return TaskStream({environment: SeedTasks(environment)}, {environment: 1.0}, curriculum)
    parts = sources_of(config)
    sources: dict[str, Tasks] = {}
    for name, part in parts.items():
        generated = open_generator(part, seed, name)
        rows = RowSource(part.path, part.name, part.subset, part.split)
        sources[name] = generated or FileTasks(_tasks(part, rows, name, graded), [], seed)
    weights = {name: getattr(part, "weight", 1.0) for name, part in parts.items()}
    return TaskStream(sources, weights, curriculum)


def held_out_episodes(config: DataConfig, asked: Asked, count: int) -> list[Prompt]:
    """Up to `count` prompts that training never sees; of a file without eval_path none."""
    return rendered(held_out_tasks(config, asked.environment, asked.graded, count), asked, config.system)


def held_out_tasks(
    config: DataConfig, environment: str, graded: bool, count: int, *, option: str = "data"
) -> list[Task]:
    """As `held_out_episodes`, before they are rendered. option: what messages call these settings."""
    if seeds_alone(config, environment):
        return SeedTasks(environment).held_out(count)
    found: list[Task] = []
    parts = sources_of(config)
    for place, (name, part) in enumerate(parts.items()):
        found += _held_out(part, name, graded, share_of(count, len(parts), place), option)
    return found


def rendered(found: list[Task], asked: Asked, system: str) -> list[Prompt]:
    """The tasks as prompts, numbered from 0. Raises `UserError` where one does not fit, or lacks a column."""
    tasks = TaskStream({"": FileTasks(found, [], 0)}, {}, CurriculumConfig())
    stream = EpisodeStream(tasks, asked, system)
    for task in found:
        check_columns(asked.contract, task)
    return [stream.render(task, index) for index, task in enumerate(found)]


def _held_out(config: SourceConfig, source: str, graded: bool, count: int, option: str) -> list[Task]:
    if config.eval_path:
        rows = RowSource(config.eval_path, split=config.eval_split, option=option)
        return _tasks(config, rows, source, graded)[:count]
    if (generated := open_generator(config, 0, source)) is not None:
        return generated.held_out(count)
    if config.path:
        return []
    rows = RowSource(name=config.name, subset=config.subset, split=config.eval_split, option=option)
    return _tasks(config, rows, source, graded)[:count]


def seeds_alone(config: DataConfig, environment: str) -> bool:
    """Whether the run has an environment and no data: each episode's seed is all that it begins from."""
    return bool(environment) and not (
        config.path or config.name or config.mixture or config.options or config.levels or config.eval_path
    )


def _tasks(config: SourceConfig, rows: RowSource, source: str, graded: bool) -> list[Task]:
    """Every row as a task with all of its columns. Where graders decide, rows must have a prompt and a gold; else one
    without a prompt leaves the beginning to `reset`."""
    rows = replace(rows, columns=config.columns)
    reader, drops, tasks = ProblemReader(config.columns, graded=graded), Drops(), list[Task]()
    for record in records(rows):
        drops.read += 1
        try:
            task = reader.task(record, source)
        except Unusable as reason:
            if graded:
                drops.add(str(reason), record.where, asked=reason.asked)
                continue
            task = Task((), source=source, where=record.where)
        except UserError:  # no schema knows such columns
            if graded:
                raise
            task = Task((), source=source, where=record.where)
        tasks.append(replace(task, row=json.loads(json.dumps(record.fields, default=str))))
    drops.check(config.max_dropped)
    if not tasks:
        raise UserError(f"{rows.path or rows.name}: none of its {drops.read:,} rows can be used: {drops}")
    if drops.counts:
        echo(f"{rows.path or rows.name}: {len(tasks):,} of {drops.read:,} rows; dropped: {drops}")
    return tasks


def row_of(problem: Task | Prompt) -> dict[str, Any]:
    """The columns that `reset` may take; of generated problems their prompt and answer."""
    if problem.row is not None:
        return problem.row
    return {"prompt": problem.messages[-1]["content"] if problem.messages else "", "answer": problem.answer}
