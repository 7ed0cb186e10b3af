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


def test_a_model_s_engines_play(asked, tmp_path) -> None:
    """The same episodes whoever else is under way; what is played is kept, and shown turn by turn."""
    from actors.environment import measuring
    from rewards.dispatch import Graders
    from srm_ray.config.command_line import build
    from srm_ray.config.evaluate import EvaluateConfig
    from srm_ray.evaluation import episodes
    from srm_ray.evaluation.samples import SampleFile
    from srm_ray.inference.completers import Subject

    tasks = ["environment:tests.environments.samples:Luck"]
    options = {"max_turn_tokens": 12}
    config = build(EvaluateConfig, {"model": "m", "tasks": tasks, "environment": options, "limit": 6})
    sampling, suite = Sampling(1.0, 80), episodes.suite_of(config.environment.name, ())

    async def play(folder: str, count: int) -> list:
        problems = await measuring.problems_of(config.model_copy(update={"limit": count}))
        sessions = await measuring.opened_sessions(problems.config)
        graders = Graders(1)
        try:
            subject = Subject(asked.completer)
            model, prompts = measuring.engine_player(problems, sessions, subject, asked.info, sampling, 512)
            file = SampleFile(tmp_path / folder / "Luck.jsonl", 2)
            judge = episodes.Judge(graders, problems.contract.rewards, 0.0)
            options = {"file": file, "settings": {}, "seed": 5, "position": "1/1", "in_flight": 64}
            result = await episodes.run(suite, prompts, model, judge, **options)
            assert result.score.n == count and result.means["turns"].value <= 3
            return [file.done[index] for index in range(count)]
        finally:
            sessions.close()
            graders.close()

    alone, together = asked.run(play("a", 1)), asked.run(play("b", 6))
    assert alone[0] == together[0] and len(together) == 6
    assert all(line["episode"]["turns"] and line["reason"] for lines in together for line in lines)
