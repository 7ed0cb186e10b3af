"""The task stream: prompt number 0, 1, 2, ... of a run, the same whoever asks and whenever.

A built-in generator is endless. A file or a dataset is read in an order shuffled anew in each pass by
(seed, pass), so a cursor (the next index) is all that a checkpoint needs.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_ray.config.grpo import DataConfig
from srm_ray.data import arithmetic
from srm_ray.data.rendering import render_prompt
from srm_ray.errors import UserError
from srm_ray.rl.types import Prompt

HELD_OUT_SEED = 0  # held-out problems are the same in every run, so that runs compare


@dataclass(frozen=True, slots=True)
class Task:
    """One problem before rendering. answer or tests (with entry_point) is set. where: e.g. "problems.jsonl:17"."""

    messages: tuple[dict[str, str], ...]
    answer: str | None = None
    tests: Any = None
    entry_point: str | None = None
    source: str = ""
    where: str = ""


class PromptStream:
    """`stream[index]` is the rendered prompt of that index. size: prompts in one pass; None: a generator's, endless."""

    def __init__(
        self, task: Callable[[int], Task], tokenizer: Any, *, system: str, limit: int, size: int | None = None
    ):
        self._task, self._tokenizer, self._system, self._limit, self.size = task, tokenizer, system, limit, size

    def __getitem__(self, index: int) -> Prompt:
        """Raises UserError where a prompt does not leave room for new tokens."""
        task = self._task(index)
        messages = list(task.messages)
        if self._system and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": self._system})
        ids = tuple(render_prompt(self._tokenizer, messages))
        if len(ids) > self._limit:
            raise UserError(
                f"{task.where or f'prompt {index} ({task.source})'} has {len(ids)} tokens as a prompt, "
                f"the context leaves {self._limit} for it: "
                "lower rollout.max_new_tokens or shorten the prompt"
            )
        text = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return Prompt(index, ids, text, task.answer, task.tests, task.entry_point, task.source)

    def check(self) -> None:
        """Render every prompt of a pass (of a generator: one), so that none raises while a run goes on."""
        for index in range(self.size or 1):
            self[index]


def training_stream(config: DataConfig, tokenizer: Any, *, seed: int, limit: int, graded: bool = True) -> PromptStream:
    """The stream that a run trains on. limit: tokens that a prompt may have.

    graded: rows must have an answer or tests; False where a reward function of the user's own decides.
    """
    tasks = _read_tasks(config, config.path, config.split, graded)
    if tasks is None:
        return PromptStream(_generator(config.generator, seed, "train"), tokenizer, system=config.system, limit=limit)
    return PromptStream(_shuffled(tasks, seed), tokenizer, system=config.system, limit=limit, size=len(tasks))


def held_out_prompts(config: DataConfig, tokenizer: Any, *, count: int, limit: int) -> list[Prompt]:
    """Up to `count` problems that training never sees; empty where the config names none."""
    if config.path and not config.eval_path:
        return []
    tasks = _read_tasks(config, config.eval_path, config.eval_split, graded=True)
    if tasks is None:
        made = arithmetic.problems(HELD_OUT_SEED, count, "held_out")
        tasks = [_arithmetic_task(problem) for problem in made]
    chosen = tasks[:count]
    stream = PromptStream(chosen.__getitem__, tokenizer, system=config.system, limit=limit)
    return [stream[index] for index in range(len(chosen))]


def _read_tasks(config: DataConfig, path: str, split: str, graded: bool) -> list[Task] | None:
    if path:
        return read_jsonl(Path(path), graded=graded)
    if config.name:
        return _read_dataset(config.name, config.subset, split, graded)
    return None


def _generator(name: str, seed: int, split: arithmetic.Split) -> Callable[[int], Task]:
    if name != "arithmetic":
        raise UserError(f"data.generator {name!r} does not exist; the built-in one is arithmetic")
    return lambda index: _arithmetic_task(arithmetic.problem(seed, index, split))


def _arithmetic_task(problem: arithmetic.Problem) -> Task:
    return Task(({"role": "user", "content": problem.question},), answer=problem.answer, source="arithmetic")


def _shuffled(tasks: list[Task], seed: int) -> Callable[[int], Task]:
    orders: dict[int, list[int]] = {}

    def task(index: int) -> Task:
        epoch, position = divmod(index, len(tasks))
        if epoch not in orders:
            orders.clear()
            orders[epoch] = random.Random(f"order/{seed}/{epoch}").sample(range(len(tasks)), len(tasks))
        return tasks[orders[epoch][position]]

    return task


# Files and datasets


def read_jsonl(path: Path, *, graded: bool = True) -> list[Task]:
    """Tasks of a JSONL file; every problem is a UserError with the file's name and line number."""
    if not path.is_file():
        raise UserError(f"data file {path} does not exist")
    tasks = [_row_task(row, f"{path}:{number}", path.stem, graded) for number, row in json_lines(path)]
    if not tasks:
        raise UserError(f"data file {path} is empty")
    return tasks


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    raise UserError(f"{path}:{number}: not JSON: {error.msg}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text") from None


def _read_dataset(name: str, subset: str, split: str, graded: bool) -> list[Task]:
    try:
        import datasets

        rows = datasets.load_dataset(name, subset or None, split=split)
    except Exception as error:  # the hub's client raises many kinds; each is the user's to know
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"dataset {name} ({subset}, {split}) cannot be loaded: {reason}; give a file with --data.path"
        ) from None
    source = name.split("/")[-1]
    return [_row_task(row, f"{name}:{number}", source, graded) for number, row in enumerate(rows, 1)]


def _row_task(row: Any, where: str, source: str, graded: bool) -> Task:
    """One row: `prompt` or `messages` or GSM8K's `question`, with `answer` or `tests`."""
    if not isinstance(row, dict):
        raise UserError(f"{where}: an object is expected, got {type(row).__name__}")
    messages = _row_messages(row, where)
    answer, tests = row.get("answer"), row.get("tests")
    if graded and answer is None and tests is None:
        raise UserError(f"{where}: `answer` or `tests` is missing (found {', '.join(row) or 'nothing'})")
    if answer is not None and not isinstance(answer, str | int | float):
        raise UserError(f"{where}: `answer` must be text or a number, got {type(answer).__name__}")
    gold = None if answer is None else final_answer(str(answer))
    return Task(messages, gold, tests, row.get("entry_point"), str(row.get("source", source)), where)


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
