"""Models in this process as completers: turns, batches, log-likelihoods against a plain computation."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from srm_ray.evaluation.quantised import counted_spans, perplexity
from srm_ray.inference.completers import ChatCompletion, ContextOverflow, Sampling
from srm_ray.inference.local import BatchedModel, LocalModel
from srm_ray.model import tokenization

MESSAGES = [{"role": "user", "content": "What is 1+2?"}]


class Table:
    """An engine whose logits are a table, and whose answer is the ids that the seed names."""

    about, stop_ids = "table", (3,)

    def __init__(self, folder: Path, context: int = 64) -> None:
        self.tokenizer, self.context = tokenization.load(folder), context
        self.running = 0

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, seed: int = 3407) -> Iterator[int]:
        self.running += 1
        assert self.running == 1, "one request at a time"
        for token in range(min(seed, sampling.max_new_tokens)):
            yield 100 + token
        self.running -= 1

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        return np.random.default_rng(sum(ids)).normal(size=(len(ids), 50)).astype(np.float32)


@pytest.mark.integration
def test_requests_take_turns_and_what_reaches_the_limit_is_cut(tiny_model: Path) -> None:
    model = LocalModel(Table(tiny_model))

    async def ask() -> list[list[ChatCompletion]]:
        return await asyncio.gather(*(model.answer(MESSAGES, (2, 9), Sampling(max_new_tokens=5)) for _ in range(3)))

    for ended, cut in asyncio.run(ask()):
        assert (ended.token_ids, ended.truncated) == ((100, 101), False)
        assert (cut.tokens, cut.truncated) == (5, True)
        assert "1+2" in ended.prompt
    with pytest.raises(ContextOverflow):
        asyncio.run(model.complete(range(64), 0, Sampling()))


@pytest.mark.integration
def test_log_likelihoods_and_perplexity_are_those_of_the_logits(tiny_model: Path) -> None:
    engine = Table(tiny_model)
    model, ids = LocalModel(engine), [5, 7, 11, 13, 17, 19]
    logprobs = torch.log_softmax(torch.tensor(engine.logits(ids), dtype=torch.float64), -1)[:-1]
    of_next = logprobs[range(5), ids[1:]].numpy()
    found = asyncio.run(model.score(ids, 3))
    assert found.logprob == pytest.approx(of_next[2:].sum())
    assert found.greedy == bool((logprobs.argmax(-1)[2:] == torch.tensor(ids[3:])).all())
    whole = asyncio.run(perplexity(model, [(ids, [True] * 6)]))
    assert whole == pytest.approx(np.exp(-of_next.mean()))


def test_tokens_that_count_are_taken_in_runs() -> None:
    assert list(counted_spans([True, True, False, True, True, False])) == [(1, 2), (3, 5)]
    assert list(counted_spans([False, False])) == []


@pytest.mark.integration
def test_requests_that_wait_together_are_one_batch(tiny_model: Path) -> None:
    """Greedy answers do not depend on who else waits; a failure reaches everybody who waits for it."""
    model = BatchedModel(str(tiny_model))
    asked = [[{"role": "user", "content": f"What is {n}+{n * n}?"}] for n in range(6)]
    sampling, calls = Sampling(max_new_tokens=12), []
    forward = model.model.forward

    def counting(*args, **kwargs):
        calls.append(len(kwargs["input_ids"]))
        return forward(*args, **kwargs)

    async def one(messages) -> ChatCompletion:
        (made,) = await model.answer(messages, (0,), sampling)
        return made

    async def together() -> list[ChatCompletion]:
        return await asyncio.gather(*map(one, asked))

    model.model.forward = counting
    batched = asyncio.run(together())
    assert set(calls) == {6} and len(calls) <= 12
    assert [asyncio.run(one(messages)) for messages in asked] == batched

    def broken(*args, **kwargs):
        raise RuntimeError("out of memory")

    model.model.forward = broken
    with pytest.raises(RuntimeError, match="out of memory"):
        asyncio.run(together())
