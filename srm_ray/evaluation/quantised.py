"""What an exported model can still do: perplexity on held-out text, accuracy on a task, speed.

held-out documents (ids, mask) --log-likelihoods--> perplexity; prompts --Evaluator--> accuracy; tokens/s

Documents and problems are token ids made once, so every row of the table answers the same questions.
"""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from srm_ray.config.data import DataConfig
from srm_ray.config.export import MeasureConfig
from srm_ray.data import arithmetic
from srm_ray.data.prompts import held_out_prompts
from srm_ray.data.rendering import assistant, encode_document, render_conversation
from srm_ray.data.tasks import HELD_OUT_SEED
from srm_ray.errors import UserError
from srm_ray.evaluation.evaluator import Evaluator
from srm_ray.evaluation.grading import Grader
from srm_ray.inference.completers import LogLikelihoodModel, Sampling
from srm_ray.inference.engine import Engine
from srm_ray.inference.local import LocalModel
from srm_ray.intervals import Share, wilson
from srm_ray.rl.types import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPEED_PROMPT = 32  # tokens in front of those whose speed is measured
REPEATS = 3

Document = tuple[list[int], list[bool]]  # ids [T]; mask [T], True on tokens that count


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked of every row. about_text, about_task: notes under the table."""

    documents: tuple[Document, ...]
    problems: tuple[Prompt, ...]
    about_text: str
    about_task: str


def make_questions(config: MeasureConfig, tokenizer: "PreTrainedTokenizerFast", context: int) -> Questions:
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


def text_documents(config: MeasureConfig, tokenizer: "PreTrainedTokenizerFast", context: int) -> list[Document]:
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


def sum_documents(config: MeasureConfig, tokenizer: "PreTrainedTokenizerFast") -> list[Document]:
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


async def perplexity(
    model: LogLikelihoodModel, documents: Sequence[Document], done: Callable[[], object] = lambda: None
) -> float:
    """exp of the mean negative log-likelihood of the tokens that count. done: called after each document."""
    total, count = 0.0, 0
    for ids, mask in documents:
        for start, end in counted_spans(mask):
            total -= (await model.score(ids[:end], start)).logprob
            count += end - start
        done()
    return math.exp(total / count)


def counted_spans(mask: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """(start, end) of each run of tokens that count. Nothing precedes the first token, so it never counts."""
    start = 1
    for counts, run in itertools.groupby(mask[1:]):
        end = start + sum(1 for _ in run)
        if counts:
            yield start, end
        start = end


async def accuracy(
    engine: Engine,
    grader: Grader,
    questions: Questions,
    config: MeasureConfig,
    done: Callable[[], object] = lambda: None,
) -> Share:
    """Greedy. done: called after each problem."""
    evaluator = Evaluator(grader, Sampling(max_new_tokens=config.max_new_tokens), seed=0)
    samples = await evaluator.prompts(questions.problems, LocalModel(engine), done)
    return wilson(sum(one.verdict.correct is True for (one,) in samples), len(questions.problems))


def speed(
    engine: Engine,
    questions: Questions,
    config: MeasureConfig,
    *,
    seed: int,
    done: Callable[[], object] = lambda: None,
) -> float:
    """Tokens/s of one sequence: the median of `REPEATS`, after the first token of each, which reads the prompt.

    done: called after each token.
    """
    prompt_ids, rates = questions.documents[0][0][:SPEED_PROMPT], []
    for _ in range(REPEATS):
        stream = engine.stream(prompt_ids, Sampling(1.0, config.speed_tokens, ignore_stop=True), seed)
        next(stream)
        done()
        began, count = time.perf_counter(), 0
        for _ in stream:
            count += 1
            done()
        rates.append(count / (time.perf_counter() - began))
    return statistics.median(rates)


def context_for(questions: Questions, config: MeasureConfig, longest: int) -> int:
    """Tokens of context that the questions need, at most `longest`, the model's own: the cache and the logits of
    every position take memory."""
    needs = [len(ids) for ids, _ in questions.documents]
    needs += [len(problem.token_ids) + config.max_new_tokens for problem in questions.problems]
    return min(longest, max(*needs, SPEED_PROMPT + config.speed_tokens) + 1)
