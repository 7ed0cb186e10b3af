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


def test_a_teacher_s_scores_are_those_of_transformers_in_any_company(asked, tiny_model) -> None:
    """Of the tokens and of the likeliest in their places; the same bits whoever else is being scored."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    from actors.teacher.scoring import EngineTeacher
    from srm_ray.rl.types import Group, Prompt
    from tests.rl.random_groups import random_group

    draw = np.random.default_rng(3)
    made = [random_group(draw, n, 5 + n, (1, 17, 9, 30)) for n in range(6)]
    groups = [Group(Prompt(n, one.prompt.token_ids, ""), one.completions) for n, one in enumerate(made)]

    async def scored(together: bool) -> list[Group]:
        import asyncio

        teacher = EngineTeacher(await asked.engines.ready(), top_k=4, own=False)
        if together:
            return list(await asyncio.gather(*map(teacher.score, groups)))
        return [await teacher.score(group) for group in groups]

    found, alone = asked.run(scored(True)), asked.run(scored(False))
    model = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    for group, other in zip(found, alone, strict=True):
        for one, same in zip(group.completions, other.completions, strict=True):
            prompt, ids = list(group.prompt.token_ids), torch.from_numpy(one.token_ids).long()
            with torch.no_grad():
                logits = model(torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1]
            wanted, scores = logits.log_softmax(-1), one.teacher
            assert scores is not None and scores.top_logprobs is not None and scores.top_ids is not None
            assert scores.logprobs == pytest.approx(wanted[torch.arange(len(ids)), ids].numpy(), abs=1e-4)
            assert scores.top_logprobs == pytest.approx(wanted.topk(4).values.numpy(), abs=1e-4)
            top = torch.from_numpy(scores.top_ids).long()
            assert wanted.gather(1, top).numpy() == pytest.approx(scores.top_logprobs, abs=1e-4)
            assert same.teacher is not None and scores.record() == same.teacher.record()


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
            result = await episodes.EpisodeEvaluator(judge, 5, 64).run(suite, prompts, model, file, "1/1", {})
            assert result.score.n == count and result.means["turns"].value <= 3
            return [file.done[index] for index in range(count)]
        finally:
            sessions.close()
            graders.close()

    alone, together = asked.run(play("a", 1)), asked.run(play("b", 6))
    assert alone[0] == together[0] and len(together) == 6
    assert all(line["episode"]["turns"] and line["reason"] for lines in together for line in lines)
