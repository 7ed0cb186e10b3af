"""Format reward: did the completion think inside one pair of tags and then answer?

1.0 when the assistant's turn is an opening tag, some thinking, a closing tag, some answer, each tag exactly
once and nothing but white space before the first; else 0.0. Some chat templates put the opening tag into the
prompt, so what is scored is prompt + completion. Never counted as correctness.

The tags are those that the prompt ends with; else those that it asks for; else `<think>` and `</think>`. What
marks turns is read off the prompt, whatever its template: `<|im_start|>`, `<|start_header_id|>`, `<start_of_turn>`,
`<|assistant|>`, `[INST]`, `<｜User｜>`, ...
"""

import re

from rewards.extract import CLOSE, OPEN, THINKING

# How an assistant's turn begins, in the templates of many models.
ASSISTANT = re.compile(
    r"<\|im_start\|>assistant|<\|start_header_id\|>assistant<\|end_header_id\|>|<start_of_turn>model|<\|assistant\|>"
    r"|<｜Assistant｜>|<\|start_of_role\|>assistant<\|end_of_role\|>|\[/INST\]"
)
# What looks like a control token that marks turns.
MARK = re.compile(r"<[|｜][^<>\s]{1,40}[|｜]>|<(?:start|end)_of_turn>|\[/?INST\]|<<SYS>>")
CHATML = "<|im_start|>"
THINKING_MARKS = {tag for pair in THINKING for tag in pair}


def tags_of(prompt: str) -> tuple[str, str]:
    """Opening and closing tag of thinking, as this prompt has them."""
    end = prompt.rstrip()
    for pair in THINKING:
        if end.endswith(pair):
            return pair
    for pair in THINKING:
        if pair[0] in prompt and pair[1] in prompt:
            return pair
    return OPEN, CLOSE


def opening(prompt: str) -> str:
    """What the prompt holds of the thinking already: the opening tag, thinking that it has closed, or nothing."""
    begin, close = tags_of(prompt)
    end = prompt.rstrip()
    if end.endswith(begin):
        return begin
    return end[end.rfind(begin) :] if end.endswith(close) and begin in end else ""


def score(text: str) -> float:
    """1.0 or 0.0 for `text` = prompt + completion (earlier turns of the prompt are left out).

    A caller that holds the two apart should use `score_completion`, which a completion cannot fool
    by writing a turn of its own.
    """
    starts = [match.end() for match in ASSISTANT.finditer(text)]
    turn = text[starts[-1] if starts else 0 :]
    return well_formed(without_end(turn), *tags_of(text[: starts[-1]] if starts else ""))


def score_completion(prompt: str, completion: str) -> float:
    """As `score`; a completion that writes a mark of turns scores 0.0: ChatML's, or any that its prompt holds."""
    completion = without_end(completion)
    marks = ({CHATML} | set(MARK.findall(prompt))) - THINKING_MARKS
    if any(mark in completion for mark in marks):
        return 0.0
    return well_formed(opening(prompt) + completion, *tags_of(prompt))


def without_end(turn: str) -> str:
    """Without the mark that ends it, where there is one."""
    turn = turn.rstrip()
    last = next((found for found in reversed(list(MARK.finditer(turn))) if found[0] not in THINKING_MARKS), None)
    return turn[: last.start()] if last and last.end() == len(turn) else turn


def well_formed(turn: str, begin: str, close: str) -> float:
    head, _, rest = turn.partition(begin)
    thinking, closed, answer = rest.partition(close)
    return float(
        turn.count(begin) == 1
        and turn.count(close) == 1
        and not head.strip()
        and bool(closed)
        and bool(thinking.strip())
        and bool(answer.strip())
    )
