"""The task stream: prompt number 0, 1, 2, ... of a run, the same whoever asks and whenever.

    index -> source (of a mixture: the one furthest behind its weight) and position in it
          -> level of the source at that index (the curriculum's schedule) -> task -> rendered prompt

A built-in generator is endless. A file or a dataset is read in an order shuffled anew in each pass by
(seed, pass), so a cursor (the next index) and the curriculum's schedule are all that a checkpoint needs.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rewards.code.forms import BadTests, job_of, of_row
from rewards.gym import GymTask
from srm_ray.config.grpo import CurriculumConfig, DataConfig, SourceConfig
from srm_ray.data import reading
from srm_ray.data.curriculum import Curriculum
from srm_ray.data.rendering import render_prompt
from srm_ray.data.tasks import FileTasks, GymTasks, SumTasks, Task, Tasks, share_of
from srm_ray.errors import UserError
from srm_ray.rl.types import Prompt

GENERATED_CHECKED = 32  # problems of a generator that are looked at before a run starts
ROWS_CHECKED = 4  # with which a reward of the user's own is tried before a run starts
LIMITED_BY = "lower rollout.max_new_tokens"
GRADERS = ("", "math", "code", "text", "gym")
MBPP_SPLITS = {"prompt": (1, 10), "test": (11, 510), "validation": (511, 600), "train": (601, 974)}  # task_id, both in


class TaskStream:
    """`stream.task(index)` is the task of that index. size: tasks in one pass; None: endless, or a mixture."""

    def __init__(self, sources: dict[str, Tasks], weights: dict[str, float], curriculum: CurriculumConfig):
        self.sources, self.weights = sources, weights
        self.size = next(iter(sources.values())).size if len(sources) == 1 else None
        self.curriculum = Curriculum(
            {name: tasks.levels for name, tasks in sources.items()},
            raise_at=curriculum.raise_at,
            window=curriculum.window,
        )
        self._drawn: list[tuple[str, int]] = []  # (source, position) of each index
        self._counts = dict.fromkeys(sources, 0)

    def task(self, index: int) -> tuple[Task, int]:
        """The task and the level it is drawn at. Depends on the seed, the index and the curriculum's schedule."""
        source, position = self._place(index)
        level = self.curriculum.level(source, index)
        return self.sources[source].task(position, level), level

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

    def probe(self) -> None:
        """Raises UserError for a family of Reasoning Gym whose scorer accepts anything."""
        for tasks in self.sources.values():
            if isinstance(tasks, GymTasks):
                tasks.probe()

    def samples(self) -> Iterator[Task]:
        """Every task of a file; of a generator some of each level."""
        for tasks in self.sources.values():
            positions = range(GENERATED_CHECKED if tasks.size is None else tasks.size)
            for level in range(max(1, tasks.levels)):
                yield from (tasks.task(position, level) for position in positions)


class PromptStream:
    """`stream[index]` is the rendered prompt of that index. limit: tokens that a prompt may have. limited_by: how that
    came about, for the message of a prompt that does not fit."""

    def __init__(self, tasks: TaskStream, tokenizer: Any, *, system: str, limit: int, limited_by: str = LIMITED_BY):
        self.tasks, self.size, self.curriculum = tasks, tasks.size, tasks.curriculum
        self._tokenizer, self._system, self._limit, self._limited_by = tokenizer, system, limit, limited_by

    def __getitem__(self, index: int) -> Prompt:
        """Raises UserError where a prompt does not leave room for new tokens."""
        task, level = self.tasks.task(index)
        return self.render(task, index, level)

    def render(self, task: Task, index: int, level: int = 0) -> Prompt:
        ids = tuple(render_prompt(self._tokenizer, with_system(task.messages, self._system)))
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
            answer=task.answer,
            tests=task.tests,
            entry_point=task.entry_point,
            source=task.source,
            grader=task.grader,
            gym=task.gym,
            row=task.row,
            level=level,
            also_right=task.also_right,
            given=task.given,
        )

    def first(self, count: int) -> list[Prompt]:
        """The first prompts, fewer where there are not so many."""
        return [self[index] for index in range(count if self.size is None else min(count, self.size))]

    def check(self) -> None:
        """Render every prompt of a pass (of a generator: some): none may raise while a run goes on.

        Families of Reasoning Gym are probed (`GymTasks.probe`)."""
        self.tasks.probe()
        for index, task in enumerate(self.tasks.samples()):
            self.render(task, index)


def with_system(messages: tuple[dict[str, str], ...], system: str) -> list[dict[str, str]]:
    """The system message in front, where there is one to put and none yet."""
    ahead = [{"role": "system", "content": system}] if system and messages[0]["role"] != "system" else []
    return ahead + list(messages)


def training_tasks(
    config: DataConfig, *, seed: int, graded: bool = True, curriculum: CurriculumConfig | None = None
) -> TaskStream:
    """The tasks that a run trains on. graded: rows must have an answer or tests; False where a reward function of
    the user's own decides."""
    parts = sources_of(config)
    sources = {name: open_tasks(part, seed, name, graded=graded) for name, part in parts.items()}
    weights = {name: getattr(part, "weight", 1.0) for name, part in parts.items()}
    return TaskStream(sources, weights, curriculum or CurriculumConfig())


def training_stream(
    config: DataConfig,
    tokenizer: Any,
    *,
    seed: int,
    limit: int,
    limited_by: str = LIMITED_BY,
    graded: bool = True,
    curriculum: CurriculumConfig | None = None,
) -> PromptStream:
    """`training_tasks`, rendered. limit, limited_by: as of `PromptStream`."""
    tasks = training_tasks(config, seed=seed, graded=graded, curriculum=curriculum)
    return PromptStream(tasks, tokenizer, system=config.system, limit=limit, limited_by=limited_by)


def held_out_prompts(
    config: DataConfig,
    tokenizer: Any,
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
    tasks = TaskStream({"": FileTasks(found, [], 0)}, {}, CurriculumConfig())
    stream = PromptStream(tasks, tokenizer, system=config.system, limit=limit, limited_by=limited_by)
    return [stream.render(task, index) for index, task in enumerate(found)]


def sources_of(config: DataConfig) -> dict[str, SourceConfig]:
    """By name: those of the mixture, or the one source."""
    if config.mixture:
        return dict(config.mixture)
    if config.path:
        return {Path(config.path).stem: config}
    return {config.name.split("/")[-1] or config.generator: config}


def open_tasks(config: SourceConfig, seed: int, source: str, *, graded: bool = True) -> Tasks:
    """The training problems of one source, each marked with `source` (rows that name their own keep it)."""
    generated = open_generator(config, seed, source)
    if generated is not None:
        return generated
    return FileTasks(_read(config, config.path, config.split, source, graded=graded, measuring=False), [], seed)


def open_held_out(config: SourceConfig, count: int, source: str, *, graded: bool = True) -> list[Task]:
    """Up to `count` of the problems that training never sees."""
    if config.eval_path:
        return _read(config, config.eval_path, config.eval_split, source, graded=graded, measuring=True)[:count]
    generated = open_generator(config, 0, source)
    if generated is not None:
        return generated.held_out(count)
    if config.path:
        return []
    return _read(config, "", config.eval_split, source, graded=graded, measuring=True)[:count]


def open_generator(config: SourceConfig, seed: int, source: str) -> Tasks | None:
    """None where the source is a file or a dataset."""
    if not config.generated:
        return None
    if config.name:
        return GymTasks(config, seed, source)
    if config.generator != "arithmetic":
        raise UserError(f"data.generator {config.generator!r} does not exist; the built-in one is arithmetic")
    return SumTasks(config, seed, source)


def _read(config: SourceConfig, path: str, split: str, source: str, *, graded: bool, measuring: bool) -> list[Task]:
    if path:
        tasks = read_jsonl(Path(path), graded=graded, split=split, measuring=measuring)
        own = Path(path).stem
    else:
        tasks = _read_dataset(config.name, config.subset, split, graded, measuring)
        own = config.name.split("/")[-1]
    return [replace(task, source=source) if task.source == own else task for task in tasks]


# Files and datasets


def read_jsonl(path: Path, *, graded: bool = True, split: str = "train", measuring: bool = False) -> list[Task]:
    """Tasks of a JSONL file; every problem is a UserError with the file's name and line number.

    split, measuring: see `tasks_of_rows`.
    """
    if not path.is_file():
        raise UserError(f"data file {path} does not exist")
    tasks = tasks_of_rows(reading.rows(path), str(path), path.stem, graded=graded, split=split, measuring=measuring)
    if not tasks:
        raise UserError(f"data file {path} is empty")
    return tasks


def tasks_of_rows(
    rows: Iterable[tuple[int, Any]], where: str, source: str, *, graded: bool, split: str, measuring: bool
) -> list[Task]:
    """Tasks of numbered rows.

    MBPP's files hold all of its splits, told apart by task_id: rows of the `split` asked for are taken, and for
    training (`measuring` False) no other than `train` may be.
    """
    tasks, passed_over = [], 0
    for number, row in rows:
        made = row
        if is_mbpp(row):
            if not in_mbpp_split(row["task_id"], split, f"{where}:{number}", measuring):
                passed_over += 1
                continue
            made = mbpp_row(row, f"{where}:{number}")
        task = _row_task(made, f"{where}:{number}", source, graded)
        # The row travels as JSON, and only where a reward of the user's own wants it.
        tasks.append(task if graded else replace(task, row=json.loads(json.dumps(row, default=str))))
    if passed_over and not tasks:
        low, high = MBPP_SPLITS[split]
        raise UserError(
            f"{where} holds no task of MBPP's split {split} (task_id {low} to {high}) among its {passed_over}"
            + ("" if measuring else "; its other splits are for measuring, not for training")
        )
    return tasks


# MBPP


def is_mbpp(row: Any) -> bool:
    return isinstance(row, dict) and "test_list" in row and "task_id" in row


def in_mbpp_split(task_id: Any, split: str, where: str, measuring: bool) -> bool:
    if split not in MBPP_SPLITS:
        raise UserError(f"{where}: MBPP has the splits {', '.join(MBPP_SPLITS)}, not {split!r}")
    if split != "train" and not measuring:
        raise UserError(f"{where}: MBPP's split {split} is for measuring; train on split train (task_id 601 to 974)")
    if not isinstance(task_id, int):
        raise UserError(f"{where}: MBPP's `task_id` must be a whole number, got {task_id!r}")
    low, high = MBPP_SPLITS[split]
    return low <= task_id <= high


def mbpp_row(row: dict[str, Any], where: str) -> dict[str, Any]:
    """MBPP's row in this project's form. The prompt shows the first test alone, as it names the function; the
    others must be passed unseen. `text` with `test_setup_code`, or the sanitized form's `prompt` with
    `test_imports`."""
    text, tests = row.get("text", row.get("prompt")), row["test_list"]
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}: MBPP's `text` is missing (found {', '.join(row)})")
    if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
        raise UserError(f"{where}: MBPP's `test_list` must be a list of statements")
    setup = row.get("test_setup_code") or "\n".join(row.get("test_imports") or [])
    prompt = f"{text.strip()}\nYour code, in a Python block, must pass tests such as:\n{tests[0]}"
    return {"prompt": prompt, "tests": [*([setup] if setup.strip() else []), *tests]}


def _read_dataset(name: str, subset: str, split: str, graded: bool, measuring: bool) -> list[Task]:
    rows = reading.hub_rows(name, subset, split)
    source = name.split("/")[-1]
    return tasks_of_rows(rows, name, source, graded=graded, split=split, measuring=measuring)


def _row_task(row: Any, where: str, source: str, graded: bool) -> Task:
    """One row: `prompt` or `messages` or GSM8K's `question`, with `answer` or `tests` (or what `of_row` takes for
    tests)."""
    messages = _row_messages(row, where)
    answer, tests, entry = row.get("answer"), row.get("tests"), row.get("entry_point")
    if answer is None and tests is None:
        tests, entry, _ = of_row(row)
    if graded and answer is None and tests is None and row.get("gym") is None:
        raise UserError(f"{where}: `answer` or `tests` is missing (found {', '.join(row) or 'nothing'})")
    if not graded and not isinstance(answer, str | int | float):
        answer = None  # what else it is, a reward of the user's own finds in the row
    if answer is not None and not isinstance(answer, str | int | float):
        raise UserError(f"{where}: `answer` must be text or a number, got {type(answer).__name__}")
    gold = None if answer is None else final_answer(str(answer))
    grader, gym = row_grader(row, where)
    if graded and tests is not None and grader in ("", "code"):
        try:
            job_of(tests, entry, messages[-1]["content"])
        except BadTests as error:
            raise UserError(f"{where}: `tests`: {error}") from None
    return Task(messages, gold, tests, entry, str(row.get("source", source)), where, grader, gym)


def row_grader(row: dict[str, Any], where: str) -> tuple[str, GymTask | None]:
    """`grader` and `gym`, which rows have that this project wrote (`python -m srm_ray.filter`)."""
    grader, made = row.get("grader", ""), row.get("gym") or {}
    if grader not in GRADERS:
        raise UserError(f"{where}: `grader` must be one of math, code, text and gym, got {grader!r}")
    if grader != "gym":
        return grader, None
    try:
        return grader, GymTask(str(made["family"]), str(made["options"]), int(made["seed"]), int(made["index"]))
    except (TypeError, KeyError, ValueError):
        raise UserError(f"{where}: `gym` must have family, options, seed and index, got {made!r}") from None


def _row_messages(row: dict[str, Any], where: str) -> tuple[dict[str, str], ...]:
    if "messages" in row:
        messages = row["messages"]
        well_formed = (
            isinstance(messages, list)
            and messages
            and all(
                isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
                for m in messages
            )
        )
        if not well_formed:
            raise UserError(f"{where}: `messages` must be a list of objects with `role` and `content`")
        return tuple(messages)
    text = row.get("prompt", row.get("question"))
    if not isinstance(text, str) or not text.strip():
        raise UserError(f"{where}: `prompt` or `messages` is missing (found {', '.join(row) or 'nothing'})")
    return ({"role": "user", "content": text},)


def final_answer(answer: str) -> str:
    """GSM8K's answers end in `#### 72`; others are the answer itself."""
    return answer.rsplit("####", 1)[1].strip().replace(",", "") if "####" in answer else answer.strip()
