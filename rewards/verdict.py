"""What a grader says, and what a completion is paid."""

from collections.abc import Sequence
from dataclasses import dataclass, field

REASONS = frozenset(
    {
        # Judged by the grader: `correct` is True or False.
        "correct",
        "wrong",
        "unevaluated",  # math: the right value, but as a sum left to do, or as the question repeated
        "no_answer",  # nothing that counts as a final answer (or no code) after the thinking
        "several_answers",  # more than one final answer, and they differ
        "truncated",  # cut at the token limit: never correct
        "too_long",  # more characters, digits or nesting than is read
        "rejected_syntax",  # characters or constructs that no answer needs; code that does not compile
        "timeout",  # code: the candidate's time was up. math: the comparison's was (then None)
        "runtime_error",  # the candidate raised, or called sys.exit
        "memory",  # the candidate asked for more memory than it may have
        "output_limit",  # the candidate printed or returned more than is read
        "bad_type",  # the candidate returned something that is not plain data
        "no_result",  # the candidate's process ended without an answer
        # The grader could not decide: `correct` is None, the sample is masked out of the loss.
        "undecided",  # a comparison that neither side's form let the grader settle
        "bad_input",  # a malformed line, group or test
        "bad_gold",  # the gold answer itself cannot be read
        "bad_tests",  # the tests fail by themselves, whatever the candidate does
        "grader_error",  # a defect in a grader; logged with its traceback
        "worker_died",  # the grading process was killed more often than it is replaced
        "judge_failed",  # a judge that did not answer, or whose answer holds no verdict
        "judge_limit",  # a judge that may not be asked again: its calls or its budget are spent
        "environment_error",  # what a completion talks to over several turns failed
        "sandbox_unavailable",  # no sandbox tier holds here, and allow_unsafe is not set
    }
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A grader's judgement of one answer.

    correct: True, False, or None when the grader itself could not decide (then the sample is
        masked out of the loss, never scored 0).
    reason: one word of `REASONS`, e.g. "correct", "wrong", "no_answer", "timeout".
    kind: whose judgement it is, "math", "code", "text", "gym" or "function"; "" where a grader was called by itself.
    answer: what was taken for the completion's final answer; None where there is none, and for code.
    """

    correct: bool | None
    reason: str
    kind: str = ""
    answer: str | None = None


@dataclass(frozen=True, slots=True)
class Reward:
    """What one completion earned.

    value: weighted sum of the parts, e.g. 1.1; 0.0 and `correct=None` when undecided.
    correct: the correctness grader's judgement alone; None: masked out of the loss.
    reason: the correctness grader's word, e.g. "wrong".
    seconds: wall time that grading took, in seconds.
    parts: what each reward gave before its weight, e.g. {"math": 1.0, "format": 0.0}.
    """

    value: float
    correct: bool | None
    reason: str
    seconds: float = 0.0
    parts: dict[str, float] = field(default_factory=dict)


CORRECT = Verdict(True, "correct")
WRONG = Verdict(False, "wrong")


def judged(same: bool) -> Verdict:
    """The verdict of a comparison that reached a decision."""
    return CORRECT if same else WRONG


def one_of(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on an answer that may equal any of several golds, from that on each."""
    right = [verdict for verdict in verdicts if verdict.correct]
    undecided = [verdict for verdict in verdicts if verdict.correct is None and verdict.reason != "bad_gold"]
    wrong = [verdict for verdict in verdicts if verdict.correct is False]
    return (right or undecided or wrong or list(verdicts))[0]
