r"""The suites by name, and their problems from local files, from the hub, or from the built-in generator.

    <data.path>/<suite>/*.jsonl, or the hub --rows--> Item(question, answer or tests)
    a file or data set of one's own         --read_problems (any schema, any grader)--> Item

Local rows and the hub's may name their fields differently; `_ROW` reads both. MATH-500's gold is what its worked
solution boxes. MBPP is measured on its test split, tasks 11 to 510; SVAMP on all 1,000 problems.
"""

import difflib
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rewards.golds import BadGold, text_of
from rewards.problem import Problem
from srm_ray.console import hub
from srm_ray.data import arithmetic, formats, mbpp, numerals, word_problems
from srm_ray.data.drops import Unusable
from srm_ray.data.problem_files import read_problems
from srm_ray.data.reading import SPLITS, RowSource, files_named, names_data
from srm_ray.data.reading import rows as rows_of
from srm_ray.data.tasks import HELD_OUT_SEED, Task
from srm_ray.errors import UserError

Row = dict[str, Any]
ARITHMETIC_PROBLEMS = WORD_PROBLEMS = 1000
DIGESTED = ("index", "question", "answer", "tests", "entry_point", "prelude")  # what is asked, and what is right
DIGESTED_WHERE_SET = ("before", "grader", "given", "also_right")


@dataclass(frozen=True, slots=True)
class Item(Problem):
    """One problem of a suite. prelude: code that its tests may use beside the candidate's (HumanEval's prompt defines
    helpers). before: the turns before the question."""

    index: int
    question: str
    prelude: str | None = None
    before: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Suite:
    """kind: whose grader; "own" for each problem's. hub: (name, subset, split). last_number: an answer that is not
    announced may be the last number. metric: what the headline number is. instructed: problems of mathematics get
    `prompt.instruction`. rows: of an own file or data set. grader: of these where they name none."""

    name: str
    kind: Literal["math", "code", "harness", "own", "environment"]
    hub: tuple[str, str, str] = ("", "", "")
    last_number: bool = False
    metric: str = "pass@1"
    instructed: bool = True
    rows: RowSource | None = None
    grader: str = ""


SUITES = {
    suite.name: suite
    for suite in (
        Suite("arithmetic", "math", instructed=False),
        Suite("numerals", "math", instructed=False),
        Suite("word_problems", "math", instructed=False, last_number=True),
        Suite("gsm8k", "math", ("openai/gsm8k", "main", "test"), last_number=True),
        Suite("math500", "math", ("HuggingFaceH4/MATH-500", "", "test")),
        Suite("aime24", "math", ("HuggingFaceH4/aime_2024", "", "train")),
        Suite("svamp", "math", ("ChilleD/SVAMP", "", "train+test"), last_number=True),
        Suite("humaneval", "code", ("openai/openai_humaneval", "", "test"), instructed=False),
        Suite("mbpp", "code", ("google-research-datasets/mbpp", "full", "test"), instructed=False),
        Suite("bbh", "harness", metric="exact_match,flexible-extract"),
        Suite("ifeval", "harness", metric="prompt_level_strict_acc,none"),
        Suite("mmlu_stem", "harness", metric="acc,none"),
        Suite("arc_challenge", "harness", metric="acc_norm,none"),
    )
}


def named(names: Sequence[str], option: str = "--tasks") -> list[Suite]:
    """The suites of these names, each once. Raises `UserError` for an unknown one, naming the nearest."""
    for name in names:
        if name not in SUITES:
            near = difflib.get_close_matches(name, SUITES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"{option}: unknown suite {name!r}{hint} (suites: {', '.join(SUITES)})")
    return [SUITES[name] for name in dict.fromkeys(names)]


def asked(tasks: Sequence[str], columns: Mapping[str, str], grader: str) -> list[Suite]:
    """What `--tasks` names: suites, and files, folders, globs or data sets of one's own. Raises `UserError`."""
    found = [
        own(task, columns, grader) if task not in SUITES and names_data(task) else named([task])[0]
        for task in dict.fromkeys(tasks)
    ]
    names = [suite.name for suite in found]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"--tasks: two of them would be called {name}: rename a file, or measure them apart")
    return found


def own(task: str, columns: Mapping[str, str], grader: str) -> Suite:
    """A suite of one's own rows: `test` of a folder or data set, every row of a file. Raises `UserError`."""
    if names_data(task) == "path":
        files_named(task, split="test", option="--tasks")
        source = RowSource(path=task, columns=columns, split="test", option="tasks")
        path = Path(task).expanduser().absolute()
        name = formats.stem_of(path)
        if name.lower() in SPLIT_NAMES:
            name = f"{path.parent.name}-{name}"
    else:
        source = RowSource(name=task, columns=columns, split="test", option="tasks")
        name = task.split(":")[0].rpartition("/")[2]
    name = re.sub(r"[^\w.-]+", "-", name).strip("-.")
    return Suite(f"own-{name}" if name in SUITES else name or "own", "own", rows=source, grader=grader)


SPLIT_NAMES = {spelling for spellings in SPLITS.values() for spelling in spellings} | {"data"}

BUILT_IN: dict[str, Callable[[int], Sequence[arithmetic.SumProblem | numerals.Numeral | word_problems.WordProblem]]] = {
    "arithmetic": lambda limit: arithmetic.problems(HELD_OUT_SEED, limit or ARITHMETIC_PROBLEMS, "held_out"),
    "numerals": lambda limit: numerals.held_out_problems(limit or numerals.LIMIT),
    "word_problems": lambda limit: word_problems.problems(HELD_OUT_SEED, limit or WORD_PROBLEMS, "held_out"),
}


def load(suite: Suite, path: str, limit: int = 0) -> list[Item]:
    """The suite's first `limit` problems (0: all), from `path` or the hub. Raises `UserError`."""
    if suite.name in BUILT_IN:
        return [Item(index, one.question, answer=one.answer) for index, one in enumerate(BUILT_IN[suite.name](limit))]
    if suite.rows is not None:
        tasks = read_problems(suite.rows, suite.name, grader=suite.grader, measuring=True).tasks
        return [own_item(task, index) for index, task in enumerate(tasks[: limit or None])]
    items: list[Item] = []
    for where, row in _local_rows(suite, path) if path else _hub_rows(suite):
        if suite.name == "mbpp" and not mbpp.in_split(row.get("task_id", 11), "test", where, measuring=True):
            continue
        items.append(_item(suite, row, where, len(items)))
        if len(items) == limit:
            break
    if not items:
        raise UserError(f"suite {suite.name}: no problems in {path or suite.hub[0]}")
    return items


def own_item(task: Task, index: int) -> Item:
    *before, last = task.messages
    return Item(index, last["content"], before=tuple(before), **task.known())


def digest(items: Sequence[Any]) -> str:
    """Fingerprint of the problems, so that two evaluations are known to be of the same ones."""
    plain = [digested(item) if isinstance(item, Item) else item for item in items]
    text = json.dumps(plain, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digested(item: Item) -> dict[str, Any]:
    more = {name: value for name in DIGESTED_WHERE_SET if (value := getattr(item, name))}
    return {name: getattr(item, name) for name in DIGESTED} | more


def _item(suite: Suite, row: Row, where: str, index: int) -> Item:
    if not isinstance(row, dict):
        raise UserError(f"{where}: an object is expected, got {type(row).__name__}")
    try:
        return _ROW[suite.name](row, index)
    except (Unusable, BadGold) as error:
        raise UserError(f"{where}: {error}") from None
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(
            f"{where}: not a row of {suite.name} ({type(error).__name__}: {error}; found {', '.join(row)})"
        ) from None


# Rows


def _local_rows(suite: Suite, path: str) -> list[tuple[str, Row]]:
    file = local_file(suite, path)
    return [(f"{file}:{number}", row) for number, row in rows_of(file)]


def local_file(suite: Suite, path: str) -> Path:
    """`test.jsonl` (or `.parquet`, `.json.gz`, ...) in the suite's folder, or the name that its authors gave it.

    Raises `UserError`.
    """
    folder = Path(path) / suite.name
    for name in ("test", suite.name, "input_data"):
        found = [file for file in sorted(folder.glob(f"{name}.*")) if formats.suffix_of(file) in formats.SUFFIXES]
        if found:
            return found[0]
    raise UserError(f"suite {suite.name}: {folder}/test.jsonl does not exist (--data.path wants one folder a suite)")


def _hub_rows(suite: Suite) -> list[tuple[str, Row]]:
    name, subset, split = suite.hub
    return [(f"{name}:{number}", dict(row)) for number, row in enumerate(hub_rows(name, subset, split), 1)]


def hub_rows(name: str, subset: str, split: str) -> Any:
    """Rows of a dataset of the hub. Raises `UserError` where it cannot be loaded."""
    try:
        import datasets

        with hub.asking(name):
            return datasets.load_dataset(name, subset or None, split=split)
    except Exception as error:  # the hub's client raises many kinds; each is the user's to know
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"dataset {name} cannot be loaded: {reason}; give local files with --data.path") from None


def _gsm8k(row: Row, index: int) -> Item:
    return Item(index, _text(row["question"]), answer=text_of(row["answer"]))


def _math500(row: Row, index: int) -> Item:
    return Item(index, _text(row["problem" if "problem" in row else "question"]), answer=text_of(row["answer"]))


def _aime24(row: Row, index: int) -> Item:
    return Item(index, _text(row["problem"]), answer=str(int(row["answer"])))


def _svamp(row: Row, index: int) -> Item:
    body = row["Body"].strip()
    question = f"{body if body.endswith(('.', '?')) else body + '.'} {row['Question'].strip()}"
    return Item(index, question, answer=_number(row))


def _number(row: Row) -> str:
    value = float(row["Answer"])
    return str(int(value)) if value.is_integer() else str(value)


def _humaneval(row: Row, index: int) -> Item:
    question = (
        "Complete this Python function. Answer with the whole function in one ```python block.\n\n"
        f"```python\n{row['prompt'].rstrip()}\n```"
    )
    tests, entry = _text(row["test"]), _text(row["entry_point"])
    return Item(index, question, row["prompt"], tests=tests, entry_point=entry)


def _mbpp(row: Row, index: int) -> Item:
    read = mbpp.problem_of(row)
    shown = "\n".join(read.tests)
    question = (
        f"{read.text}\nAnswer with the function in one ```python block. It must pass these tests:\n\n"
        f"```python\n{shown}\n```"
    )
    return Item(index, question, tests=read.statements)


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"text is expected, got {value!r}")
    return value.strip()


_ROW: dict[str, Callable[[Row, int], Item]] = {
    "gsm8k": _gsm8k,
    "math500": _math500,
    "aime24": _aime24,
    "svamp": _svamp,
    "humaneval": _humaneval,
    "mbpp": _mbpp,
}
