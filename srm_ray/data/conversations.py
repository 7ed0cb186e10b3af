r"""Supervised examples: rows in any of the usual schemas to conversations.

    {"messages": [...]}, {"conversations": [{"from": "human", "value": ...}]}   OpenAI's, ShareGPT's and their likes
    {"prompt": ..., "completion": ...}        TRL's, texts or lists of messages
    {"instruction": ..., "input": ..., "output": ...}       Alpaca's
    {"question": ..., "answer": "... #### 72"}              GSM8K's: reasoning without <<...>> marks, then the answer
    {"problem": ..., "solution": ...}, {"query": ..., "response": ...}, ...     see `columns`
    {"question": ..., "choices": [...], "answer": 2}         multiple choice: the choices shown, the letter learned
    {"text": ...}                             a dialogue of Human: and Assistant:, else a document, learned whole

What is not one of them raises `UserError`; a row that is one and cannot be used raises `Unusable` (`drops`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from srm_ray.data import choices
from srm_ray.data.choices import Choices
from srm_ray.data.columns import (
    ANSWERING,
    ASKING,
    CONTEXTS,
    DIALOGUES,
    SYSTEMS,
    THOUGHTS,
    TOOLS,
    Columns,
)
from srm_ray.data.drops import Unusable
from srm_ray.data.messages import Message, Turns, drawn_dialogue, from_json, is_switch, to_turns, tools_of
from srm_ray.errors import UserError

CALCULATOR_MARK = re.compile(r"<<[^<>]*>>")
GOLD = re.compile(r"^####[ \t]*+(\S.*)$", re.MULTILINE)
REPEATED_GOLD = re.compile(r"(the )?(final )?answer( is)?\b.*", re.IGNORECASE)  # behind it, as MetaMath has it
THOUSANDS = re.compile(r"-?\$?\d{1,3}(,\d{3})+(\.\d+)?%?")
WEIGHTS = ("weight", "sample_weight")
TRAILING = "what follows the assistant's last turn is left out"
MAPPED = ("messages", "prompt", "response", "reasoning", "system", "tools", "text")  # what --data.columns can name


@dataclass(frozen=True, slots=True)
class Example:
    """What is learned from a row.

    messages: as in a chat template. trained: of each message, whether the data wants it learned. tools: schemas of the
    functions that may be called. text: a document, learned whole, in place of messages. schema: what the row was read
    as. unread: columns, and fields of messages (`messages.id`), that play no part. notes: what else was left out.
    """

    messages: tuple[Message, ...] = ()
    trained: tuple[bool, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    text: str = ""
    schema: str = ""
    unread: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Schema:
    """A form of rows. name: with what it is reported, {0} and {1} its columns. needs: for each column that makes it
    out, the names that it may have. build: the conversation, from the names found."""

    name: str
    needs: tuple[tuple[str, ...], ...]
    build: Callable[[Columns, tuple[str, ...], str], "Turns | str"]


def to_example(row: Mapping[str, Any], style: str = "boxed", mapped: Sequence[str] = ()) -> Example:
    """A row in any of the schemas. style: see `question_answer`. mapped: the columns that `--data.columns` named,
    which come before all others."""
    found = found_schema(row, mapped, SCHEMAS)
    if found is None:
        raise UserError(no_conversation(row))
    schema, names, columns = found
    built = schema.build(columns, names, style)
    name = schema.name.format(*names)
    weight(columns)
    if isinstance(built, str):
        return Example(text=built, schema=name, unread=columns.unread)
    turns = finished(with_system(with_history(built, columns), columns))
    tools = tools_of(columns.value(columns.first(TOOLS))) if columns.first(TOOLS) else ()
    notes = () if turns.messages[-1] == built.messages[-1] else (TRAILING,)
    return Example(turns.messages, turns.trained, tools, schema=name, unread=columns.unread + turns.unread, notes=notes)


def no_conversation(row: Mapping[str, Any]) -> str:
    return (
        f"no conversation: its columns are {', '.join(row) or 'none'}; {KNOWN}. Name yours: "
        '--data.columns "{prompt: COLUMN, response: COLUMN}"'
    )


def found_schema(
    row: Mapping[str, Any], mapped: Sequence[str], schemas: Sequence[Schema]
) -> tuple[Schema, tuple[str, ...], Columns] | None:
    """The first schema whose columns the row has, with something in them if there is one such, and their names.

    Where the columns that are mapped make one out, no others are looked at but those that stand beside any.
    """
    chosen = {name: row[name] for name in row if name in mapped or name.lower() in BESIDE} if mapped else {}
    views = [Columns(chosen, beside=row), Columns(row)] if chosen else [Columns(row)]
    for columns in views:
        for filled in (True, False):
            for schema in schemas:
                names = tuple(columns.first(names, filled=filled) for names in schema.needs)
                if all(names) and len(set(names)) == len(names):
                    return schema, names, columns
    return None


BESIDE = (*SYSTEMS, *TOOLS, *WEIGHTS, "history")  # columns that can stand beside any conversation
KNOWN = "known are messages (or conversations), prompt and completion, instruction and output, question and answer, ..."


# Schemas


def dialogue(columns: Columns, names: tuple[str, ...], style: str) -> Turns:
    value = columns.value(names[0])
    drawn = drawn_dialogue(value) if isinstance(value, str) else None
    return to_turns(drawn or value, names[0])


def asked_and_answered(columns: Columns, names: tuple[str, ...], style: str) -> Turns:
    """One question and its answer, each a text or a list of messages; of multiple choice the letter."""
    asking, answering = names
    asked = question_turns(columns, asking)
    if columns.holds_turns(answering):
        answers = columns.turns(answering)
        return Turns(asked.messages + answers.messages, asked.trained + answers.trained, asked.unread + answers.unread)
    thought = next((text for name in THOUGHTS if (text := columns.text_or_none((name,))) and not is_switch(text)), "")
    found = choices_beside(columns, asked)
    letter = found is not None and names_a_choice(columns, answering, found)
    if found is not None:
        asked = with_choices(asked, found, letter=letter)
    answer = choices.letter_of(columns, found) if found is not None and letter else columns.text(answering)
    if (letter or (answering == "answer" and asking in ("question", "problem"))) and not thought:
        answer = question_answer(answer, style)
    message = {"role": "assistant", "content": answer, **({"reasoning_content": thought} if thought else {})}
    return Turns((*asked.messages, message), (*asked.trained, True), asked.unread)


def keyed(columns: Columns, names: tuple[str, ...], style: str) -> Turns:
    """A question with choices and a column that only says which is right."""
    if not choices.possible(frozenset(columns.names)):
        raise UserError(no_conversation(columns.row))
    return asked_and_answered(columns, names, style)


def question_turns(columns: Columns, asking: str) -> Turns:
    """What is asked: messages, a dialogue so far, or a text with what belongs to it (`input`, `context`)."""
    if columns.holds_turns(asking):
        return columns.turns(asking)
    text = columns.text(asking)
    drawn = drawn_dialogue(text)
    if drawn:
        return to_turns(drawn, asking)
    more = columns.text_or_none(("input",)) if asking != "input" else ""
    more = more if more.strip() != text.strip() else ""
    context = columns.text_or_none(CONTEXTS)
    parts = (context, text, more) if context and asking == "question" else (text, more, context)
    return to_turns([{"role": "user", "content": "\n\n".join(part for part in parts if part)}], asking)


def choices_beside(columns: Columns, asked: Turns) -> Choices | None:
    """The choices that the row has in columns of their own for the question."""
    if not choices.possible(frozenset(columns.names)) or not asked.messages or asked.messages[-1]["role"] != "user":
        return None
    return choices.choices_of(columns, asked.messages[-1]["content"])


def with_choices(asked: Turns, found: Choices, *, letter: bool) -> Turns:
    """The question with its choices. letter: asked for by its letter."""
    *before, last = asked.messages
    text = choices.rendered(last["content"], found, asked=letter)
    return replace(asked, messages=(*before, {**last, "content": text}))


def names_a_choice(columns: Columns, answering: str, found: Choices) -> bool:
    """Whether the answer's column only says which choice is right, rather than being a worked answer."""
    if answering not in ("answer", *choices.KEYS):
        return False
    value = columns.value(answering)
    return found.right is not None or not isinstance(value, str) or choices.place_named(value, found) is not None


def document(columns: Columns, names: tuple[str, ...], style: str) -> Turns | str:
    text = columns.text(names[0])
    drawn = drawn_dialogue(text)
    return to_turns(drawn, names[0]) if drawn else text


SCHEMAS = (
    Schema("{0}", (DIALOGUES,), dialogue),
    Schema("{0} + {1}", (("prompt",), ("completion", "response")), asked_and_answered),
    Schema("Alpaca ({0} + {1})", (("instruction",), ("output",)), asked_and_answered),
    Schema("{0} + {1}", (ASKING, ANSWERING), asked_and_answered),
    Schema("multiple choice ({0} + {1})", (ASKING, choices.KEYS), keyed),
    Schema("{0}", (("text", "content", "document"),), document),
)


# What stands beside a conversation


def with_system(turns: Turns, columns: Columns) -> Turns:
    """The system column as the first message. One that the conversation has already counts, if it says the same."""
    text = columns.text_or_none(SYSTEMS)
    if not text:
        return turns
    first = turns.messages[0]
    if first["role"] != "system":
        return replace(
            turns, messages=({"role": "system", "content": text}, *turns.messages), trained=(False, *turns.trained)
        )
    if first["content"].strip() != text.strip():
        raise Unusable("a system column and another system message in the conversation")
    return turns


def with_history(turns: Turns, columns: Columns) -> Turns:
    """LLaMA-Factory's `history`: pairs of what was asked and answered before."""
    name = columns.first(("history",))
    value = from_json(columns.value(name), name) if name else None
    if not value:
        return turns
    if isinstance(value, str):
        drawn = drawn_dialogue(value)
        if not drawn:
            raise Unusable("history is a text without Human: and Assistant:")
        before = to_turns(drawn, name)
    elif all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value):
        roles = ("user", "assistant")
        before = to_turns(
            [{"role": role, "content": text} for pair in value for role, text in zip(roles, pair, strict=True)], name
        )
    else:
        before = to_turns(value, name)
    place = 1 if turns.messages[0]["role"] == "system" else 0
    return replace(
        turns,
        messages=turns.messages[:place] + before.messages + turns.messages[place:],
        trained=turns.trained[:place] + before.trained + turns.trained[place:],
    )


def weight(columns: Columns) -> None:
    """A conversation's own weight. Raises `Unusable` where it is 0, which asks for that, or no whole one."""
    name = columns.first(WEIGHTS)
    if not name:
        return
    value = columns.value(name)
    if not isinstance(value, bool | int | float) or value not in (0, 1):
        raise Unusable(f"{name} {value!r} of a conversation: only 0 and 1 can be honoured")
    if not value:
        raise Unusable(f"{name} 0", asked=True)


def finished(turns: Turns) -> Turns:
    """Up to the last turn of the assistant. Raises `Unusable` where there is none with words in it."""
    places = [place for place, message in enumerate(turns.messages) if message["role"] == "assistant"]
    if not places:
        raise Unusable("no turn of the assistant")
    end = places[-1] + 1
    for place in places:
        message = turns.messages[place]
        if turns.trained[place] and not message["content"].strip() and not message.get("tool_calls"):
            raise Unusable("an empty turn of the assistant")
    if not any(turns.trained[place] for place in places):
        raise Unusable("no turn of the assistant is to be trained on", asked=True)
    return replace(turns, messages=turns.messages[:end], trained=turns.trained[:end])


def question_answer(answer: str, style: str) -> str:
    r"""GSM8K's answer as an assistant's turn: calculator marks removed, reasoning in think tags, what stands behind
    the last `####` of a line as `\boxed{n}` (style "boxed") or `**Final Answer:** n` ("final_answer").

    A bare answer of one word is stated in the same way; a worked one without `####` (Orca-Math's), or with `####` as
    a heading amid the text, is said as it is.
    """
    found = next(reversed(list(GOLD.finditer(answer))), None)
    rest = answer[found.end() :].strip() if found else ""
    if found and rest and not REPEATED_GOLD.fullmatch(rest):
        found = None
    plain = CALCULATOR_MARK.sub("", answer).strip()
    if not found and len(answer.split()) > 1:
        return plain
    reasoning = CALCULATOR_MARK.sub("", answer[: found.start()]).strip() if found else ""
    gold = found[1].rstrip() if found else plain
    if THOUSANDS.fullmatch(gold):
        gold = gold.replace(",", "")
    stated = rf"\boxed{{{gold}}}" if style == "boxed" else f"**Final Answer:** {gold}"
    return f"<think>\n{reasoning}\n</think>\n{stated}"
