"""The problems of files and data sets: read, checked, and what cannot be used counted and reported.

    RowSource --records--> rows --ProblemReader--> tasks --> once each --> golds that their grader can read --> Problems

What is dropped has a reason; past `max_dropped` of the rows the file is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rewards.golds import unreadable
from srm_ray.console.progress import echo
from srm_ray.data import mbpp
from srm_ray.data.drops import Drops, Unusable
from srm_ray.data.problems import ProblemReader
from srm_ray.data.reading import RowSource, records
from srm_ray.data.schemas import Notes
from srm_ray.data.splits import digest
from srm_ray.data.tasks import Task
from srm_ray.errors import UserError

MAX_DROPPED = 0.05
OTHER_SPLIT = "of another split of MBPP"


@dataclass(frozen=True, slots=True)
class Problems:
    """tasks: what can be used, in the order of the rows. drops: what cannot. notes: what of the rows was not read."""

    tasks: list[Task]
    drops: Drops
    notes: Notes

    def __str__(self) -> str:
        """One line: how many, as what, what was ignored and what was dropped."""
        summary = f"{len(self.tasks):,} of {self.drops.read:,} rows, {self.notes}"
        return f"{summary}; dropped: {self.drops}" if self.drops.counts else summary


@dataclass(frozen=True, slots=True)
class Screen:
    """drop_duplicates: problems that come again with the same answer are dropped. max_dropped: share of the rows that
    may be unusable."""

    drop_duplicates: bool = True
    max_dropped: float = MAX_DROPPED


def read_problems(
    source: RowSource,
    name: str = "",
    *,
    grader: str = "",
    graded: bool = True,
    rows: bool = False,
    measuring: bool = False,
    screen: Screen = Screen(),
) -> Problems:
    """The problems of a source. What is ignored or dropped is said in one line.

    name: what tasks have as source where rows name none. grader: as of `ProblemReader`. graded: rows must have a gold
    that can be graded. rows: tasks keep their row. measuring: problems that come twice are kept, and the other
    splits of MBPP may be read.

    Raises `UserError` for what cannot be read, what no schema fits, and too many rows that cannot be used.
    """
    reader, drops = ProblemReader(source.columns, grader=grader, graded=graded, rows=rows), Drops()
    tasks: list[Task] = []
    answers: dict[int, int] = {}  # digests of what was asked before, and of its answer
    for record in records(source):
        drops.read += 1
        try:
            if mbpp.is_mbpp(record.fields) and not mbpp.in_split(
                record.fields["task_id"], source.split, record.where, measuring
            ):
                raise Unusable(OTHER_SPLIT, asked=True)
            task = reader.task(record, name)
            if not measuring:
                check_new(task, answers, screen.drop_duplicates)
            tasks.append(task)
        except Unusable as reason:
            drops.add(str(reason), record.where, asked=reason.asked)
    if graded:
        tasks = with_readable_golds(tasks, drops)
    read = Problems(tasks, drops, reader.notes)
    check(read, source, measuring, screen.max_dropped)
    if drops.counts or reader.notes.unread or reader.notes.left_out:
        echo(f"{source.path or source.name}: {read}")
    return read


def check(read: Problems, source: RowSource, measuring: bool, max_dropped: float) -> None:
    drops, of = read.drops, source.path or source.name
    if drops.counts[OTHER_SPLIT] == drops.read:
        low, high = mbpp.SPLITS[source.split]
        raise UserError(
            f"{of} holds no task of MBPP's split {source.split} (task_id {low} to {high}) among its {drops.read}"
            + ("" if measuring else "; its other splits are for measuring, not for training")
        )
    drops.check(max_dropped)
    if not read.tasks:
        raise UserError(f"{of}: none of its {drops.read:,} rows can be used: {drops}")


def check_new(task: Task, answers: dict[int, int], drop_duplicates: bool) -> None:
    """Raise `Unusable` for a problem that was there before: nobody's mistake, unless it had another answer.
    Other tests make another problem."""
    asked = digest("\0".join(f"{message['role']}\0{message['content']}" for message in task.messages))
    answer = digest(repr((task.answer, task.also_right, task.tests)))
    if asked not in answers:
        answers[asked] = answer
    elif answers[asked] == answer:
        if drop_duplicates:
            raise Unusable("duplicates", asked=True)
    elif task.tests is None:
        raise Unusable("asked before, with another answer")


def with_readable_golds(tasks: Sequence[Task], drops: Drops) -> list[Task]:
    """The tasks whose answers the math grader can read, where it grades them; the others are dropped."""
    math = [task for task in tasks if task.grader in ("", "math") and task.tests is None and task.answer is not None]
    bad = unreadable(gold for task in math for gold in (task.answer or "", *task.also_right))
    if not bad:
        return list(tasks)
    kept: list[Task] = []
    graded_here = {id(task) for task in math}
    for task in tasks:
        golds = (task.answer or "", *task.also_right)
        if id(task) not in graded_here or not any(gold in bad for gold in golds):
            kept.append(task)
        elif good := [gold for gold in golds if gold not in bad]:
            kept.append(replace(task, answer=good[0], also_right=tuple(good[1:])))
        else:
            drops.add(bad[golds[0]], f"{task.where} {golds[0]!r:.60}")
    return kept
