"""What a grader says, and what a completion is paid."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Verdict:
    """A grader's judgement of one answer.

    correct: True, False, or None when the grader itself could not decide (then the sample is
        masked out of the loss, never scored 0).
    reason: one word of a closed set, e.g. "correct", "wrong", "no_answer", "timeout".
    """

    correct: bool | None
    reason: str


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
