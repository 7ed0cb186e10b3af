r"""Supervised examples and preference pairs from JSONL or a `datasets` name, each line checked.

    {"messages": [{"role": ..., "content": ...}, ...]}     as it is
    {"prompt": ..., "response": ...}                        two turns
    {"question": ..., "answer": "... #### 72"}              GSM8K: reasoning without <<...>> marks, then the answer
    {"prompt": ..., "chosen": ..., "rejected": ...}         a preference pair

Wrong input raises `UserError` with file and line.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from srm_ray.errors import UserError

T = TypeVar("T")
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


def read_examples(paths: str, *, style: str = "boxed") -> list[Example]:
    """Examples of JSONL files named by commas, in order. style: see `question_answer`."""
    return [
        example
        for path in split_names(paths)
        for example in read_jsonl(Path(path), lambda r, p, n: to_example(r, p, n, style))
    ]


def read_pairs(paths: str) -> list[Pair]:
    return [pair for path in split_names(paths) for pair in read_jsonl(Path(path), to_pair)]


def split_names(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def read_jsonl(path: Path, convert: Callable[[Mapping[str, Any], str, int], T]) -> list[T]:
    """Convert every line of a JSONL file. Raises `UserError` with the line number."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"--data.path {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"--data.path {path}: not UTF-8 text ({error.reason} at byte {error.start})") from None
    converted = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{number}: not JSON ({error.msg} at column {error.colno})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: an object is expected, got {type(row).__name__}")
        converted.append(convert(row, str(path), number))
    if not converted:
        raise UserError(f"--data.path {path}: the file holds no examples")
    return converted


def read_hub(names: str, subset: str, split: str, convert: Callable[[Mapping[str, Any], str, int], T]) -> Iterator[T]:
    """Convert the rows of `datasets` named by commas. Raises `UserError` when one cannot be loaded."""
    import datasets

    for name in split_names(names):
        try:
            rows = datasets.load_dataset(name, subset or None, split=split)
        except Exception as error:  # the hub's client raises many kinds, all of them the user's to know
            raise UserError(f"--data.name {name}: cannot be loaded ({type(error).__name__}: {error})") from None
        for number, row in enumerate(rows, 1):
            yield convert(row, name, number)


def to_example(row: Mapping[str, Any], source: str, line: int, style: str = "boxed") -> Example:
    """One row in any of the three forms."""
    if "messages" in row:
        messages = check_messages(row["messages"], source, line)
    elif "prompt" in row and "response" in row:
        messages = turns(text_of(row, "prompt", source, line), text_of(row, "response", source, line))
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


def turns(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def question_answer(answer: str, style: str) -> str:
    r"""GSM8K's answer as an assistant's turn: calculator marks removed, reasoning in think tags, the
    number behind `####` as `\boxed{n}` (style "boxed") or `**Final Answer:** n` ("final_answer")."""
    found = GOLD.search(answer)
    reasoning = CALCULATOR_MARK.sub("", answer[: found.start()] if found else "").strip()
    gold = found.group(1).replace(",", "") if found else CALCULATOR_MARK.sub("", answer).strip()
    stated = rf"\boxed{{{gold}}}" if style == "boxed" else f"**Final Answer:** {gold}"
    return f"<think>\n{reasoning}\n</think>\n{stated}"
