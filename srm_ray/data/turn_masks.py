r"""Which tokens of a conversation are the assistant's, for any chat template that is not this project's own.

    turn k -> start: messages before it, with the generation prompt     what a rollout of that turn would be given
           -> body:  what the template puts behind that, up to the end of the turn
    turns whose start + body begin the same text share a sequence; the others get one of their own

A template need not be consistent: some drop the thinking of earlier turns (Qwen3), of every turn (DeepSeek-R1's first
one), open `<think>` in the generation prompt though a finished turn has none, or end a conversation with a token that
no turn has (Phi-3). What counts is what a rollout would see and have to generate. Where the template does not hold
all of the assistant's words, they are put behind the generation prompt as the data has them, and a note says so.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rewards.extract import THINKING
from srm_ray.data.drops import Unusable
from srm_ray.model.chat_template import (
    Hidden,
    Refused,
    control_pattern,
    hide_controls,
    place_hidden,
    render_text,
    turn_end,
)
from srm_ray.model.tokenization import END_THINK, THINK

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Message = Mapping[str, Any]
Encoded = tuple[list[int], list[bool]]
PROBE, THOUGHT = "seventeen sheep", "one by one"
THINKING_FIELDS = ("reasoning_content", "reasoning", "thinking")

OWN_SEQUENCES = (
    "the chat template changes earlier turns (drops thinking, mostly): a sequence for each turn that differs"
)
THINKING_KEPT = "the chat template leaves the assistant's thinking out: it is learned as the data has it"
THINKING_CLOSED = "the generation prompt ends the thinking before it begins: the thinking is left out"
SPELLED = "the texts spell control tokens of this tokenizer: they are taken as text"
FIRST_TURN = "an assistant's turn with nothing before it is not learned"


@dataclass(frozen=True, slots=True)
class Masked:
    """What a conversation becomes. sequences: (ids [T], mask [T]), one for all turns wherever that can be.
    notes: what the template drops or changes."""

    sequences: tuple[Encoded, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Habits:
    """What a template does to every conversation. ending: behind the assistant's words. learned: characters of it
    that are learned, up to the token that ends the turn. tail: behind the last turn alone. thinking: the field of a
    message that it takes thinking from, "" where it knows none. stop: token that ends a turn, put behind the last one
    where the template has none there."""

    ending: str
    learned: int
    tail: str
    thinking: str
    stop: int | None


@dataclass(slots=True)
class Learned:
    """A text, and the parts of it that are learned: (first character, last + 1)."""

    text: str
    spans: list[tuple[int, int]] = field(default_factory=list)


_habits: dict[tuple[int, str], Habits] = {}


def habits_of(tokenizer: "PreTrainedTokenizerFast") -> Habits:
    """Found out by rendering, once for a tokenizer and template."""
    key = (id(tokenizer), tokenizer.chat_template)
    if key not in _habits:
        _habits[key] = examine(tokenizer)
    return _habits[key]


def examine(tokenizer: "PreTrainedTokenizerFast") -> Habits:
    asked = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": PROBE}]
    once = render_text(tokenizer, asked, enable_thinking=True)
    longer = render_text(tokenizer, [*asked, {"role": "user", "content": "Why?"}], enable_thinking=True)
    shared = next((at for at, (one, other) in enumerate(zip(once, longer, strict=False)) if one != other), len(once))
    found = control_pattern(tokenizer)
    for match in found.finditer(once) if found else ():  # a control token is shared as a whole or not at all
        shared = match.start() if match.start() < shared < match.end() else shared
    for match in re.finditer(r"\S+", once):  # nor part of a word, where ends of turns are words
        spelled_there = found is not None and found.search(match[0]) is not None
        shared = match.start() if match.start() < shared < match.end() and not spelled_there else shared
    tail = once[shared:] if PROBE in once[:shared] else ""
    ending = once.removesuffix(tail).rpartition(PROBE)[2]
    thinking = next((name for name in THINKING_FIELDS if knows(tokenizer, name)), "")
    stop = turn_end(tokenizer)
    spelled = "" if stop is None else tokenizer.decode([stop])
    place = ending.find(spelled) if spelled else -1
    if place >= 0:
        return Habits(ending, place + len(spelled), tail, thinking, None)
    return Habits(ending, len(ending.rstrip()), tail, thinking, tokenizer.eos_token_id if stop is None else stop)


def knows(tokenizer: "PreTrainedTokenizerFast", name: str) -> bool:
    """Whether thinking in that field of a message is shown."""
    asked = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": PROBE, name: THOUGHT}]
    return THOUGHT in render_text(tokenizer, asked, enable_thinking=True)


def mask_turns(
    tokenizer: "PreTrainedTokenizerFast",
    messages: Sequence[Message],
    trained: Sequence[bool],
    tools: Sequence[Mapping[str, Any]] = (),
) -> Masked:
    """Sequences in which every assistant's turn that is `trained` is learned, in the context that a rollout of it has.

    Raises `Unusable` where the template refuses the conversation, or none of its turns can be learned.
    """
    habits = habits_of(tokenizer)
    shown, hidden = hide_controls(tokenizer, [adapted(message, habits) for message in messages])
    notes: dict[str, None] = {SPELLED: None} if hidden.spelled else {}
    found: list[Learned] = []
    try:
        for place in reversed(range(len(messages))):
            if messages[place]["role"] != "assistant" or not trained[place]:
                continue
            if place == 0:
                notes[FIRST_TURN] = None
                continue
            start, body = turn(tokenizer, shown[: place + 1], habits, tools, notes)
            add(found, start, body, habits)
    except Refused as error:
        raise Unusable(f"the chat template refuses it: {error.words}") from None
    if not found:
        raise Unusable("no assistant's turn to learn")
    if len(found) > 1:
        notes[OWN_SEQUENCES] = None
    last = max(place for place, message in enumerate(messages) if message["role"] == "assistant" and trained[place])
    notes |= dict.fromkeys(context_lost(found[0].text, shown[: last + 1], tools))
    return Masked(tuple(encoded(tokenizer, one, hidden, habits) for one in found), tuple(notes))


def prompt_messages(tokenizer: "PreTrainedTokenizerFast", messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages with their thinking where this tokenizer's template takes it from."""
    if not any(message.get("reasoning_content") for message in messages):
        return [dict(message) for message in messages]
    habits = habits_of(tokenizer)
    return [adapted(message, habits) for message in messages]


def adapted(message: Message, habits: Habits) -> dict[str, Any]:
    """The message with its thinking where this template takes it from: a field, else think tags in the content."""
    plain = dict(message)
    thought = plain.pop("reasoning_content", None)
    if not thought:
        return plain
    if habits.thinking:
        return {**plain, habits.thinking: thought}
    return {**plain, "content": f"{THINK}\n{thought.strip()}\n{END_THINK}\n{plain['content'].lstrip()}"}


def turn(
    tokenizer: "PreTrainedTokenizerFast",
    messages: Sequence[Message],
    habits: Habits,
    tools: Sequence[Mapping[str, Any]],
    notes: dict[str, None],
) -> tuple[str, str]:
    """(the prompt of the last message, what follows it)."""
    variables: dict[str, Any] = {"enable_thinking": True, **({"tools": list(tools)} if tools else {})}
    start = render_text(tokenizer, messages[:-1], add_generation_prompt=True, **variables)
    through = render_text(tokenizer, messages, **variables).removesuffix(habits.tail)
    message = messages[-1]
    thought, answer = parts_of(message, habits)
    for call in message.get("tool_calls", ()):
        if call["function"]["name"] not in through[min(len(start), len(through)) - 1 :]:
            raise Unusable("the chat template leaves tool calls out")
    if through.startswith(start):
        body = through[len(start) :]
        if not holds(body, answer):
            if not message.get("tool_calls"):
                raise Unusable("the chat template leaves the assistant's words out")
            notes["the chat template leaves out text beside a tool call"] = None
        if holds(body, thought):
            return start, body
    if message.get("tool_calls"):
        raise Unusable("the chat template shows a turn with tool calls without its thinking")
    opening, closing = next((pair for pair in THINKING if start.rstrip().endswith(pair)), ("", ""))
    if not through.startswith(start) and start.rstrip().endswith(closing or "\0"):
        raise Unusable("the chat template does not continue its own generation prompt")
    if not through.startswith(start) and not opening:
        raise Unusable("the chat template does not continue its own generation prompt")
    if closing and start.rstrip().endswith(closing):
        notes[THINKING_CLOSED] = None
        return start, answer + habits.ending
    if thought:
        notes[THINKING_KEPT] = None
    return start, behind(start, opening, message, thought, answer) + habits.ending


def parts_of(message: Message, habits: Habits) -> tuple[str, str]:
    """(thinking, answer), both stripped."""
    content = message["content"].strip()
    if habits.thinking and message.get(habits.thinking):
        return message[habits.thinking].strip(), content
    for opening, closing in THINKING:
        if content.startswith(opening) and closing in content:
            before, _, after = content.partition(closing)
            return before.removeprefix(opening).strip(), after.strip()
    return "", content


def behind(start: str, opening: str, message: Message, thought: str, answer: str) -> str:
    """The assistant's words behind a generation prompt that may have opened the thinking."""
    content = message["content"].strip()
    tags = next((pair for pair in THINKING if content.startswith(pair[0]) and pair[1] in content), None)
    if tags:
        rest = content.removeprefix(tags[0])
        if not opening:
            return content
        return rest.lstrip() if start[-1].isspace() else rest
    closing = dict(THINKING).get(opening, END_THINK)
    begin = "" if opening and start[-1].isspace() else "\n"
    if not opening:
        begin = f"{THINK}\n"
    return f"{begin}{thought}\n{closing}\n\n{answer}"


def holds(text: str, part: str) -> bool:
    """Whether the text has the part in it, as it is, as JSON has it, or with other white space."""
    part = part.strip()
    if part in text or json.dumps(part, ensure_ascii=False)[1:-1] in text or json.dumps(part)[1:-1] in text:
        return True
    return "".join(part.split()) in "".join(text.split())


def add(found: list[Learned], start: str, body: str, habits: Habits) -> None:
    text = start + body
    rest = len(habits.ending) - habits.learned if body.endswith(habits.ending) else len(body) - len(body.rstrip())
    span = (len(start), len(text) - rest)
    for one in found:
        if one.text.startswith(text):
            one.spans.append(span)
            return
    found.append(Learned(text, [span]))


def context_lost(text: str, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]]) -> list[str]:
    """What of the messages and tools is not in the text."""
    roles = {message["role"]: None for message in messages if not holds(text, message["content"])}
    names = {"system": "the system message", "user": "a user's message", "tool": "a tool's result"}
    lost = [f"the chat template leaves {names[role]} out" for role in roles if role in names]
    calls = [call["function"]["name"] for message in messages for call in message.get("tool_calls", ())]
    if any(name not in text for name in calls):
        lost.append("the chat template leaves tool calls out")
    if tools and not any(str(tool.get("function", tool).get("name")) in text for tool in tools):
        lost.append("the chat template does not show the tools")
    return lost


class ContextLosses:
    """What the chat template leaves out of prompts, looked at once for each run of roles."""

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        self._tokenizer = tokenizer
        self._known: dict[tuple[str, ...], list[str]] = {}

    def of(self, messages: Sequence[Message], render: Callable[[], Sequence[int]]) -> list[str]:
        """render: the messages' ids, asked for where such roles come for the first time."""
        kind = tuple(f"{message['role']}{' calls' if message.get('tool_calls') else ''}" for message in messages)
        if kind not in self._known:
            text = self._tokenizer.decode(list(render()), skip_special_tokens=False)
            self._known[kind] = context_lost(text, messages, ())
        return self._known[kind]


def encoded(tokenizer: "PreTrainedTokenizerFast", sequence: Learned, hidden: Hidden, habits: Habits) -> Encoded:
    """Ids and mask. A token that would span the end of a prompt is cut there: the prompt is encoded on its own."""
    spans = sorted(sequence.spans)
    ids: list[int] = []
    mask: list[bool] = []
    for token, begin in place_hidden(tokenizer, sequence.text, hidden, [begin for begin, _ in spans]):
        ids.append(token)
        mask.append(any(first <= begin < end for first, end in spans))
    if habits.stop is not None:
        mask = [on or (at > 0 and mask[at - 1] and ids[at] == habits.stop) for at, on in enumerate(mask)]
        end = len(mask) - mask[::-1].index(True)  # what the template has behind the last turn makes way for the stop
        if ids[end - 1] != habits.stop:
            ids, mask = [*ids[:end], habits.stop], [*mask[:end], True]
    return ids, mask
