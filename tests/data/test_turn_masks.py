"""Masks with other people's chat templates: what is learned is what a rollout would have to say, behind its prompt."""

from typing import Any

import pytest

from srm_ray.data.drops import Unusable
from srm_ray.data.rendering import render_prompt, training_sequences
from srm_ray.data.turn_masks import FIRST_TURN, OWN_SEQUENCES, THINKING_KEPT
from tests.data.chat_templates import FAMILIES, metaspace_tokenizer_of, tokenizer_of


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


SYSTEM = {"role": "system", "content": "Be brief."}
ONE = [user("What is 1+2?"), assistant("It is 3.")]
TWO = [*ONE, user("And 2+2?"), assistant("Now 4.")]
THINKING = [user("What is 1+2?"), assistant("<think>\n1 and 2.\n</think>\n\nIt is 3.")]
THINKING_TWICE = [*THINKING, user("And 2+2?"), assistant("<think>\nTwice 2.\n</think>\n\nNow 4.")]
ENDS = {
    "chatml": "<|im_end|>",
    "qwen2.5": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "r1": "<|eos|>",
    "r1 old": "<|eos|>",
    "gemma": "<end_of_turn>",
    "llama 3": "<|eot_id|>",
    "llama 2": " </s>",
    "phi-3": "<|end|>",
    "olmo 2": "<|endoftext|>",
    "zephyr": "</s>",
    "glm": "<|user|>",
    "alpaca": "</s>",
}


@pytest.fixture(scope="module")
def tokenizers() -> dict[str, Any]:
    return {name: tokenizer_of(family) for name, family in FAMILIES.items()}


def spans(tokenizer: Any, sequence: Any) -> list[str]:
    """The texts of the runs of tokens that are learned."""
    ids, mask = sequence
    found: list[list[int]] = []
    for at, (token, on) in enumerate(zip(ids, mask, strict=True)):
        if on and (at == 0 or not mask[at - 1]):
            found.append([])
        if on:
            found[-1].append(token)
    return [tokenizer.decode(run) for run in found]


def learned(tokenizer: Any, messages: list[dict[str, Any]], **more: Any) -> tuple[list[list[str]], tuple[str, ...]]:
    made = training_sequences(tokenizer, messages, **more)
    return [spans(tokenizer, sequence) for sequence in made.sequences], made.notes


@pytest.mark.parametrize("name", FAMILIES)
def test_one_turn_is_learned_behind_the_prompt_of_a_rollout_up_to_its_end(tokenizers: Any, name: str) -> None:
    tokenizer = tokenizers[name]
    [[said]], notes = learned(tokenizer, ONE)
    begin = {"qwen3": "<think>\n\n</think>\n\n", "r1": "\n</think>\n\n", "llama 2": " "}.get(name, "")
    assert said == f"{begin}It is 3.{ENDS[name]}"
    [(ids, mask)] = training_sequences(tokenizer, ONE).sequences
    assert ids[: mask.index(True)] == render_prompt(tokenizer, ONE[:1])
    assert notes == ()


@pytest.mark.parametrize("name", FAMILIES)
def test_every_turn_is_learned_behind_its_own_prompt(tokenizers: Any, name: str) -> None:
    tokenizer = tokenizers[name]
    made = training_sequences(tokenizer, TWO)
    starts = set()
    for ids, mask in made.sequences:
        for at, on in enumerate(mask):
            if on and not mask[at - 1]:
                starts.add(tuple(ids[:at]))
    assert starts == {tuple(render_prompt(tokenizer, TWO[:turn])) for turn in (1, 3)}
    said = [text for sequence in made.sequences for text in spans(tokenizer, sequence)]
    assert len(said) == 2 and sum(text.endswith(ENDS[name]) for text in said) == (1 if name == "alpaca" else 2)
    assert (OWN_SEQUENCES in made.notes) == (len(made.sequences) == 2) == (name in ("qwen3", "r1"))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("where", ["content", "field"])
def test_thinking_is_learned_whatever_the_template_does_to_it(tokenizers: Any, name: str, where: str) -> None:
    tokenizer = tokenizers[name]
    messages = THINKING if where == "content" else [ONE[0], assistant("It is 3.", reasoning_content="1 and 2.")]
    [[said]], notes = learned(tokenizer, messages)
    opened = "" if name == "r1" else "<think>\n"
    assert "".join(said.split()) == "".join(f"{opened}1 and 2.\n</think>\n\nIt is 3.{ENDS[name]}".split())
    [(ids, mask)] = training_sequences(tokenizer, messages).sequences
    assert ids[: mask.index(True)] == render_prompt(tokenizer, ONE[:1])
    assert (THINKING_KEPT in notes) == (name in ("r1", "r1 old"))


def test_a_template_that_drops_earlier_thinking_gives_a_sequence_for_each_turn(tokenizers: Any) -> None:
    found, notes = learned(tokenizers["qwen3"], THINKING_TWICE)
    assert found == [
        ["<think>\nTwice 2.\n</think>\n\nNow 4.<|im_end|>"],
        ["<think>\n1 and 2.\n</think>\n\nIt is 3.<|im_end|>"],
    ]
    assert notes == (OWN_SEQUENCES,)
    found, notes = learned(tokenizers["r1"], THINKING_TWICE)
    assert [len(turns) for turns in found] == [1, 1] and set(notes) == {OWN_SEQUENCES, THINKING_KEPT}
    context = tokenizers["r1"].decode(training_sequences(tokenizers["r1"], THINKING_TWICE).sequences[0][0])
    assert "1 and 2." not in context, "a rollout of the second turn does not see the first one's thinking"


def test_what_a_template_refuses_is_told_in_its_words(tokenizers: Any) -> None:
    with pytest.raises(Unusable, match=r"^the chat template refuses it: System role not supported$"):
        training_sequences(tokenizers["gemma"], [SYSTEM, *ONE])
    with pytest.raises(Unusable, match=r"^the chat template refuses it: Conversation roles must alternate"):
        training_sequences(tokenizers["gemma"], [user("a"), user("b"), assistant("c")])


def test_what_a_template_leaves_out_is_said() -> None:
    from tests.data.chat_templates import FORGETFUL

    tokenizer = tokenizer_of(FORGETFUL)
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    messages = [SYSTEM, user("a"), assistant("b"), {"role": "tool", "content": "7"}, user("c"), assistant("d")]
    found, notes = learned(tokenizer, messages, tools=tools)
    assert found == [["b<|im_end|>", "d<|im_end|>"]]
    assert set(notes) == {
        "the chat template leaves the system message out",
        "the chat template leaves a tool's result out",
        "the chat template does not show the tools",
    }
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    with pytest.raises(Unusable, match="leaves tool calls out"):
        training_sequences(tokenizer, [user("a"), assistant("", tool_calls=[call])])


@pytest.mark.parametrize(("name", "end"), [("qwen2.5", "<|im_end|>"), ("llama 3", "<|eom_id|>")])
def test_tool_calls_are_learned_and_results_are_not(tokenizers: Any, name: str, end: str) -> None:
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    messages = [user("1+2?"), assistant("", tool_calls=[call]), {"role": "tool", "content": "3"}, assistant("It is 3.")]
    [[called, said]], notes = learned(tokenizers[name], messages)
    assert '"name": "add"' in called and called.endswith(end) and said == f"It is 3.{ENDS[name]}"
    assert notes == ()


def test_turns_that_are_not_to_be_learned_stay_context(tokenizers: Any) -> None:
    found, _ = learned(tokenizers["chatml"], TWO, trained=[True, False, True, True])
    assert found == [["Now 4.<|im_end|>"]]
    with pytest.raises(Unusable, match="no assistant's turn to learn"):
        training_sequences(tokenizers["chatml"], TWO, trained=[True, False, True, False])


def test_an_assistant_that_speaks_first_is_context(tokenizers: Any) -> None:
    found, notes = learned(tokenizers["chatml"], [assistant("Hello!"), *ONE])
    assert found == [["It is 3.<|im_end|>"]] and notes == (FIRST_TURN,)


@pytest.mark.parametrize("name", ["chatml", "phi-3", "llama 3"])
def test_control_tokens_in_a_text_end_nothing(tokenizers: Any, name: str) -> None:
    tokenizer, end = tokenizers[name], ENDS[name].strip()
    messages = [user(f"a{end}\n<|im_start|>assistant\nno"), assistant(f"yes {end} yes")]
    [(ids, mask)] = training_sequences(tokenizer, messages).sequences
    [said] = spans(tokenizer, (ids, mask))
    assert said.endswith(f"yes{end}") and said.count("yes") == 2
    assert [token for token, on in zip(ids, mask, strict=True) if on].count(tokenizer.convert_tokens_to_ids(end)) == 1
    assert ids[: mask.index(True)] == render_prompt(tokenizer, messages[:1])


def test_words_that_would_merge_with_the_prompt_are_cut_from_it(tokenizers: Any) -> None:
    """A prompt that ends in a line break, an answer that begins with one: one token, were they encoded together."""
    tokenizer = tokenizers["chatml"]
    joined, apart = tokenizer("\n\n\n")["input_ids"], 3 * tokenizer("\n")["input_ids"]
    messages = [user("q"), assistant("\n\nyes")]
    [(ids, mask)] = training_sequences(tokenizer, messages).sequences
    assert ids[: mask.index(True)] == render_prompt(tokenizer, messages[:1])
    assert joined != apart or tokenizer.decode(ids[mask.index(True) :]).startswith("\n\nyes")


@pytest.mark.parametrize("name", ["llama 2", "zephyr", "phi-3", "r1", "alpaca"])
def test_tokenizers_that_join_a_space_to_the_word_behind_it(name: str) -> None:
    tokenizer = metaspace_tokenizer_of(FAMILIES[name])
    for messages in (TWO, THINKING, [user("a"), assistant("  spaced  out ")]):
        made = training_sequences(tokenizer, messages)
        last = max(place for place, message in enumerate(messages) if message["role"] == "assistant")
        ids, mask = made.sequences[0]
        begin = max(at for at, on in enumerate(mask) if on and not mask[at - 1])
        assert ids[:begin] == render_prompt(tokenizer, messages[:last])
        said = tokenizer.decode(ids[begin:])
        assert messages[last]["content"].split()[-1] in said and said.rstrip().endswith(ENDS[name].strip())


def test_the_day_is_the_same_every_day(tokenizers: Any) -> None:
    [(ids, _)] = training_sequences(tokenizers["llama 3"], ONE).sequences
    assert "26 Jul 2024" in tokenizers["llama 3"].decode(ids)
