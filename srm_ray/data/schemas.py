"""The schemas of problems, known by their columns: one entry each, the first that fits counts.

A column's name is matched whatever its case; `a.b` is within another column, also within one that holds JSON as text.
What an entry leaves open is as `Schema` has it, so that most entries are a name and the columns that make it known.
Choices, tests, and numbers with a target are known by columns of their own, whatever the schema (`problems`).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from srm_ray.data.columns import CONTEXTS, DIALOGUES, SYSTEMS

ANSWERS = (
    "answer", "final_answer", "expected_answer", "ground_truth", "gt_answer", "gt", "gold", "gold_answer",
    "correct_answer", "reference_answer", "answers", "target", "targets", "label", "reward_model.ground_truth",
    "verification_info.ground_truth", "verification_info.answer.value", "answers_spans.spans", "extra_info.answer",
    "metadata.answer", "solution", "completion", "response",
    "final_ans", "output", "generated_solution", "generation",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Schema:
    """How rows of one kind are read. Columns in order of preference: the first with something in it counts.

    needs: the columns that it is known by; `a|b`: one of them.
    prompt: the problem, text or messages.
    answer: the gold; what is more than an answer is searched for it (`rewards.golds`).
    system: the system message, where the prompt has none.
    before, after: texts that belong to the problem, put before and behind it.
    """

    name: str
    needs: tuple[str, ...]
    prompt: tuple[str, ...]
    answer: tuple[str, ...] = ANSWERS
    system: tuple[str, ...] = SYSTEMS
    before: tuple[str, ...] = (*CONTEXTS, "article", "background", "premise")
    after: tuple[str, ...] = ("input", "starter_code")

    def fits(self, names: frozenset[str]) -> bool:
        return all(any(name in names for name in one.split("|")) for one in self.needs)

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.prompt, *self.answer, *self.system, *self.before, *self.after)

    def of(self, names: Iterable[str]) -> "Schema":
        """The schema with no other columns than rows with these have."""
        there = frozenset(name.lower() for name in names)

        def kept(columns: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(one for one in columns if one in there or one.split(".")[0] in there)

        return replace(
            self,
            prompt=kept(self.prompt),
            answer=kept(self.answer),
            system=kept(self.system),
            before=kept(self.before),
            after=kept(self.after),
        )


SCHEMAS = (
    Schema("srm_ray.filter", ("messages", "pass_rate"), ("messages",), ("answer",), system=(), before=(), after=()),
    Schema("verl", ("prompt", "reward_model"), ("prompt",), ("reward_model.ground_truth", *ANSWERS), after=()),
    Schema("LeetCodeDataset", ("query", "test", "entry_point"), ("query",), ("answer",), after=()),
    Schema("HumanEval", ("prompt", "test", "entry_point"), ("prompt",), ("answer",), after=()),
    Schema("MBPP", ("test_list", "text|prompt"), ("text", "prompt"), ("answer",), after=()),
    Schema("CodeContests", ("description", "public_tests"), ("description",), ("answer",), after=()),
    Schema("LiveCodeBench", ("question_content",), ("question_content",), ("answer",)),
    Schema("APPS, TACO", ("question", "input_output"), ("question",), ("answer",), after=("starter_code",)),
    Schema("SVAMP", ("body", "question"), ("question",), before=("body",)),
    Schema("OpenBookQA", ("question_stem",), ("question_stem",)),
    Schema("HellaSwag", ("ctx", "endings"), ("ctx",)),
    Schema("PIQA", ("goal", "sol1", "sol2"), ("goal",)),
    Schema("WinoGrande", ("sentence", "option1", "option2"), ("sentence",)),
    Schema("Alpaca", ("instruction",), ("instruction",)),
    Schema("MetaMath", ("query",), ("query",)),
    Schema("MATH, NuminaMath, OpenR1-Math, DeepScaleR, BigMath", ("problem",), ("problem",)),
    Schema("question and answer", ("question",), ("question",)),
    Schema("conversations", ("|".join(DIALOGUES),), DIALOGUES),
    Schema(
        "prompt and answer",
        ("prompt|problem_statement|input|inputs",),
        ("prompt", "problem_statement", "input", "inputs"),
    ),
    Schema("Countdown", ("nums|numbers", "target"), ()),
)


def schema_of(names: Iterable[str]) -> Schema | None:
    """The schema of rows with these columns; None where none fits."""
    there = frozenset(name.lower() for name in names)
    return next((schema for schema in SCHEMAS if schema.fits(there)), None)


def proposal(names: Iterable[str]) -> str:
    """A mapping of columns that may be meant, for the message that nothing fits."""
    texts = list(names)
    known = [*dict.fromkeys(name for schema in SCHEMAS for name in schema.prompt), "task", "text", "content"]
    known += ["request", "quiz", "puzzle", "riddle"]
    ask = next(
        (name for name in texts if any(word in name.lower() for word in known)), texts[0] if texts else "question"
    )
    rest = [name for name in texts if name != ask]
    words = ("answer", "gold", "truth", "solution", "target", "label", "final", "result", "output")
    likely = [name for word in words for name in rest if word in name.lower()]
    gold = next(iter([*likely, *reversed(rest)]), "answer")
    return f'--data.columns "{{prompt: {ask}, answer: {gold}}}"'


@dataclass(slots=True)
class Notes:
    """What of a file's rows was read and what was not. schemas: rows by schema; unread: rows in which a column had
    something that was not looked at; left_out: rows of which a part was left out, by what it was. passed_on: whether
    the whole row goes on to a reward of the user's own."""

    schemas: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    passed_on: bool = False

    def __str__(self) -> str:
        """One line: "read as GSM8K; not used: id, level"."""
        parts = ["read as " + " and as ".join(self.schemas)] if self.schemas else []
        if self.unread:
            parts.append(f"not {'in the prompts' if self.passed_on else 'used'}: {', '.join(self.unread)}")
        parts += [f"in {count:,} of them {what}" for what, count in self.left_out.items()]
        return "; ".join(parts)
