"""Rows to tasks: the prompt, the gold and who grades it, by the schema that the row's columns fit.

    Record --schema_of--> prompt (messages that end with the user's), gold (answers, a choice, tests, a target) --> Task

What cannot be used raises `Unusable`; what of a row is left out is counted in `Notes`, to be said once for a file.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rewards.code.forms import COLUMNS, NAMES, BadTests, job_of, of_row
from rewards.golds import BadGold, texts_of
from rewards.gym import GymTask
from srm_ray.data import choices, mbpp
from srm_ray.data.columns import DIALOGUES, Columns
from srm_ray.data.drops import Unusable
from srm_ray.data.messages import Turns, described, from_json
from srm_ray.data.reading import Record, within
from srm_ray.data.schemas import ANSWERS, Schema, proposal, schema_of
from srm_ray.data.tasks import Task
from srm_ray.errors import UserError

GRADERS = ("", "math", "code", "text", "choice", "countdown", "gym")
SOURCES = ("source", "data_source")
CODE_COLUMNS = {*COLUMNS, *NAMES, "test_imports", "test_setup_code", "challenge_test_list", "metadata"}
NUMBERS = ("nums", "numbers", "target")
SEEN = re.compile(r"image|picture|audio|video", re.IGNORECASE)  # columns of what a text model does not see
RENDERED = re.compile(
    r"<\|im_start\|>|<\|start_header_id\|>|<start_of_turn>|\[INST\]|<\|(?:user|assistant|system|User|Assistant)\|>"
    r"|<｜(?:User|Assistant)｜>|<\|start_of_role\|>"
)
HUMANEVAL = "Complete this Python function. Answer with the whole function in one ```python block."
COUNTDOWN = (
    "Using the numbers {numbers}, each exactly once, write an expression that equals {target}. You may use +, -, *, / "
    "and parentheses. Put the final expression within \\boxed{{}}."
)


@dataclass(slots=True)
class Notes:
    """What of a file's rows was read and what was not. schemas: rows by schema; unread: rows in which a column had
    something that was not looked at; left_out: rows of which a part was left out, by what it was."""

    schemas: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        """One line: "read as GSM8K; not used: id, level"."""
        parts = ["read as " + " and as ".join(self.schemas)] if self.schemas else []
        if self.unread:
            parts.append(f"not used: {', '.join(self.unread)}")
        parts += [f"in {count:,} of them {what}" for what, count in self.left_out.items()]
        return "; ".join(parts)


class ProblemReader:
    """Makes tasks of records. columns: the mapping that the records were read with (`RowSource.columns`). graded: rows
    must have a gold; False where a reward function of the user's own decides, which gets the whole row."""

    def __init__(self, columns: Iterable[str] = (), *, graded: bool = True) -> None:
        self.mapped, self.graded = tuple(columns), graded
        self.notes = Notes()
        self._schemas: dict[tuple[str, ...], Schema] = {}

    def task(self, record: Record, source: str) -> Task:
        """Raises `Unusable`, and `UserError` where no schema fits the columns."""
        columns = Columns(record.fields)
        schema = self.schema(record)
        seen = [name for name, value in record.fields.items() if SEEN.search(name) and value not in (None, "", [])]
        if seen:
            raise Unusable(f"it has {seen[0]!r}, which a model of text does not see")
        task = self._with_gold(Task((), source=source_of(columns, source), where=record.where), columns, schema)
        # The row travels as JSON, and only where a reward of the user's own wants it.
        row = None if self.graded else json.loads(json.dumps(record.fields, default=str))
        self.notes.schemas[schema.name] += 1
        self.notes.unread.update(columns.unread)
        return replace(task, row=row)

    def schema(self, record: Record) -> Schema:
        names = tuple(record.fields)
        if names not in self._schemas:
            self._schemas[names] = self._find(record)
        return self._schemas[names]

    def _find(self, record: Record) -> Schema:
        names = record.fields
        if "prompt" in self.mapped:
            gold = ("answer",) if "answer" in self.mapped else ANSWERS
            return Schema("the mapped columns", (), ("prompt",), gold)
        found = schema_of(names)
        if found:
            return found
        if {"chosen", "rejected"} <= {name.lower() for name in names}:
            raise UserError(
                f"{record.where}: a preference pair without a prompt: python -m srm_ray.prefer learns from these"
            )
        missing = f"`prompt` or `messages` is missing (found {', '.join(names) or 'nothing'})"
        if self._schemas:  # of the rows before this one
            raise Unusable(missing)
        raise UserError(
            f"{record.where}: {missing}; say which columns hold the problem and its answer, perhaps {proposal(names)}"
        )

    # The gold

    def _with_gold(self, task: Task, columns: Columns, schema: Schema) -> Task:
        """The task with its prompt and what decides."""
        grader, gym = row_grader(columns)
        given = tuple(str(one) for one in columns.value("given") or ()) if columns.first(["given"]) else ()
        if grader and (gym or given or grader == "text"):  # written by this project
            messages, _ = self._prompt(columns, schema)
            answer = columns.value("answer") if columns.first(["answer"]) else None
            return replace(
                task,
                messages=messages,
                answer=None if answer is None else str(answer),
                grader=grader,
                gym=gym,
                given=given,
            )
        target = countdown_of(columns)
        if target is not None:
            return self._countdown(task, columns, schema, target)
        messages, said = self._prompt(columns, schema)
        tests, entry = self._tests(columns)
        if tests is not None and grader in ("", "code"):
            return self._code(task, columns, schema, messages, (tests, entry))
        found = None if grader == "math" else choices.choices_of(columns, messages[-1]["content"])
        if found is not None:
            return self._choice(task, columns, messages, found)
        try:
            golds = self._golds(columns, schema, said)
        except Unusable:
            if self.graded:
                raise
            return replace(task, messages=messages, grader=grader)
        if not self.graded and len(golds) > 1:
            golds = ()  # the function finds them in the row
        more = tuple(map(str, columns.value("also_right"))) if columns.first(["also_right"]) else ()
        return replace(
            task, messages=messages, answer=golds[0] if golds else None, also_right=(*golds[1:], *more), grader=grader
        )

    def _golds(self, columns: Columns, schema: Schema, said: str | None) -> tuple[str, ...]:
        """The answers of the first column that has some; of the assistant's last turn where none has."""
        empty: list[str] = []
        for path in schema.answer:
            value = at(columns, path)
            if value is None or (isinstance(value, str) and not value.strip()):
                if within_row(columns, path):
                    empty.append(f"{path} is {'null' if value is None else 'empty'}")
                continue
            if path in columns.names and columns.holds_turns(path) and not isinstance(value, Mapping):
                value = columns.turns(path).messages[-1]["content"]  # TRL's completion
            try:
                return texts_of(value)
            except BadGold as error:
                raise Unusable(f"{path}: {error}") from None
        if said is not None:
            try:
                return texts_of(said)
            except BadGold as error:
                raise Unusable(f"the assistant's turn: {error}") from None
        raise Unusable(empty[0] if empty else f"`answer` or `tests` is missing (found {', '.join(columns.row)})")

    def _tests(self, columns: Columns) -> tuple[Any, str | None]:
        """Tests of code in the forms that `rewards.code` knows, with their entry point; None where there are none."""
        row = {name: columns.row[own] for name, own in columns.names.items()}
        gold = from_json(at(columns, "reward_model.ground_truth"), "ground_truth")
        if looks_like_tests(gold):
            return gold, row.get("entry_point")
        if not looks_like_tests(row.get("ground_truth")):
            row.pop("ground_truth", None)
        if looks_numeric(row.get("verification_info")):
            row.pop("verification_info", None)
        tests, entry, _ = of_row(row)
        if tests is not None:
            columns.read |= {own for name, own in columns.names.items() if name in CODE_COLUMNS}
        return tests, entry

    def _code(
        self,
        task: Task,
        columns: Columns,
        schema: Schema,
        messages: tuple[dict[str, str], ...],
        tests: tuple[Any, str | None],
    ) -> Task:
        """Tests that cannot be run make the row unusable, unless a reward of the user's own decides."""
        asked, entry = tests
        text = messages[-1]["content"]
        if schema.name == "HumanEval":
            text = f"{HUMANEVAL}\n\n```python\n{text.rstrip()}\n```"
        if mbpp.is_mbpp(columns.row):
            made = mbpp.problem_of(columns.row)
            text, asked = made.prompt, self._plus(columns, made, text) or made.statements
            columns.read |= set(columns.row) & {
                "text",
                "prompt",
                "test_list",
                "test_setup_code",
                "test_imports",
                "task_id",
            }
        messages = (*messages[:-1], {**messages[-1], "content": text})
        if self.graded:
            try:
                job_of(asked, entry, text)
            except BadTests as error:
                raise Unusable(f"`tests`: {error}") from None
        answer = at(columns, "answer")
        gold = str(answer) if isinstance(answer, str | int | float) else None
        return replace(task, messages=messages, tests=asked, entry_point=entry, answer=gold, grader="")

    def _plus(self, columns: Columns, made: mbpp.MbppProblem, text: str) -> list[str] | None:
        """MBPP+'s longer tests, where they can be run here."""
        if not isinstance(columns.row.get("test"), str):
            return None
        try:
            job_of([*made.setup, columns.row["test"]], None, text)
        except BadTests as error:
            self.notes.left_out[f"`test` of MBPP+ cannot be run here, `test_list` is used ({error})"] += 1
            return None
        return [*made.setup, columns.row["test"]]

    def _choice(
        self, task: Task, columns: Columns, messages: tuple[dict[str, str], ...], found: choices.Choices
    ) -> Task:
        names = ("answer",) if "answer" in self.mapped else ()
        try:
            letter = choices.letter_of(columns, found, names)
        except Unusable:
            if self.graded:
                raise
            letter = None
        question = choices.rendered(messages[-1]["content"], found)
        messages = (*messages[:-1], {**messages[-1], "content": question})
        return replace(task, messages=messages, answer=letter, given=found.texts, grader="choice")

    def _countdown(self, task: Task, columns: Columns, schema: Schema, target: tuple[str, tuple[str, ...]]) -> Task:
        gold, numbers = target
        if any(columns.first([name]) for name in schema.prompt):
            messages, _ = self._prompt(columns, schema)
        else:
            question = COUNTDOWN.format(numbers=", ".join(numbers), target=gold)
            messages = ({"role": "user", "content": question},)
        return replace(task, messages=messages, answer=gold, given=numbers, grader="countdown")

    # The prompt

    def _prompt(self, columns: Columns, schema: Schema) -> tuple[tuple[dict[str, str], ...], str | None]:
        """(messages that end with the user's turn, what the assistant's turn behind it said)."""
        name = columns.first(schema.prompt)
        if not name:
            there = [name for name in schema.prompt if name in columns.names]
            raise Unusable(
                f"{there[0]} is null"
                if there
                else f"`prompt` or `messages` is missing (found {', '.join(columns.row)})"
            )
        said: str | None = None
        if name in DIALOGUES or columns.holds_turns(name):
            turns = columns.turns(name)
            messages, said = self._asked(turns, name)
        else:
            messages = [{"role": "user", "content": columns.text(name)}]
        beside = [n for n in (*schema.before, *schema.after) if n != name and filled(columns, n)]
        parts = [columns.text(n) for n in schema.before if n in beside]
        after = [fenced(n, columns.text(n)) for n in schema.after if n in beside]
        if parts or after:
            messages[-1] = {**messages[-1], "content": "\n\n".join([*parts, messages[-1]["content"], *after])}
        system = columns.text_or_none(schema.system)
        if system and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": system})
        for message in messages:
            if found := RENDERED.search(message["content"]):
                raise Unusable(
                    f"its prompt is rendered by a chat template already ({found.group()}): give messages or text"
                )
        return tuple(messages), said

    def _asked(self, turns: Turns, name: str) -> tuple[list[dict[str, str]], str | None]:
        """The conversation up to its last user's turn: what the assistant says behind it is never part of a prompt."""
        messages = [dict(message) for message in turns.messages]
        said: str | None = None
        while messages and messages[-1]["role"] == "assistant":
            said = messages.pop()["content"]
        if said is not None:
            self.notes.left_out["the assistant's last turn is no part of the prompt"] += 1
        if not messages or messages[-1]["role"] not in ("user", "tool") or not messages[-1]["content"].strip():
            raise Unusable(f"{name} has no user's turn at its end")
        self.notes.unread.update(turns.unread)
        return messages, said


def filled(columns: Columns, name: str) -> bool:
    value = columns.row[columns.names[name]] if name in columns.names else None
    return value is not None and value not in ("", [], {}) and str(value).strip() != ""


def fenced(name: str, text: str) -> str:
    return f"Begin with this code:\n```python\n{text.strip()}\n```" if name == "starter_code" else text


def at(columns: Columns, path: str) -> Any:
    """The value of a column, or of a place within one; it counts as read. None where there is none."""
    if path in columns.names:
        return columns.value(path)
    head, _, rest = path.partition(".")
    if not rest or head not in columns.names:
        return None
    inner = columns.row[columns.names[head]]
    value = within({"_": inner}, f"_.{rest}")
    if value is None or value.__class__ is object:
        return None
    columns.value(head)
    return value


def within_row(columns: Columns, path: str) -> bool:
    return path in columns.names


def source_of(columns: Columns, source: str) -> str:
    """The row's own source, else the file's."""
    name = columns.first(SOURCES)
    value = columns.value(name) if name else None
    return str(value) if isinstance(value, str | int) and str(value).strip() else source


def looks_like_tests(value: Any) -> bool:
    """Whether a gold is tests of code rather than an answer."""
    value = from_json(value, "tests") if isinstance(value, str) else value
    if isinstance(value, Mapping):
        return bool({"inputs", "outputs", "test_cases", "fn_name", "test_list", "functional"} & set(value))
    if isinstance(value, Sequence) and not isinstance(value, str):
        known = {"stdin", "input", "args", "stdin_stdout", "fn_name"}
        return bool(value) and all(isinstance(one, Mapping) and known & set(one) for one in value)
    return isinstance(value, str) and bool(re.search(r"^\s*(?:assert\b|def (?:check|test_))", value, re.MULTILINE))


def looks_numeric(value: Any) -> bool:
    """Whether `verification_info` holds an answer (PrimeIntellect's mathematics) rather than tests."""
    value = from_json(value, "verification_info") if isinstance(value, str) else value
    return isinstance(value, Mapping) and "ground_truth" in value and not looks_like_tests(value["ground_truth"])


def countdown_of(columns: Columns) -> tuple[str, tuple[str, ...]] | None:
    """(target, numbers) of a row of Countdown, in columns or within the gold; None for any other."""
    for place in (None, "reward_model.ground_truth", "ground_truth", "answer", "extra_info"):
        held = columns.row if place is None else from_json(peek(columns, place), "gold")
        if not isinstance(held, Mapping):
            continue
        row = {str(name).lower(): value for name, value in held.items()}
        numbers = from_json(
            next((row[name] for name in ("nums", "numbers") if row.get(name) is not None), None), "numbers"
        )
        if row.get("target") is None or not isinstance(numbers, Sequence) or isinstance(numbers, str):
            continue
        whole = [as_whole(number) for number in (row["target"], *numbers)]
        if any(number is None for number in whole):
            raise Unusable("its numbers and target are no whole numbers")
        for name in (*NUMBERS,) if place is None else (place.partition(".")[0],):
            if name in columns.names:
                columns.value(name)
        target, *given = (str(number) for number in whole)
        return target, tuple(given)
    return None


def peek(columns: Columns, path: str) -> Any:
    head, _, rest = path.partition(".")
    if head not in columns.names:
        return None
    value = columns.row[columns.names[head]]
    return within({"_": value}, f"_.{rest}") if rest else value


def as_whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*", value):
        return int(value)
    return value if isinstance(value, int) else None


def row_grader(columns: Columns) -> tuple[str, GymTask | None]:
    """`grader` and `gym`, which rows have that this project wrote (`python -m srm_ray.filter`)."""
    name = columns.first(["grader"])
    grader = columns.value(name) if name else ""
    if grader not in GRADERS:
        raise Unusable(f"`grader` must be one of {', '.join(filter(None, GRADERS))}, got {grader!r}")
    if grader != "gym":
        return grader, None
    made = columns.value("gym") if columns.first(["gym"]) else {}
    try:
        return grader, GymTask(str(made["family"]), str(made["options"]), int(made["seed"]), int(made["index"]))
    except (TypeError, KeyError, ValueError):
        raise Unusable(f"`gym` must have family, options, seed and index, got {described(made)}") from None
