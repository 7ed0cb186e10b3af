"""Multiple choice as data sets have it: the choices of a row, the letter of the right one, the question with both.

choices, options: a list, an object by letter, {text, label}, objects, JSON of these; columns A to D, option1, ...;
a right answer and wrong ones in columns of their own  ->  Choices(labels, texts)  ->  "Question\\n\\nA. ...\\nB. ..."
"""

import ast
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewards.choice import LETTERS, place_of, plain
from srm_ray.data.columns import Columns
from srm_ray.data.drops import Unusable
from srm_ray.data.messages import described

LISTS = ("choices", "options", "endings", "mc1_targets", "answer_choices", "candidates")
# Columns that are a choice each.
ROWS = (
    *(tuple(pattern.format(letter) for letter in "abcde") for pattern in ("{}", "option_{}", "choice_{}", "op{}")),
    *(tuple(pattern.format(number) for number in range(1, 6)) for pattern in ("option{}", "choice{}", "sol{}")),
    tuple(f"ending{number}" for number in range(5)),
    tuple(f"answer{letter}" for letter in "abcde"),
)
# The right answer, and the wrong ones: their places are drawn by the question's text.
APART = (
    ("correct_answer", ("distractor1", "distractor2", "distractor3")),
    ("correct answer", ("incorrect answer 1", "incorrect answer 2", "incorrect answer 3")),
    ("correct_answer", ("incorrect_answers",)),
    ("best_answer", ("incorrect_answers",)),
)
GOLDS = (
    "answerkey", "answer_key", "answer_idx", "correct_option", "correct_choice", "cop", "correct",
    "answer_letter", "answer", "label", "target", "gold", "correct_answer", "answer_index", "solution",
)  # fmt: skip
KEYS = tuple(
    name for name in GOLDS if name not in ("answer", "label", "target", "gold", "solution")
)  # of such rows alone
COLUMNS = frozenset(
    [
        *LISTS,
        *GOLDS,
        *(name for row in ROWS for name in row),
        *(name for right, wrong in APART for name in (right, *wrong)),
    ]
)
LABELLED = re.compile(r"\s*[(\[]?([A-Za-z]|\d)\s*[).\]:]\s*(.+)", re.DOTALL)
PARTS = re.compile(r"(?:^|[,;\n])\s*[(\[]?([a-jA-J])\s*[).\]]\s*")
ASKED = "Answer with the letter of the right choice."


@dataclass(frozen=True, slots=True)
class Choices:
    """labels: as the data set has them, "A" or "1"; texts: the choices. right: the place of the right one, where the
    form itself says so."""

    labels: tuple[str, ...]
    texts: tuple[str, ...]
    right: int | None = None


def possible(names: frozenset[str]) -> bool:
    """Whether rows with these columns, in lower case, may have choices."""
    apart = any(right in names and names.issuperset(wrong) for right, wrong in APART)
    return apart or bool(names.intersection(LISTS)) or any(names.issuperset(row[:2]) for row in ROWS)


def choices_of(columns: Columns, question: str) -> Choices | None:
    """The choices of a row; None where it is no multiple choice. Raises `Unusable` for choices that cannot be read."""
    for name in LISTS:
        if columns.first([name]) and (found := of_value(columns.row[columns.names[name]])) is not None:
            columns.value(name)
            return checked(found)
    for names in ROWS:
        there = [name for name in names if columns.first([name])]
        if len(there) >= 2 and there == list(names[: len(there)]):
            texts = tuple(text_of(columns.value(name)) for name in there)
            labels = tuple(name[-1] for name in there)
            if there[0] == "answera":  # Social IQa's, whose label counts from 1
                labels = tuple(str(place) for place in range(1, len(there) + 1))
            elif not there[0][-1].isdigit():
                labels = tuple(LETTERS[: len(texts)])
            return checked(Choices(labels, texts))
    for right, wrong in APART:
        if columns.first([right]) and all(columns.first([name]) for name in wrong):
            return checked(shuffled(columns, right, wrong, question))
    return None


def shuffled(columns: Columns, right: str, wrong: Sequence[str], question: str) -> Choices:
    texts = [text_of(columns.value(right))]
    for name in wrong:
        value = columns.value(name)
        texts += [text_of(one) for one in (value if isinstance(value, list) else [value])]
    order = random.Random(f"choices/{question}").sample(range(len(texts)), len(texts))
    return Choices(tuple(LETTERS[: len(texts)]), tuple(texts[place] for place in order), order.index(0))


def checked(choices: Choices) -> Choices:
    if not 2 <= len(choices.texts) <= len(LETTERS):
        raise Unusable(f"it has {len(choices.texts)} choices")
    if any(not text.strip() for text in choices.texts):
        raise Unusable("a choice is empty")
    return choices


def of_value(value: Any) -> Choices | None:
    """The choices in one column; None where it holds something else."""
    value = unpacked(value)
    if isinstance(value, str):
        return of_text(value)
    if isinstance(value, Mapping):
        return of_object({str(name).lower(): one for name, one in value.items()})
    if not isinstance(value, Sequence) or not value:
        return None
    if all(isinstance(one, Mapping) for one in value):
        rows = [{str(name).lower(): text for name, text in one.items()} for one in value]
        texts = [
            next((row[key] for key in ("text", "content", "value", "choice", "option") if key in row), None)
            for row in rows
        ]
        if any(text is None for text in texts):
            return None
        labels = [row.get("label", row.get("key", row.get("id", LETTERS[n % 26]))) for n, row in enumerate(rows)]
        return Choices(tuple(map(str, labels)), tuple(map(text_of, texts)))
    if any(isinstance(one, list | Mapping) for one in value):
        return None
    return without_labels([text_of(one) for one in value])


def of_object(row: Mapping[str, Any]) -> Choices | None:
    """{text, label} as ARC has them, TruthfulQA's {choices, labels}, or texts by letter."""
    texts, labels = row.get("text", row.get("choices")), row.get("label", row.get("labels"))
    if isinstance(texts, Sequence) and not isinstance(texts, str):
        if isinstance(labels, Sequence) and len(labels) == len(texts):
            if set(labels) <= {0, 1} and sum(labels) == 1:
                return Choices(tuple(LETTERS[: len(texts)]), tuple(map(text_of, texts)), list(labels).index(1))
            return Choices(tuple(map(str, labels)), tuple(map(text_of, texts)))
        return Choices(tuple(LETTERS[: len(texts)]), tuple(map(text_of, texts)))
    if len(row) >= 2 and all(len(name) == 1 or name.isdigit() for name in row):
        filled = {name: one for name, one in row.items() if one is not None}
        return Choices(tuple(name.upper() for name in filled), tuple(map(text_of, filled.values())))
    return None


def of_text(text: str) -> Choices | None:
    """`a ) 38 , b ) 27.675 , c ) 30`, or a choice a line."""
    pieces = PARTS.split(text)
    if len(pieces) >= 5 and not pieces[0].strip() and "".join(pieces[1::2]).upper() == LETTERS[: len(pieces) // 2]:
        return Choices(tuple(LETTERS[: len(pieces) // 2]), tuple(piece.strip(" ,;\n") for piece in pieces[2::2]))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return without_labels(lines) if len(lines) >= 2 else None


def without_labels(texts: Sequence[str]) -> Choices:
    """Texts that begin with their letter (`A) 21`) without it."""
    found = [LABELLED.fullmatch(text) for text in texts]
    labels = [match.group(1).upper() for match in found if match]
    if labels == list(LETTERS[: len(texts)]) or labels == [str(n + 1) for n in range(len(texts))]:
        return Choices(tuple(labels), tuple(match.group(2).strip() for match in found if match))
    return Choices(tuple(LETTERS[: len(texts)]), tuple(texts))


def unpacked(value: Any) -> Any:
    """A list or object that is written as JSON or as Python, read."""
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{"):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return value


def text_of(value: Any) -> str:
    if isinstance(value, str | int | float) and not (isinstance(value, float) and value != value):
        return str(value).strip()
    raise Unusable(f"a choice is {described(value)}, no text")


# The right one


def letter_of(columns: Columns, choices: Choices, names: Sequence[str] = ()) -> str:
    """The letter of the right choice, "A" for the first. names: columns that say which; () the usual ones.

    Raises `Unusable` where none of them names a choice.
    """
    if choices.right is not None:
        return LETTERS[choices.right]
    problem = "nothing says which choice is right"
    for name in names or GOLDS:
        if not columns.first([name]):
            continue
        value = columns.row[columns.names[name]]
        place = place_of_gold(value, choices, numbered=name == "label")
        if place is not None:
            columns.value(name)
            return LETTERS[place]
        if problem.startswith("nothing"):
            problem = (
                f"{name} is {value!r:.40}, which names none of its {len(choices.texts)} choices (numbers count from 0)"
            )
    raise Unusable(problem)


def place_of_gold(value: Any, choices: Choices, *, numbered: bool = False) -> int | None:
    """Where the right choice stands: as `place_named`, or by the final answer of a worked one."""
    place = place_named(value, choices, numbered=numbered)
    if place is not None or not isinstance(value, str) or value.strip().isdigit():
        return place
    from rewards import extract

    text = value.strip()
    places = (place_of(one, choices.texts) for one in (*extract.final_answers(text)[-1:], text))
    return next((place for place in places if place is not None), None)


def place_named(value: Any, choices: Choices, *, numbered: bool = False) -> int | None:
    """Where the right choice stands: by its label, its text, or its number from 0. numbered: whole numbers are numbers
    from 0 also where choices have numbers for labels, as in the columns called `label` (PIQA, COPA, SWAG)."""
    value = unpacked(value)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        if str(value) in choices.labels and not numbered:
            return choices.labels.index(str(value))
        return value if 0 <= value < len(choices.texts) else None
    if not isinstance(value, str):
        return None
    text = value.strip()
    labels = [label.upper() for label in choices.labels]
    if text.upper().strip("().: ") in labels:
        return labels.index(text.upper().strip("().: "))
    if plain(text) in [plain(one) for one in choices.texts]:
        return [plain(one) for one in choices.texts].index(plain(text))
    return int(text) if text.isdecimal() and len(text) < 5 and int(text) < len(choices.texts) else None


def rendered(question: str, choices: Choices, *, asked: bool = True) -> str:
    """The question with its choices by letter, and `asked` for one; as it is where it shows them already."""
    if shows(question, choices.texts):
        return question
    lines = [f"{LETTERS[place]}. {text}" for place, text in enumerate(choices.texts)]
    return "\n".join([question.rstrip(), "", *lines, *(["", ASKED] if asked else [])])


def shows(question: str, texts: Sequence[str]) -> bool:
    """Whether every choice stands in the question behind its letter."""
    return all(
        re.search(rf"(?<!\w){LETTERS[place]}\s*[).:\]]\s*{re.escape(text.strip())}", question, re.IGNORECASE)
        for place, text in enumerate(texts)
    )
