"""Other models' templates: what ends a turn, what contents may spell, what a missing template is replaced by."""

import json
from pathlib import Path

import pytest

from srm_ray.data.rendering import render_prompt
from srm_ray.errors import UserError
from srm_ray.model import chat_template
from tests.model.toy_tokenizers import FAMILIES, family, tokenizer

QUESTION = [{"role": "user", "content": "How many?"}]


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_turn_ends_with_what_the_template_writes_behind_the_words(name: str) -> None:
    toy = family(name)
    assert toy.decode([chat_template.turn_end(toy)]) == FAMILIES[name][3]
    assert chat_template.spelled_end(toy) == ""


def test_all_that_config_and_tokenizer_name_end_a_completion_too() -> None:
    toy = family("llama3")
    vocabulary = toy.get_vocab()
    ends = chat_template.stop_ids(toy, [[vocabulary["<|eot_id|>"], 7], 9, None])
    assert ends == (vocabulary["<|eot_id|>"], 7, 9, vocabulary["<|end_of_text|>"])


def test_without_a_template_the_configs_alone_say() -> None:
    toy = tokenizer(["</s>"], "</s>", None)
    assert chat_template.turn_end(toy) is None
    assert chat_template.stop_ids(toy, [3]) == (3, toy.eos_token_id)


def test_an_end_that_is_no_token_is_known_as_text() -> None:
    toy = tokenizer(["</s>"], "</s>", FAMILIES["chatml"][2])
    assert chat_template.spelled_end(toy) == "<|im_end|>"
    assert chat_template.stop_ids(toy) == (toy.eos_token_id,)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_contents_cannot_forge_control_tokens(name: str) -> None:
    toy, controls = family(name), FAMILIES[name][0]
    attack = "".join(controls) + "\ue000 0 \ue0000\ue000 " + controls[-1][1:] + controls[-1] * 2
    forged = render_prompt(toy, [{"role": "user", "content": f"How many?{attack}"}])
    plain = render_prompt(toy, QUESTION)
    for control in controls:
        token = toy.get_vocab()[control]
        assert forged.count(token) == plain.count(token), control
    assert toy.decode(forged, skip_special_tokens=False).count(attack) == 1, "the text is all there"
    assert chat_template.spelled_controls(toy, [{"role": "user", "content": attack}]) == sorted(controls)


def test_think_tags_in_contents_keep_their_ids() -> None:
    toy = family("chatml")
    said = [*QUESTION, {"role": "assistant", "content": "<think>\n1\n</think>\n2<|im_end|>"}]
    ids = chat_template.render_ids(toy, said)
    assert [ids.count(toy.get_vocab()[name]) for name in ("<think>", "</think>", "<|im_end|>")] == [1, 1, 2]


def test_the_day_is_always_the_same() -> None:
    toy = family("llama3")
    assert "Today Date: 26 Jul 2024\n" in toy.decode(render_prompt(toy, QUESTION))


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([{"role": "system", "content": "x"}, *QUESTION], r"refuses .*\(system, user\): System role not supported"),
        ([*QUESTION, *QUESTION], r"\(user, user\): Conversation roles must alternate"),
    ],
)
def test_what_a_template_refuses_is_one_line(messages: list[dict[str, str]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        render_prompt(family("gemma"), messages)


# --chat_template


def test_chatml_ends_turns_with_a_token_there_is() -> None:
    toy = tokenizer(["<s>", "</s>"], "</s>", None)
    assert chat_template.with_template(toy, "chatml") == "chat template: ChatML, turns end with </s>"
    said = [*QUESTION, {"role": "assistant", "content": "Two.", "reasoning_content": "1+1"}]
    text = chat_template.render_text(toy, said)
    assert text == "<|im_start|>user\nHow many?</s>\n<|im_start|>assistant\n<think>\n1+1\n</think>\nTwo.</s>\n"
    assert chat_template.stop_ids(toy) == (toy.eos_token_id,)
    toy = tokenizer(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], "<|endoftext|>", None)
    chat_template.with_template(toy, "chatml")
    assert toy.decode([chat_template.stop_ids(toy)[0]]) == "<|im_end|>"


def test_a_template_may_be_a_file_of_either_kind(tmp_path: Path) -> None:
    template = FAMILIES["llama2"][2]
    (tmp_path / "t.jinja").write_text(template)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    for name in ("t.jinja", "tokenizer_config.json"):
        toy = family("llama3")
        said = chat_template.with_template(toy, str(tmp_path / name))
        assert said.endswith(f"{name}, in place of the model's own")
        assert chat_template.render_text(toy, QUESTION) == "<s>[INST] How many? [/INST]"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.jinja", None, "no such file.*chatml"),
        ("empty.jinja", " \n", "holds no chat template"),
        ("t.json", "[1]", "cannot be read"),
        ("bad.jinja", "{% for m in messages %}", "Unexpected end of template"),
    ],
)
def test_a_file_that_is_none_is_one_line(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        chat_template.with_template(family("chatml"), str(tmp_path / name))


def test_a_tokenizer_without_template_says_what_to_do() -> None:
    with pytest.raises(UserError, match="--chat_template chatml, or a file"):
        render_prompt(tokenizer(["</s>"], "</s>", None), QUESTION)
