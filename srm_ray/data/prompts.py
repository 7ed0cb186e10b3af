"""The task stream: prompt number 0, 1, 2, ... of a run, the same whoever asks and whenever.

    index -> source (of a mixture: the one furthest behind its weight) and position in it
          -> level of the source at that index (the curriculum's schedule) -> task -> rendered prompt

A built-in generator is endless. A file or a dataset is read in an order shuffled anew in each pass by
(seed, pass), so a cursor (the next index) and the curriculum's schedule are all that a checkpoint needs.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from srm_ray.config.data import CurriculumConfig, DataConfig, SourceConfig
from srm_ray.console.progress import echo
from srm_ray.data.curriculum import Curriculum
from srm_ray.data.demonstrations import Demonstrations
from srm_ray.data.difficulty import Difficulty
from srm_ray.data.drops import Drops
from srm_ray.data.problem_files import MAX_DROPPED, Screen, read_problems
from srm_ray.data.reading import RowSource
from srm_ray.data.rendering import render_prompt
from srm_ray.data.tasks import FileTasks, GymTasks, SumTasks, Task, Tasks, WordTasks, share_of
from srm_ray.data.turn_masks import ContextLosses
from srm_ray.errors import UserError
from srm_ray.model.chat_template import Refused, spelled_controls
from srm_ray.rl.types import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

GENERATED_CHECKED = 32  # problems of a generator that are looked at before a run starts
ROWS_CHECKED = 4  # with which a reward of the user's own is tried before a run starts
LIMITED_BY = "lower rollout.max_new_tokens"


class TaskStream:
    """`stream.task(index)` is the task of that index. size: tasks in one pass; None: endless, or a mixture.

    difficulty: chooses among the problems of each source; None: they come in the usual order.
    """

    def __init__(
        self,
        sources: dict[str, Tasks],
        weights: dict[str, float],
        curriculum: CurriculumConfig,
        difficulty: Difficulty | None = None,
    ):
        self.sources, self.weights, self.difficulty = sources, weights, difficulty
        self.size = next(iter(sources.values())).size if len(sources) == 1 else None
        self.curriculum = Curriculum(
            {name: tasks.levels for name, tasks in sources.items()},
            raise_at=curriculum.raise_at,
            window=curriculum.window,
        )
        self._drawn: list[tuple[str, int]] = []  # (source, position) of each index
        self._counts = dict.fromkeys(sources, 0)

    def task(self, index: int) -> tuple[Task, int]:
        """The task and the level it is drawn at. Depends on the seed, the index and the curriculum's schedule, or on
        what `difficulty` knows."""
        source, position = self._place(index)
        if self.difficulty is not None:
            return self._followed(self.difficulty, index, source, position), 0
        level = self.curriculum.level(source, index)
        return self.sources[source].task(position, level), level

    def _followed(self, difficulty: Difficulty, index: int, source: str, position: int) -> Task:
        tasks, pool = self.sources[source], difficulty.options.pool
        if isinstance(tasks, FileTasks):
            rows = tasks.tasks
            return rows[
                difficulty.row(index, source, len(rows), lambda: tasks.row(position), lambda row: rows[row].text)
            ]
        return tasks.task(
            difficulty.row(index, source, pool, lambda: position % pool, lambda row: tasks.task(row).text)
        )

    def _place(self, index: int) -> tuple[str, int]:
        if len(self.sources) == 1:
            return next(iter(self.sources)), index
        total = sum(self.weights.values())
        while len(self._drawn) <= index:
            due = {name: weight / total * (len(self._drawn) + 1) for name, weight in self.weights.items()}
            source = max(due, key=lambda name: due[name] - self._counts[name])
            self._drawn.append((source, self._counts[source]))
            self._counts[source] += 1
        return self._drawn[index]

    def keep(self, fits: Callable[[Task], str], max_dropped: float = MAX_DROPPED) -> None:
        """Leave out the problems of files for which `fits` has a reason to, before the first is drawn. Raises UserError
        where these are more than the share `max_dropped` of a file's, or all."""
        for name, tasks in self.sources.items():
            if isinstance(tasks, FileTasks):
                drops = Drops(read=len(tasks.tasks))
                kept = []
                for task in tasks.tasks:
                    if reason := fits(task):
                        drops.add(reason, task.where)
                    else:
                        kept.append(task)
                drops.check(max_dropped)
                if not kept:
                    raise UserError(f"none of the problems of {name} can be used: {drops}")
                if drops.counts:
                    echo(f"{name}: {len(kept):,} of {drops.read:,} problems; dropped: {drops}")
                    self.sources[name] = FileTasks(kept, [], tasks.seed)
        self.size = next(iter(self.sources.values())).size if len(self.sources) == 1 else None

    def probe(self) -> None:
        """Raises UserError for a family of Reasoning Gym whose scorer accepts anything."""
        for tasks in self.sources.values():
            if isinstance(tasks, GymTasks):
                tasks.probe()

    def samples(self) -> Iterator[Task]:
        """Of a generator some tasks of each level."""
        for tasks in self.sources.values():
            if tasks.size is None:
                for level in range(max(1, tasks.levels)):
                    yield from (tasks.task(position, level) for position in range(GENERATED_CHECKED))


class PromptStream:
    """`stream[index]` is the rendered prompt of that index. limit: tokens that a prompt may have. limited_by: how that
    came about, for the message of a prompt that does not fit. max_dropped: the largest share of a file's problems that
    `check` may leave out.

    shown: what the policy is shown as its own teacher; None: it is not. keeps_messages: prompts have theirs.
    """

    def __init__(
        self,
        tasks: TaskStream,
        tokenizer: "PreTrainedTokenizerFast",
        *,
        system: str,
        limit: int,
        limited_by: str = LIMITED_BY,
        max_dropped: float = MAX_DROPPED,
    ):
        self._max_dropped = max_dropped
        self.shown: Demonstrations | None = None
        self.keeps_messages = False
        self._spelled: list[str] = []  # where the prompts are that spell control tokens
        self._losses = ContextLosses(tokenizer)
        self._losing: Counter[str] = Counter()
        self.tasks, self.size, self.curriculum = tasks, tasks.size, tasks.curriculum
        self.difficulty = tasks.difficulty
        self._tokenizer, self._system, self._limit, self._limited_by = tokenizer, system, limit, limited_by

    def __getitem__(self, index: int) -> Prompt:
        """Raises UserError where a prompt does not leave room for new tokens."""
        task, level = self.tasks.task(index)
        return self.render(task, index, level)

    def ids(self, task: Task) -> tuple[int, ...]:
        """A task's prompt. Raises UserError, with the row, for what the chat template does not take."""
        try:
            return self._rendered(task)
        except UserError as error:
            raise UserError(f"{task.where}: {error}" if task.where else str(error)) from None

    def _rendered(self, task: Task) -> tuple[int, ...]:
        return tuple(render_prompt(self._tokenizer, with_system(task.messages, self._system)))

    def fits(self, task: Task) -> str:
        """Why a task's prompt cannot be used: the chat template refuses it, or it leaves no room for new tokens; ""
        where it can."""
        if spelled_controls(self._tokenizer, task.messages):
            self._spelled.append(task.where or task.source)
        try:
            ids = self._rendered(task)
        except Refused as error:
            return f"refused by the chat template ({error.words})"
        self._losing.update(self._losses.of(with_system(task.messages, self._system), lambda: ids))
        if len(ids) > self._limit:
            return f"prompts of more than {self._limit} tokens: {self._limited_by}"
        return self.shown.fits(task) if self.shown else ""

    def render(self, task: Task, index: int, level: int = 0) -> Prompt:
        ids = self.ids(task)
        if len(ids) > self._limit:
            raise UserError(
                f"{task.where or f'prompt {index} ({task.source})'} has {len(ids)} tokens as a prompt, "
                f"{self._limit} are left for it: {self._limited_by} or shorten the prompt"
            )
        text = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return Prompt(
            index,
            ids,
            text,
            level=level,
            messages=task.messages if self.keeps_messages else (),
            shown_ids=self.shown.ids(task) if self.shown else (),
            **task.known(),
        )

    def first(self, count: int) -> list[Prompt]:
        """The first prompts, fewer where there are not so many."""
        return [self[index] for index in range(count if self.size is None else min(count, self.size))]

    def check(self) -> None:
        """Leave out the problems of files whose prompt does not fit, and render some of each generator: none may raise
        while a run goes on.

        Families of Reasoning Gym are probed (`GymTasks.probe`)."""
        self.tasks.probe()
        self._spelled.clear()
        self._losing.clear()
        self.tasks.keep(self.fits, self._max_dropped)
        self.size = self.tasks.size
        if self._spelled:
            echo(
                f"{len(self._spelled)} prompts spell control tokens of the model ({self._spelled[0]} is the first), "
                "which are taken as text"
            )
        for lost, count in self._losing.items():
            echo(f"{count:,} prompts: {lost}")
        for index, task in enumerate(self.tasks.samples()):
            self.render(task, index)


def with_system(messages: tuple[dict[str, str], ...], system: str) -> list[dict[str, str]]:
    """The system message in front, where there is one to put and none yet."""
    ahead = [{"role": "system", "content": system}] if system and messages[0]["role"] != "system" else []
    return ahead + list(messages)


def training_tasks(
    config: DataConfig,
    *,
    seed: int,
    graded: bool = True,
    curriculum: CurriculumConfig | None = None,
    difficulty: Difficulty | None = None,
    limit: int = 0,
    rows: bool = False,
) -> TaskStream:
    """The tasks that a run trains on. graded: rows must have an answer or tests; False where a reward function of
    the user's own decides. limit: rows of each file or data set that are read; 0: all. rows: tasks keep their row."""
    parts = sources_of(config)
    sources = {
        name: open_tasks(part, seed, name, graded=graded, limit=limit, rows=rows) for name, part in parts.items()
    }
    weights = {name: getattr(part, "weight", 1.0) for name, part in parts.items()}
    return TaskStream(sources, weights, curriculum or CurriculumConfig(), difficulty)


def training_stream(
    config: DataConfig, tokenizer: "PreTrainedTokenizerFast", *, seed: int, limit: int, graded: bool = True
) -> PromptStream:
    """`training_tasks` in their order, rendered. limit: as of `PromptStream`. graded: as of `training_tasks`."""
    return prompts_of(training_tasks(config, seed=seed, graded=graded), config, tokenizer, limit=limit)


def prompts_of(
    tasks: TaskStream,
    config: DataConfig,
    tokenizer: "PreTrainedTokenizerFast",
    *,
    limit: int,
    limited_by: str = LIMITED_BY,
) -> PromptStream:
    """`tasks`, rendered as `config` says."""
    return PromptStream(
        tasks, tokenizer, system=config.system, limit=limit, limited_by=limited_by, max_dropped=config.max_dropped
    )


def held_out_prompts(
    config: DataConfig,
    tokenizer: "PreTrainedTokenizerFast",
    *,
    count: int,
    limit: int,
    limited_by: str = LIMITED_BY,
    graded: bool = True,
) -> list[Prompt]:
    """Up to `count` problems that training never sees, of each source its part; none of a file without eval_path."""
    parts = sources_of(config)
    found: list[Task] = []
    for place, (name, part) in enumerate(parts.items()):
        found += open_held_out(part, share_of(count, len(parts), place), name, graded=graded)
    if not found:
        return []
    tasks = TaskStream({"held-out problems": FileTasks(found, [], 0)}, {}, CurriculumConfig())
    stream = prompts_of(tasks, config, tokenizer, limit=limit, limited_by=limited_by)
    dropped = Drops(read=len(found))
    prompts: list[Prompt] = []
    for task in found:
        if reason := stream.fits(task):
            dropped.add(reason, task.where)
        else:
            prompts.append(stream.render(task, len(prompts)))
    dropped.check(config.max_dropped)
    if dropped.counts:
        echo(f"{len(prompts):,} of {len(found):,} held-out problems; dropped: {dropped}")
    return prompts


def sources_of(config: DataConfig) -> dict[str, SourceConfig]:
    """By name: those of the mixture, or the one source."""
    if config.mixture:
        return dict(config.mixture)
    if config.path:
        return {Path(config.path.split(",")[0]).name.split(".")[0] or "data": config}
    return {config.name.split("/")[-1] or config.generator: config}


def open_tasks(
    config: SourceConfig, seed: int, source: str, *, graded: bool = True, limit: int = 0, rows: bool = False
) -> Tasks:
    """The training problems of one source, each marked with `source` (rows that name their own keep it)."""
    generated = open_generator(config, seed, source)
    if generated is not None:
        return generated
    found = read_problems(
        RowSource(config.path, config.name, config.subset, config.split, config.columns, limit=limit),
        source,
        grader=config.grader,
        graded=graded,
        rows=rows,
        screen=Screen(config.drop_duplicates, config.max_dropped),
    )
    return FileTasks(found.tasks, [], seed)


def open_held_out(config: SourceConfig, count: int, source: str, *, graded: bool = True) -> list[Task]:
    """Up to `count` of the problems that training never sees."""
    if config.eval_path:
        return _held_out(RowSource(config.eval_path), config, source, graded)[:count]
    generated = open_generator(config, 0, source)
    if generated is not None:
        return generated.held_out(count)
    if config.path:
        return []
    return _held_out(RowSource(name=config.name, subset=config.subset), config, source, graded)[:count]


def open_generator(config: SourceConfig, seed: int, source: str) -> Tasks | None:
    """None where the source is a file or a dataset."""
    if not config.generated:
        return None
    if config.name:
        return GymTasks(config, seed, source)
    built_in: dict[str, type[SumTasks] | type[WordTasks]] = {"arithmetic": SumTasks, "word_problems": WordTasks}
    if config.generator not in built_in:
        known = ", ".join(built_in)
        raise UserError(f"data.generator {config.generator!r} does not exist; the built-in ones are {known}")
    return built_in[config.generator](config, seed, source)


def _held_out(rows: RowSource, config: SourceConfig, source: str, graded: bool) -> list[Task]:
    rows = replace(rows, split=config.eval_split, columns=config.columns)
    screen = Screen(max_dropped=config.max_dropped)
    return read_problems(rows, source, grader=config.grader, graded=graded, measuring=True, screen=screen).tasks
