"""Format reward: did the completion think inside one pair of tags and then answer?

1.0 when the assistant's turn is `<think>`, some thinking, `</think>`, some answer, each tag exactly
once and nothing but white space before the first; else 0.0. The chat template puts the opening
`<think>` into the prompt, so what is scored is prompt + completion. Never counted as correctness.
"""

ASSISTANT = "<|im_start|>assistant"
OPEN, CLOSE = "<think>", "</think>"
END = "<|im_end|>"


def opening(prompt: str) -> str:
    """The part of the assistant's turn that the prompt already holds, e.g. "<think>\\n"."""
    before, mark, tail = prompt.rpartition(ASSISTANT)
    return tail if mark else before + tail


def score(text: str) -> float:
    """1.0 or 0.0 for `text` = prompt + completion (earlier turns of the prompt are left out).

    A caller that holds the two apart should use `score_completion`, which a completion cannot fool
    by writing a turn of its own.
    """
    turn = opening(text).strip().removesuffix(END)
    head, _, rest = turn.partition(OPEN)
    thinking, closed, answer = rest.partition(CLOSE)
    return float(
        turn.count(OPEN) == 1
        and turn.count(CLOSE) == 1
        and not head.strip()
        and bool(closed)
        and bool(thinking.strip())
        and bool(answer.strip())
    )


def score_completion(prompt: str, completion: str) -> float:
    """As `score`; a completion that writes chat marks itself scores 0.0."""
    if "<|im_start|>" in completion:
        return 0.0
    return score(ASSISTANT + opening(prompt) + completion)
