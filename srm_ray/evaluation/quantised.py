"""What an exported model can still do: perplexity on held-out text, accuracy on a task, speed.

held-out documents (ids, mask) -> perplexity; problems -> greedy answers -> rewards.math.grader -> accuracy; tokens/s

Documents and problems are token ids made once, so every row of the table answers the same questions.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from srm_ray.config.export import MeasureConfig
from srm_ray.config.grpo import DataConfig
from srm_ray.data import arithmetic
from srm_ray.data.prompts import held_out_prompts
from srm_ray.data.rendering import assistant, encode_document, render_conversation
from srm_ray.data.tasks import HELD_OUT_SEED
from srm_ray.errors import UserError
from srm_ray.inference.engine import Engine, Sampling
from srm_ray.intervals import Share, wilson
from srm_ray.rl.types import Prompt

SPEED_PROMPT = 32  # tokens in front of those whose speed is measured

Document = tuple[list[int], list[bool]]  # ids [T]; mask [T], True on tokens that count


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked of every row. about_text, about_task: said under the table."""

    documents: tuple[Document, ...]
    problems: tuple[Prompt, ...]
    about_text: str
    about_task: str


@dataclass(frozen=True, slots=True)
class Measured:
    """perplexity: of the counted tokens. accuracy: None where no problems were asked. tokens_per_second: of one
    sequence, generated one token at a time."""

    perplexity: float
    accuracy: Share | None
    tokens_per_second: float


def make_questions(config: MeasureConfig, tokenizer: Any, context: int) -> Questions:
    """Raises `UserError` where a file is missing or holds nothing."""
    documents = text_documents(config, tokenizer, context) if config.text else sum_documents(config, tokenizer)
    limit = max(1, context - min(config.max_new_tokens, context // 2))
    problems: list[Prompt] = []
    if config.problems:
        problems = held_out_prompts(DataConfig(eval_path=config.path), tokenizer, count=config.problems, limit=limit)
    counted = sum(sum(mask[1:]) for _, mask in documents)
    about_text = config.text or "held-out generated sums with their reasoning, assistant's tokens"
    about_task = config.path or "held-out generated sums"
    return Questions(
        tuple(documents),
        tuple(problems),
        f"{about_text} ({counted:,} tokens)",
        f"{about_task} ({len(problems)} problems, greedy, up to {config.max_new_tokens} tokens)",
    )


def text_documents(config: MeasureConfig, tokenizer: Any, context: int) -> list[Document]:
    """Windows of at most 512 tokens, or the context, of every document, until enough."""
    from srm_ray.data.texts import path_texts

    window, left, found = min(512, context), config.tokens, []
    for text in path_texts(config.text):
        ids = encode_document(tokenizer, text)
        for start in range(0, len(ids), window):
            piece = ids[start : start + min(window, left)]
            if len(piece) < 2:
                break
            found.append((piece, [True] * len(piece)))
            left -= len(piece)
    if not found:
        raise UserError(f"--measure.text {config.text}: no text in it")
    return found


def sum_documents(config: MeasureConfig, tokenizer: Any) -> list[Document]:
    """Held-out sums with their reasoning as conversations; loss on the assistant's tokens."""
    found: list[Document] = []
    total = 0
    for problem in arithmetic.problems(HELD_OUT_SEED, max(1, config.tokens // 16), "held_out"):
        content = f"<think>\n{problem.reasoning}\n</think>\n{arithmetic.answer_text(problem.answer)}"
        ids, mask = render_conversation(tokenizer, [{"role": "user", "content": problem.question}, assistant(content)])
        if total + len(ids) > config.tokens:
            break
        total += len(ids)
        found.append((ids, mask))
    return found


def measure(
    engine: Engine, questions: Questions, config: MeasureConfig, *, seed: int, done: Callable[[], object] = lambda: None
) -> Measured:
    """done: called after each document and each problem."""
    return Measured(
        perplexity=perplexity(engine, questions.documents, done),
        accuracy=accuracy(engine, questions.problems, config.max_new_tokens, done) if questions.problems else None,
        tokens_per_second=speed(engine, questions.documents[0][0][:SPEED_PROMPT], config.speed_tokens, seed=seed),
    )


def perplexity(engine: Engine, documents: Sequence[Document], done: Callable[[], object]) -> float:
    """exp of the mean negative log-likelihood of the tokens that count."""
    import numpy as np

    total, count = 0.0, 0
    for ids, mask in documents:
        logits_TV = np.asarray(engine.logits(ids)[:-1], np.float64)
        top_T1 = logits_TV.max(-1, keepdims=True)
        norm_T = np.log(np.exp(logits_TV - top_T1).sum(-1)) + top_T1[:, 0]
        loss_T = norm_T - logits_TV[np.arange(len(ids) - 1), ids[1:]]
        wanted = np.asarray(mask[1:])
        total, count = total + float(loss_T[wanted].sum()), count + int(wanted.sum())
        done()
    return math.exp(total / count)


def accuracy(engine: Engine, problems: Sequence[Prompt], max_new_tokens: int, done: Callable[[], object]) -> Share:
    from rewards.math import grader as grader

    right = 0
    for problem in problems:
        sampling = Sampling(temperature=0.0, max_new_tokens=max_new_tokens)
        room = min(max_new_tokens, engine.context - len(problem.token_ids))
        ids = list(engine.stream(problem.token_ids, sampling))
        text = engine.tokenizer.decode(ids, skip_special_tokens=False)
        # Cut at the limit is never right.
        right += len(ids) < room and grader.score(text, problem.answer or "", problem.text).correct is True
        done()
    return wilson(right, len(problems))


def speed(engine: Engine, prompt_ids: Sequence[int], tokens: int, *, seed: int) -> float:
    """Median tokens/s of three, after the first of each, which reads the prompt."""
    rates = []
    for _ in range(3):
        stream = engine.stream(prompt_ids, Sampling(1.0, tokens, seed, ignore_stop=True))
        next(stream)
        began = time.perf_counter()
        count = sum(1 for _ in stream)
        rates.append(count / (time.perf_counter() - began))
    return sorted(rates)[1]


def context_for(questions: Questions, config: MeasureConfig, longest: int) -> int:
    """Tokens of context that the questions need, at most `longest`, the model's own: the cache and the logits of
    every position take memory."""
    needs = [len(ids) for ids, _ in questions.documents]
    needs += [len(problem.token_ids) + config.max_new_tokens for problem in questions.problems]
    return min(longest, max(*needs, SPEED_PROMPT + config.speed_tokens) + 1)
