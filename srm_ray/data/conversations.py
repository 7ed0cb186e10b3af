r"""Supervised examples and preference pairs from JSONL or a `datasets` name, each line checked.

    {"messages": [{"role": ..., "content": ...}, ...]}     as it is
    {"prompt": ..., "response": ...}                        two turns
    {"question": ..., "answer": "... #### 72"}              GSM8K: reasoning without <<...>> marks, then the answer
    {"conversations": [{"from": "human", "value": ...}]}    OpenHermes
    {"query": ..., "answer": ...}                           CodeFeedback
    {"prompt": ..., "chosen": ..., "rejected": ...}         a preference pair

Wrong input raises `UserError` with file and line.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_ray.data import reading
from srm_ray.errors import UserError

CALCULATOR_MARK = re.compile(r"<<[^<>]*>>")
GOLD = re.compile(r"####\s*(.+?)\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation to learn from. messages: as in a chat template; source: where from; line: in that file."""

    messages: tuple[dict[str, str], ...]
    source: str
    line: int


@dataclass(frozen=True, slots=True)
class Pair:
    """A preference. prompt: messages up to the completion; chosen, rejected: the completions' text."""

    prompt: tuple[dict[str, str], ...]
    chosen: str
    rejected: str
    source: str
    line: int


def read_examples(paths: str, *, style: str = "boxed") -> Iterator[Example]:
    """Examples of JSONL or Parquet files named by commas, in order. style: see `question_answer`.

    Raises `UserError` with the line number.
    """
    reading.check_files(paths)
    for path in reading.names(paths):
        for number, row in reading.rows(Path(path)):
            yield to_example(row, path, number, style)


def read_hub(names: str, subset: str, split: str, *, style: str = "boxed") -> Iterator[Example]:
    """Examples of `datasets` named as `reading.hub_names` says."""
    for name, own_subset, own_split in reading.hub_names(names, subset, split):
        for number, row in reading.hub_rows(name, own_subset, own_split):
            yield to_example(row, name, number, style)


def to_example(row: Mapping[str, Any], source: str, line: int, style: str = "boxed") -> Example:
    """One row in any of the forms."""
    if "messages" in row:
        messages = check_messages(row["messages"], source, line)
    elif "conversations" in row:
        messages = check_messages(renamed(row["conversations"]), source, line)
    elif "prompt" in row and "response" in row:
        messages = turns(text_of(row, "prompt", source, line), text_of(row, "response", source, line))
    elif "query" in row and "answer" in row:
        messages = turns(text_of(row, "query", source, line), text_of(row, "answer", source, line))
    elif "question" in row and "answer" in row:
        question, answer = text_of(row, "question", source, line), text_of(row, "answer", source, line)
        messages = turns(question, question_answer(answer, style))
    else:
        raise UserError(
            f"{source}:{line}: messages, prompt and response, or question and answer are expected, "
            f"got {', '.join(map(repr, row)) or 'an empty object'}"
        )
    return Example(tuple(messages), source, line)


def to_pair(row: Mapping[str, Any], source: str, line: int) -> Pair:
    """One row of prompt (text or messages), chosen, rejected (text, or messages ending in the completion)."""
    for name in ("prompt", "chosen", "rejected"):
        if name not in row:
            raise UserError(f"{source}:{line}: prompt, chosen and rejected are expected, {name!r} is missing")
    prompt = row["prompt"]
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    messages = check_messages(messages, source, line, ends_with="user")
    chosen, rejected = (completion_text(row[name], name, source, line) for name in ("chosen", "rejected"))
    return Pair(tuple(messages), chosen, rejected, source, line)


def completion_text(value: Any, name: str, source: str, line: int) -> str:
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1].get("content")
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{source}:{line}: {name} must be a non-empty text or messages, got {type(value).__name__}")
    return value


def text_of(row: Mapping[str, Any], name: str, source: str, line: int) -> str:
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        got = "an empty text" if isinstance(value, str) else type(value).__name__
        raise UserError(f"{source}:{line}: {name} must be a non-empty text, got {got}")
    return value


def check_messages(messages: Any, source: str, line: int, ends_with: str = "assistant") -> Sequence[dict[str, str]]:
    if not isinstance(messages, list) or not messages:
        raise UserError(f"{source}:{line}: messages must be a non-empty list, got {type(messages).__name__}")
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise UserError(f"{source}:{line}: messages[{place}] must have a role and a text as content")
        if message.get("role") not in ("system", "user", "assistant", "tool"):
            raise UserError(f"{source}:{line}: messages[{place}] has the role {message.get('role')!r}")
    if messages[-1]["role"] != ends_with:
        raise UserError(f"{source}:{line}: the last message must be the {ends_with}'s, got {messages[-1]['role']!r}")
    return messages


def renamed(conversation: Any) -> Any:
    """OpenHermes' turns with the names that chat templates know; anything else is left for the check to refuse."""
    if not isinstance(conversation, list) or not all(isinstance(turn, dict) for turn in conversation):
        return conversation
    roles = {"human": "user", "gpt": "assistant"}
    return [
        {"role": roles.get(turn.get("from", ""), turn.get("from")), "content": turn.get("value")}
        for turn in conversation
    ]


def turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def question_answer(answer: str, style: str) -> str:
    r"""GSM8K's answer as an assistant's turn: calculator marks removed, reasoning in think tags, the
    number behind `####` as `\boxed{n}` (style "boxed") or `**Final Answer:** n` ("final_answer").

    A bare answer of one word is stated in the same way; a worked one without `####` (Orca-Math's) is
    said as it is.
    """
    found = GOLD.search(answer)
    if not found and len(answer.split()) > 1:
        return CALCULATOR_MARK.sub("", answer).strip()
    reasoning = CALCULATOR_MARK.sub("", answer[: found.start()] if found else "").strip()
    gold = found.group(1).replace(",", "") if found else CALCULATOR_MARK.sub("", answer).strip()
    stated = rf"\boxed{{{gold}}}" if style == "boxed" else f"**Final Answer:** {gold}"
    return f"<think>\n{reasoning}\n</think>\n{stated}"
