"""What the engines tell an evaluation: log-likelihoods as transformers has them, room in the context."""

import pytest

from srm_ray.inference.completers import ContextOverflow, Sampling

pytestmark = pytest.mark.integration


def test_log_likelihoods_are_those_of_transformers(asked, tiny_model) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    ids = asked.info.tokenizer.encode("What is 12+34+56? It is 102.")
    with torch.no_grad():
        logprobs = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    for start in (1, 5, len(ids) - 1):
        scored = asked.run(asked.completer.score(ids, start))
        places = range(start, len(ids))
        assert scored.logprob == pytest.approx(sum(logprobs[at - 1, ids[at]].item() for at in places), abs=1e-3)
        assert scored.greedy == all(logprobs[at - 1].argmax().item() == ids[at] for at in places)


def test_a_greedy_continuation_is_scored_greedy(asked) -> None:
    ids = tuple(asked.info.tokenizer.encode("What is 12+34+56?"))
    said = asked.run(asked.completer.complete(ids, 0, Sampling(max_new_tokens=6)))
    assert asked.run(asked.completer.score(ids + said.token_ids, len(ids))).greedy


def test_new_tokens_end_with_the_context(asked) -> None:
    ids = (7,) * (asked.completer.context - 3)
    said = asked.run(asked.completer.complete(ids, 0, Sampling(max_new_tokens=50)))
    assert said.tokens <= 3
    with pytest.raises(ContextOverflow):
        asked.run(asked.completer.complete((7,) * asked.completer.context, 0, Sampling()))
