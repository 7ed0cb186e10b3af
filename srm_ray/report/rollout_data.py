"""The completions of a step, for the page: texts and grades in one block, tokens in another.

Texts are what listing and searching need; tokens are several times as large and are opened for one step at a
time. Both are gzip of JSON.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from srm_ray.files import yaml_file
from srm_ray.files.roots import cache_root
from srm_ray.report import token_text
from srm_ray.report.plain import packed
from srm_ray.report.token_text import TokenText
from srm_ray.runs import rollout_log
from srm_ray.runs.folder import RunFolder

COMPLETION_FIELDS = (
    ("sample", "sample"),
    ("text", "completion"),
    ("reward", "reward"),
    ("correct", "correct"),
    ("reason", "reason"),
    ("parts", "parts"),
    ("advantage", "advantage"),
    ("finish", "finish_reason"),
    ("worker", "worker"),
)


@dataclass(frozen=True, slots=True)
class Block:
    """A step for the page. groups, completions: how many it holds, of `total_completions` sampled.

    tokens: None where they are left out.
    """

    step: int
    groups: int
    completions: int
    total_completions: int
    texts: bytes
    tokens: bytes | None

    @property
    def size(self) -> int:
        return len(self.texts) + len(self.tokens or b"")


def read(folder: RunFolder, step: int) -> list[list[dict[str, Any]]]:
    """Lines of the step, a list for each group, in the order of the file. Raises `FileNotFoundError`."""
    groups: dict[tuple[int, int], list[dict[str, Any]]] = {}
    with rollout_log.path_of(folder.rollouts, step).open(encoding="utf-8") as file:
        for text in file:
            try:
                line = json.loads(text)
                groups.setdefault((line["prompt_index"], line["draw"]), []).append(line)
            except (ValueError, RecursionError, KeyError, TypeError):
                break  # a file that another program is still copying, or that is none of ours
    return list(groups.values())


def block(folder: RunFolder, step: int, limit: int | None = None) -> Block:
    """The step in at most `limit` bytes: first the tokens are left out, then groups."""
    groups = read(folder, step)
    total = sum(len(group) for group in groups)
    tokens = packed(token_block(groups, tokenizer_of(folder, groups)))
    kept = groups
    texts = packed(text_block(step, kept))
    if limit is None or len(texts) + len(tokens) <= limit:
        return Block(step, len(groups), total, total, texts, tokens)
    while len(texts) > limit and len(kept) > 1:
        kept = kept[: len(kept) // 2]
        texts = packed(text_block(step, kept))
    return Block(step, len(kept), sum(len(group) for group in kept), total, texts, None)


def text_block(step: int, groups: list[list[dict[str, Any]]]) -> dict[str, Any]:
    return {"step": step, "groups": [_group(lines) for lines in groups]}


def _group(lines: list[dict[str, Any]]) -> dict[str, Any]:
    first = lines[0]
    return {
        "prompt_index": first["prompt_index"],
        "draw": first["draw"],
        "prompt": first["prompt"],
        "gold": first.get("gold"),
        "kept": first.get("kept"),
        "completions": [_completion(line) for line in lines],
    }


def _completion(line: dict[str, Any]) -> dict[str, Any]:
    shown = {name: line.get(source) for name, source in COMPLETION_FIELDS}
    shown["seed"] = str(line.get("seed", ""))  # 64 bits: more than a number in a browser holds
    shown["tokens"] = line.get("tokens", len(line.get("token_ids") or ()))
    shown["versions"] = line.get("versions") or []
    if line.get("episode"):
        shown["episode"] = line["episode"]
    return shown


def token_block(groups: list[list[dict[str, Any]]], tokenizer: TokenText | None) -> dict[str, Any]:
    """ids, logprobs (nats, three decimals) and mismatch of every token, and the bytes of the ids that occur.

    mismatch: the learner's log-probability less the sampler's, five decimals; empty for what was not trained on.
    """
    used = {token for group in groups for line in group for token in line.get("token_ids") or ()}
    return {
        "vocabulary": tokenizer.of(sorted(used)) if tokenizer else {},
        "groups": [
            [
                {
                    "ids": line.get("token_ids") or [],
                    "logprobs": [round(logprob, 3) for logprob in line.get("logprobs") or ()],
                    "mismatch": _mismatch(line),
                }
                for line in group
            ]
            for group in groups
        ],
    }


def _mismatch(line: dict[str, Any]) -> list[float]:
    learner = line.get("learner_logprobs") or ()
    return [round(own - sampled, 5) for own, sampled in zip(learner, line["logprobs"], strict=True)] if learner else []


def tokenizer_of(folder: RunFolder, groups: list[list[dict[str, Any]]]) -> TokenText | None:
    """The run's tokenizer: of its product, or, before there is one, of the model that it started from.

    One whose tokens do not spell the completions is another model's, and is not used.
    """
    some = [line for group in groups[:8] for line in group[:2] if line.get("token_ids")]
    for path in _tokenizer_files(folder):
        found = token_text.read(path)
        if found and all(found.spells(line["token_ids"], line["completion"]) for line in some):
            return found
    return None


def _tokenizer_files(folder: RunFolder) -> list[Path]:
    paths = [folder.final / "tokenizer.json"]
    if folder.config.is_file():
        model = _model(folder.config, folder.config.stat().st_mtime_ns)
        if model:
            paths.append(Path(model) / "tokenizer.json")
    return paths + sorted((cache_root() / "tiny-base").glob("*/final/tokenizer.json"))


@lru_cache(maxsize=16)
def _model(config: Path, changed: int) -> str:
    """The model that a run's config names; read once, not for every step."""
    return str(yaml_file.read(config).get("model") or "")


# What is embedded in a file


def by_interest(steps: list[int]) -> list[int]:
    """Steps in the order in which they are embedded: the newest, the oldest, then midpoints, ever finer."""
    order: dict[int, None] = {}
    if steps:
        order |= {steps[-1]: None, steps[0]: None}
    spans = [(0, len(steps) - 1)]
    while spans:
        following = []
        for low, high in spans:
            middle = (low + high) // 2
            if low < middle < high:
                order[steps[middle]] = None
                following += [(low, middle), (middle, high)]
        spans = following
    return list(order)


def choose(folder: RunFolder, steps: list[int], budget: int) -> list[Block]:
    """Blocks of the newest step and of a spread of the others, together in `budget` bytes, by step. A step whose file
    holds what no run writes is left out: it costs no run its report."""
    chosen: list[Block] = []
    left = budget
    for step in by_interest(steps):
        try:
            made = block(folder, step, limit=left)
        except (*rollout_log.MALFORMED, IsADirectoryError, PermissionError):
            continue
        if chosen and (made.tokens is None or made.size > left):
            break
        chosen.append(made)
        left -= made.size
        if left <= 0:
            break
    return sorted(chosen, key=lambda one: one.step)
