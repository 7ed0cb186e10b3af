"""Rewards that the built-in graders do not give: a function of one's own, a judge, a reward model."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.reward.spec import RewardSpec, check
from actors.reward.worker import RewardWorker
from rewards.sandbox.processes import Failure
from rewards.user import Own
from srm_ray.errors import UserError
from srm_ray.rl.step_metrics import agreement
from srm_ray.rl.types import Group
from tests.actors.graded_groups import CHAT, OWN, boxed, completion, group, prompt, score

# A user's own reward, weights


@pytest.mark.integration
def test_several_rewards_with_weights() -> None:
    weights = {"math": 2.0, "format": 0.5, "length": 1.0, "function": 0.25}
    spec = RewardSpec(weights=weights, l_max=100, l_cache=50, function=f"{OWN}:length_of_answer")
    worker = RewardWorker(spec)
    try:
        texts = Group(prompt(answer="5"), (completion(boxed("5"), tokens=75), completion(boxed("6")), completion("a")))
        rewards = score(worker, texts)[0]
    finally:
        worker.close()
    assert rewards[0].parts == {"format": 1.0, "length": -0.5, "function": 1.0}  # the function grades, nothing else
    assert [r.value for r in rewards] == pytest.approx([0.25, 0.75, 0.025])
    assert [r.correct for r in rewards] == [True, True, True]


@pytest.mark.integration
def test_a_function_alone_decides_correctness() -> None:
    worker = RewardWorker(RewardSpec(weights={"format": 0.1}, function=f"{OWN}:moods", function_timeout=1.0))
    try:
        rewards = score(worker, group(["fine", "hang", "sleep", "raise", "nan", "exit", "fine"]))[0]
    finally:
        worker.close()
    assert [r.reason for r in rewards] == [
        "correct",
        "timeout",
        "timeout",
        "grader_error",
        "grader_error",
        "worker_died",
        "correct",
    ]
    assert [r.correct for r in rewards] == [True, None, None, None, None, None, True]
    assert [r.value for r in rewards] == [0.5, 0, 0, 0, 0, 0, 0.5]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("nonsense", "package.module:function"),
        ("no.such.module:f", "No module named"),
        (f"{OWN}:missing", "missing"),
        (f"{OWN}:two", "it must be callable as reward"),
        (f"{OWN}:wrong_parameter", "completion"),
        (f"{OWN}:answer_never_missing", "answer"),
        (f"{OWN}:wrong_result", "float is needed"),
        (f"{OWN}:not_a_function", "not a function"),
    ],
)
def test_a_function_that_cannot_be_used_is_refused_at_start_up(function: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        check(RewardSpec(function=function))
    assert "\n" not in str(error.value) and "--reward" in str(error.value)


@pytest.mark.integration
def test_functions_that_can_be_used() -> None:
    for name in ("length_of_answer", "unannotated", "coroutine", "whole_group", "pair", "says_itself", "columns"):
        check(RewardSpec(function=f"{OWN}:{name}"))


ROW = {"difficulty": 3, "nested": {"a": [1]}}


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "threshold", "expected"),
    [
        ("coroutine", 0.0, [(0.25, True, "correct"), (0.25, True, "correct"), (0.25, False, "truncated")]),
        ("coroutine", 0.25, [(0.25, False, "wrong"), (0.25, False, "wrong"), (0.25, False, "truncated")]),
        ("says_itself", 0.9, [(1.0, True, "correct"), (0.0, False, "wrong"), (1.0, True, "correct")]),
        ("pair", 0.0, [(0.1, True, "correct"), (0.0, None, "undecided"), (0.1, False, "wrong")]),
        ("columns", 0.0, [(1.0, True, "correct"), (1.0, True, "correct"), (1.0, False, "truncated")]),
        ("column_with_a_default", 0.0, [(0.3, True, "correct"), (0.3, True, "correct"), (0.3, False, "truncated")]),
        ("whole_group", 0.0, [(1.0, True, "correct"), (0.0, False, "wrong"), (1.0, False, "truncated")]),
        ("group_one_short", 0.0, [(0.0, None, "grader_error")] * 3),
    ],
)
def test_forms_of_a_function_of_ones_own(name: str, threshold: float, expected: list[tuple[Any, ...]]) -> None:
    """A gold answer is there, and the built-in grader has no say."""
    worker = RewardWorker(RewardSpec(weights={}, function=f"{OWN}:{name}", threshold=threshold))
    ended = (completion("right"), completion("none"), completion("right", finish="length"))
    try:
        (found,) = score(worker, Group(replace(prompt(answer="5"), row=ROW), ended))
    finally:
        worker.close()
    assert [(r.value, r.correct, r.reason) for r in found] == expected
    assert not {"math", "code"} & {part for r in found for part in r.parts}


@pytest.mark.integration
def test_a_function_can_call_the_graders() -> None:
    worker = RewardWorker(RewardSpec(weights={}, function=f"{OWN}:calls_the_graders", function_timeout=60.0))
    try:
        (found,) = score(worker, group([boxed(r"\frac{10}{2}"), boxed("6")], answer="5"))
    finally:
        worker.close()
    assert [(r.value, r.correct) for r in found] == [(0.5, True), (0.0, False)]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        ("columns", {"hard": 1}, "wants the column 'difficulty'; the first rows have hard"),
        ("columns", None, "wants the column 'difficulty'; the first rows have none"),
        ("columns", {"difficulty": 3}, "raised KeyError: 'nested'"),
        ("raises", {}, "called with '' and the answer '5': it raised ValueError: could not convert string to float"),
        ("group_one_short", {}, "not a list of 2 results"),
        ("moods", {}, ""),
    ],
)
def test_a_function_is_tried_on_the_first_rows(name: str, row: dict[str, Any] | None, says: str) -> None:
    spec = RewardSpec(function=f"{OWN}:{name}")
    prompts = [replace(prompt(answer="5"), row=row)]
    if not says:
        return check(spec, prompts)
    with pytest.raises(UserError, match=re.escape(says)) as error:
        check(spec, prompts)
    assert "\n" not in str(error.value) and str(error.value).startswith(f"--reward {OWN}:{name}")


# A judge, a reward model


@pytest.mark.integration
def test_a_judge_s_verdicts_take_the_way_of_a_function_s() -> None:
    """Null, a bool, a number against the threshold; a share of them is decided by the graders, too, at no weight."""
    spec = RewardSpec(weights={"judge": 0.5}, judged=True, threshold=0.6, check_share=1.0)
    worker = RewardWorker(spec)
    said = [Own(1.0, True), Own(0.5, None), Own(0.75, None), Failure("judge_failed"), Own(0.0, False)]
    try:
        asked = group([boxed("4"), boxed("4"), boxed("5"), boxed("4"), "a</think>none"], answer="4")
        found = asyncio.run(worker.score(asked, said))
        ungraded = asyncio.run(worker.score(group([boxed("4")]), said[:1]))
    finally:
        worker.close()
    assert [(one.value, one.correct, one.reason) for one in found] == [
        (0.5, True, "correct"), (0.25, False, "wrong"), (0.375, True, "correct"), (0.0, None, "judge_failed"),
        (0.0, False, "wrong"),
    ]  # fmt: skip
    assert [one.parts.get("verified") for one in found] == [1.0, 1.0, 0.0, None, 0.0]
    assert agreement(found) == {"judge/agreement": 0.5} and agreement(ungraded) == {}


@pytest.mark.integration
def test_a_reward_model_s_logit_is_the_reward(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Qwen3Config(
        vocab_size=len(tokenizer), head_dim=16, num_key_value_heads=1, num_labels=1,
        pad_token_id=tokenizer.pad_token_id, **shape,
    )  # fmt: skip
    model = Qwen3ForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    texts = ["a</think>4", "a longer one, with more to read</think>5"]
    spec = RewardSpec(weights={"model": 2.0}, model=str(tmp_path), function_timeout=120.0)
    check(spec, [prompt(answer="4")])
    worker = RewardWorker(spec)
    try:
        found = score(worker, group(texts, answer="4"))[0]
    finally:
        worker.close()
    for reward, text in zip(found, texts, strict=True):
        ids = tokenizer(CHAT + text, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            logit = float(model(**ids).logits[0, 0])
        assert reward.parts["model"] == pytest.approx(logit, abs=1e-4) and reward.value == 2 * reward.parts["model"]
        assert reward.correct is (logit > 0)
    with pytest.raises(UserError, match=r"--reward.model .*(No such|not a|Incorrect|cannot|raised)"):
        check(RewardSpec(model=str(tmp_path / "none")), [prompt(answer="4")])


# Before a run


@pytest.mark.integration
def test_inspect_tries_the_reward_and_says_what_it_alone_gets(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from srm_ray import filter as filter_command
    from srm_ray import grpo

    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"problem": "{n}+1?", "answer": "{n + 1}", "level": "{n}"}}\n' for n in range(5)))
    argv = ["--model", str(tiny_model), "--data.path", str(path), "--run_dir", str(tmp_path / "run"), "--inspect", "1"]
    for command in (grpo, filter_command):
        assert command.main([*argv, "--reward", f"{OWN}:length_of_answer"]) == 0
        said = capsys.readouterr().out
        assert "not in the prompts: level" in said and "not used" not in said
        assert f"{OWN}:length_of_answer grades the first 4 rows" in said
        assert command.main([*argv, "--reward", f"{OWN}:nothing_of_that_name"]) == 2
        assert "nothing_of_that_name" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
