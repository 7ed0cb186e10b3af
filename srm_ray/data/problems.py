"""Rows to tasks: the prompt, the gold and who grades it, by the schema that the row's columns fit.

    Record --schema_of--> prompt (messages that end with the user's)                     row_prompts
                          gold   answers | a choice | tests | a target with its numbers  row_golds, choices, row_tests
                      --> Task

What cannot be used raises `Unusable`; what of a row is left out is counted in `Notes`, reported once for a file.
"""

import difflib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from rewards.code.forms import BadTests, job_of
from rewards.gym import GymTask
from srm_ray.data import choices, mbpp, row_golds, row_tests
from srm_ray.data.columns import Columns
from srm_ray.data.drops import Unusable
from srm_ray.data.messages import described
from srm_ray.data.reading import Record
from srm_ray.data.row_prompts import prompt_of
from srm_ray.data.schemas import ANSWERS, SCHEMAS, Notes, Schema, proposal, schema_of
from srm_ray.data.tasks import Task
from srm_ray.errors import UserError

GRADERS = ("", "math", "code", "text", "choice", "countdown", "gym")
SOURCES = ("source", "data_source")
OWN = ("grader", "gym", "given", "also_right")  # columns that this project writes (`python -m srm_ray.filter`)
KNOWN = frozenset(
    {
        *(name for schema in SCHEMAS for name in schema.columns),
        *choices.COLUMNS,
        *row_tests.CODE_COLUMNS,
        *SOURCES,
        *OWN,
    }
    | set(row_golds.NUMBERS)
)
SEEN = re.compile(r"image|picture|audio|video", re.IGNORECASE)  # columns of what a text model does not see
HUMANEVAL = "Complete this Python function. Answer with the whole function in one ```python block."
COUNTDOWN = (
    "Using the numbers {numbers}, each exactly once, write an expression that equals {target}. You may use +, -, *, / "
    "and parentheses. Put the final expression within \\boxed{{}}."
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What rows with certain columns may be. schema: without the columns that they lack. seen: columns that must be
    empty. own: they may be this project's. countdown, tests, choices: they may have these."""

    schema: Schema
    seen: tuple[str, ...]
    own: bool
    countdown: bool
    tests: bool
    choices: bool

    @staticmethod
    def of(schema: Schema, names: Iterable[str]) -> "Plan":
        names = tuple(names)
        there = frozenset(name.lower() for name in names)
        return Plan(
            schema.of(names),
            tuple(name for name in names if SEEN.search(name)),
            bool(there.intersection(OWN)),
            bool(there.intersection(row_golds.HOLDERS + row_golds.NUMBERS)),
            bool(there & row_tests.HOLDERS),
            choices.possible(there),
        )


class ProblemReader:
    """Makes tasks of records.

    columns: the mapping that the records were read with (`RowSource.columns`). grader: who grades what is no code and
    no choice, where it is not to be the math grader: "text". graded: rows must have a gold; False where a reward
    function of the user's own decides, which gets the whole row. rows: whether others get it, too.
    """

    def __init__(
        self, columns: Iterable[str] = (), *, grader: str = "", graded: bool = True, rows: bool = False
    ) -> None:
        self.mapped, self.grader, self.graded, self.rows = tuple(columns), grader, graded, rows
        for name in self.mapped:
            if name.lower() not in KNOWN:
                near = difflib.get_close_matches(name, KNOWN, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise UserError(f"--data.columns: no problem is read from a column {name!r}{hint}")
        self.notes = Notes(passed_on=not graded or rows)
        self._plans: dict[tuple[str, ...], Plan] = {}

    def task(self, record: Record, source: str) -> Task:
        """Raises `Unusable`, and `UserError` where no schema fits the columns."""
        columns = Columns(record.fields)
        names = tuple(record.fields)
        plan = self._plans.get(names)
        if plan is None:
            plan = self._plans[names] = Plan.of(self._schema(record), names)
        for name in plan.seen:
            if record.fields[name] not in (None, "", []):
                raise Unusable(f"it has {name!r}, which a model of text does not see")
        task = self._with_gold(Task((), source=source_of(columns, source), where=record.where), columns, plan)
        self.notes.schemas[plan.schema.name] += 1
        if len(columns.read) < len(names):
            self.notes.unread.update(columns.unread)
        if self.graded and not self.rows:
            return task
        # The row travels as JSON, and only where it is wanted.
        return replace(task, row=json.loads(json.dumps(record.fields, default=str)))

    def _schema(self, record: Record) -> Schema:
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
        if self._plans:  # of the rows before this one
            raise Unusable(missing)
        raise UserError(
            f"{record.where}: {missing}; name the columns of the problem and its answer, perhaps {proposal(names)}"
        )

    def _with_gold(self, task: Task, columns: Columns, plan: Plan) -> Task:
        """The task with its prompt and what decides."""
        grader = self.grader
        if plan.own:
            grader, gym = row_grader(columns)
            given = tuple(map(str, columns.value("given"))) if columns.first(["given"]) else ()
            if gym is not None or given:
                messages, _ = prompt_of(columns, plan.schema, self.notes)
                answer = columns.value("answer") if columns.first(["answer"]) else None
                gold = None if answer is None else str(answer)
                return replace(task, messages=messages, answer=gold, grader=grader, gym=gym, given=given)
            grader = grader or self.grader
        target = row_golds.countdown_of(columns) if plan.countdown and grader in ("", "countdown") else None
        if target is not None:
            return self._countdown(task, columns, plan.schema, target)
        messages, reply = prompt_of(columns, plan.schema, self.notes)
        task = replace(task, messages=messages, grader=grader)
        if plan.tests and grader in ("", "code"):
            tests, entry = row_tests.tests_of(columns)
            if tests is not None:
                return self._code(replace(task, entry_point=entry), columns, plan.schema, tests)
        if plan.choices and grader in ("", "choice"):
            found = choices.choices_of(columns, messages[-1]["content"])
            if found is not None:
                return self._choice(task, columns, found)
        return self._answer(task, columns, plan, reply)

    def _answer(self, task: Task, columns: Columns, plan: Plan, reply: str | None) -> Task:
        """reply: of the assistant after the prompt, which is the gold where no column is."""
        try:
            golds = row_golds.golds_of(columns, plan.schema, reply, as_it_is=task.grader == "text")
        except Unusable:
            if self.graded:
                raise
            return task
        if not self.graded and len(golds) > 1:
            return task  # the function finds them in the row
        more = columns.value("also_right") if plan.own and columns.first(["also_right"]) else ()
        return replace(task, answer=golds[0], also_right=(*golds[1:], *map(str, more)))

    def _code(self, task: Task, columns: Columns, schema: Schema, tests: Any) -> Task:
        """Tests that cannot be run make the row unusable, unless a reward of the user's own decides."""
        text = task.messages[-1]["content"]
        if schema.name == "HumanEval":
            text = f"{HUMANEVAL}\n\n```python\n{text.rstrip()}\n```"
        if mbpp.is_mbpp(columns.row):
            made = mbpp.problem_of(columns.row)
            text, tests = made.prompt, self._plus(columns, made, text) or made.statements
            columns.read |= {name for name in columns.row if name.lower() in mbpp.COLUMNS}
        if schema.name == "LeetCodeDataset" and (context := columns.text_or_none(("prompt",))):
            tests = {"tests": tests, "context": context}
        if self.graded:
            try:
                job_of(tests, task.entry_point, text)
            except BadTests as error:
                raise Unusable(f"`tests`: {error}") from None
        answer = row_golds.at(columns, "answer")
        gold = str(answer) if isinstance(answer, str | int | float) else None
        return replace(with_question(task, text), tests=tests, answer=gold, grader="")

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

    def _choice(self, task: Task, columns: Columns, found: choices.Choices) -> Task:
        try:
            letter = choices.letter_of(columns, found, ("answer",) if "answer" in self.mapped else ())
        except Unusable:
            if self.graded:
                raise
            letter = None
        question = choices.rendered(task.messages[-1]["content"], found)
        return replace(with_question(task, question), answer=letter, given=found.texts, grader="choice")

    def _countdown(self, task: Task, columns: Columns, schema: Schema, target: tuple[str, tuple[str, ...]]) -> Task:
        gold, numbers = target
        if columns.first(schema.prompt):
            messages, _ = prompt_of(columns, schema, self.notes)
        else:
            question = COUNTDOWN.format(numbers=", ".join(numbers), target=gold)
            messages = ({"role": "user", "content": question},)
        return replace(task, messages=messages, answer=gold, given=numbers, grader="countdown")


def with_question(task: Task, text: str) -> Task:
    """The task with another last message."""
    *before, last = task.messages
    return replace(task, messages=(*before, {**last, "content": text}))


def source_of(columns: Columns, source: str) -> str:
    """The row's own source, else the file's."""
    name = columns.first(SOURCES)
    value = columns.value(name) if name else None
    return str(value) if isinstance(value, str | int) and str(value).strip() else source


def row_grader(columns: Columns) -> tuple[str, GymTask | None]:
    """`grader` and `gym`, which rows have that this project wrote."""
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
