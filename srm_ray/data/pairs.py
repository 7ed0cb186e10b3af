r"""Preference pairs: rows in any of the usual schemas to a prompt and two completions of it.

    {"prompt": ..., "chosen": ..., "rejected": ...}     texts or lists of messages; prompt may be question, instruction
    {"chosen": [...], "rejected": [...]}                the prompt is the turns that both share (TRL's implicit prompt)
    {"chosen": "\n\nHuman: ... \n\nAssistant: ...", ...}                HH-RLHF's, likewise
    {"prompt": ..., "response_0": ..., "response_1": ..., "better_response_id": 1}     PKU-SafeRLHF's

What is not one of them raises `UserError`; a row that is one and cannot be used raises `Unusable` (`drops`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srm_ray.data.columns import ASKING, DIALOGUES, TOOLS, Columns
from srm_ray.data.conversations import (
    choices_beside,
    question_turns,
    weight,
    with_choices,
    with_history,
    with_system,
)
from srm_ray.data.drops import Unusable
from srm_ray.data.messages import Message, Turns, drawn_dialogue, to_turns, tools_of
from srm_ray.errors import UserError

CHOSEN = ("chosen", "chosen_response", "response_j", "preferred", "winner")
REJECTED = ("rejected", "rejected_response", "response_k", "dispreferred", "loser")
NUMBERED = (("response_0", "response_1"), ("response_a", "response_b"), ("response1", "response2"))
BETTER = ("better_response_id", "preference", "preferred_response", "chosen_index")
SCORES = (
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen_rating", "rejected_rating"),
    ("chosen-rating", "rejected-rating"),
    ("chosen_avg_rating", "rejected_avg_rating"),
)
MAPPED = ("prompt", "chosen", "rejected", "system", "tools")  # what --data.columns can name


@dataclass(frozen=True, slots=True)
class Pair:
    """A preference. prompt: messages up to the completion, the last one not the assistant's; chosen, rejected: the
    assistant's messages. schema, unread: as of `conversations.Example`."""

    prompt: tuple[Message, ...]
    chosen: Message
    rejected: Message
    tools: tuple[Mapping[str, Any], ...] = ()
    schema: str = ""
    unread: tuple[str, ...] = ()


def to_pair(row: Mapping[str, Any], mapped: Sequence[str] = ()) -> Pair:
    """A row in any of the schemas. mapped: the columns that `--data.columns` named, which come before all others."""
    columns = Columns(row)
    chosen, rejected = sides(columns, row)
    by_score(columns)
    weight(columns)
    better, worse = (completion_turns(columns.value(name), name) for name in (chosen, rejected))
    # Beside completions that hold the turns before them, a dialogue is one of those over again.
    whole = better.messages[0]["role"] != "assistant"
    asking = columns.first(("prompt",) if "prompt" in mapped else (*ASKING, *(() if whole else DIALOGUES)))
    asked = question_turns(columns, asking) if asking else Turns((), ())
    found = None if whole else choices_beside(columns, asked)
    asked = asked if found is None else with_choices(asked, found, letter=False)
    prompt, (better_turns, worse_turns) = split(asked, better, worse)
    if not prompt.messages:
        raise Unusable(f"no prompt: {chosen} and {rejected} share no turns, and there is no prompt column")
    prompt = with_system(with_history(prompt, columns), columns)
    if prompt.messages[-1]["role"] == "assistant":
        raise Unusable("the prompt ends with the assistant's turn")
    return Pair(
        prompt.messages,
        better_turns,
        worse_turns,
        tools_of(columns.value(columns.first(TOOLS))) if columns.first(TOOLS) else (),
        f"{asking + ' + ' if asking else ''}{chosen} + {rejected}",
        tuple(dict.fromkeys(columns.unread + asked.unread + better.unread + worse.unread)),
    )


def sides(columns: Columns, row: Mapping[str, Any]) -> tuple[str, str]:
    """The columns of the better and of the worse completion."""
    chosen, rejected = (columns.first(names, filled=False) for names in (CHOSEN, REJECTED))
    if chosen and rejected:
        return chosen, rejected
    better = columns.first(BETTER, filled=False)
    for pair in NUMBERED:
        if better and all(columns.first((name,), filled=False) for name in pair):
            choice = columns.value(better)
            if choice not in (0, 1) or isinstance(choice, str):
                raise Unusable(f"{better} is {choice!r}, neither 0 nor 1")
            return (pair[1], pair[0]) if choice else pair
    unpaired = "; these look like single judgements (KTO's), which are no pairs" if "label" in columns.names else ""
    raise UserError(
        f"no preference pair: its columns are {', '.join(row) or 'none'}; prompt, chosen and rejected are expected"
        f'{unpaired}. Name yours: --data.columns "{{prompt: COLUMN, chosen: COLUMN, rejected: COLUMN}}"'
    )


def by_score(columns: Columns) -> None:
    """Raises `Unusable` where the data's own scores say that chosen is not the better one."""
    for pair in SCORES:
        if not all(columns.first((name,)) for name in pair):
            continue
        better, worse = (columns.value(name) for name in pair)
        if not all(isinstance(score, int | float) for score in (better, worse)):
            raise Unusable(f"{pair[0]} or {pair[1]} is no number")
        if better == worse:
            raise Unusable("chosen and rejected have the same score", asked=True)
        if better < worse:
            raise Unusable("chosen has a lower score than rejected")


def completion_turns(value: Any, name: str) -> Turns:
    """A completion: the assistant's text, a message or several, or a dialogue of Human: and Assistant:."""
    if isinstance(value, str):
        drawn = drawn_dialogue(value)
        if drawn:
            return to_turns(drawn, name)
        if not value.strip().startswith(("[{", "{")):
            if not value.strip():
                raise Unusable(f"{name} is empty")
            return to_turns([{"role": "assistant", "content": value}], name)
    return to_turns(value, name)


def split(asked: Turns, better: Turns, worse: Turns) -> tuple[Turns, tuple[Message, Message]]:
    """The prompt, which may be in a column of its own, in the turns that both completions begin with, or in both; and
    the two last turns."""
    shared = 0
    while shared < min(len(better.messages), len(worse.messages)) - 1 and same(
        better.messages[shared], worse.messages[shared]
    ):
        shared += 1
    last = []
    for turns, name in ((better, "chosen"), (worse, "rejected")):
        if turns.messages[-1]["role"] != "assistant":
            raise Unusable(f"{name} ends with the {turns.messages[-1]['role']}'s turn")
        if len(turns.messages) > shared + 1:
            raise Unusable("chosen and rejected differ before their last turn")
        message = turns.messages[-1]
        if not message["content"].strip() and not message.get("tool_calls"):
            raise Unusable(f"{name} is empty")
        last.append(message)
    return Turns(*joined(asked.messages, better.messages[:shared])), (last[0], last[1])


def joined(asked: tuple[Message, ...], shared: tuple[Message, ...]) -> tuple[tuple[Message, ...], tuple[bool, ...]]:
    """The prompt once, where both the column and the shared turns have it. Raises `Unusable` where they differ."""
    if not asked or not shared:
        both = asked or shared
    elif len(asked) <= len(shared) and places_of(asked, shared):
        both = shared
    elif places_of(shared, asked):
        both = asked
    elif shared[0]["role"] == "assistant" or asked[-1]["role"] == "assistant":
        both = asked + shared
    else:
        raise Unusable("the prompt is not among the turns that chosen and rejected share")
    return both, (False,) * len(both)


def places_of(asked: tuple[Message, ...], shared: tuple[Message, ...]) -> bool:
    """Whether the shared turns hold those of the prompt, one after the other."""
    size = len(asked)
    return any(
        all(same(one, other) for one, other in zip(asked, shared[begin : begin + size], strict=True))
        for begin in range(len(shared) - size + 1)
    )


def same(one: Message, other: Message) -> bool:
    return one["role"] == other["role"] and one["content"].strip() == other["content"].strip()
