"""The tokenizer keeps its promises; one that does not is found out."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srm_ray.data import arithmetic
from srm_ray.errors import UserError
from srm_ray.model import tokenization
from srm_ray.model.chat_template import stop_ids


@pytest.fixture(scope="module")
def core() -> Any:
    return tokenization.train(arithmetic.tokenizer_texts(1, 1500), 384)


def test_fixed_ids(core: Any) -> None:
    assert [core.token_to_id(token) for token in tokenization.SPECIALS] == list(range(8))
    assert core.get_vocab_size() == 384


def test_verification_passes(core: Any) -> None:
    assert tokenization.verify(core) == []


def test_digits_stand_alone(core: Any) -> None:
    assert core.encode("142", add_special_tokens=False).tokens == ["1", "4", "2"]
    assert len(core.encode("x1y22", add_special_tokens=False).tokens) == 5


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_round_trip_of_any_text(core: Any, text: str) -> None:
    ids = core.encode(text, add_special_tokens=False).ids
    assert core.decode(ids, skip_special_tokens=False) == text


def test_saved_folder_gives_the_same_ids_and_appends_nothing(core: Any, tmp_path: Path) -> None:
    tokenization.save(tokenization.wrap(core, context=512), tmp_path)
    loaded = tokenization.load(tmp_path)
    assert loaded("What is 12+34?")["input_ids"] == core.encode("What is 12+34?", add_special_tokens=False).ids
    assert loaded.eos_token == "<|im_end|>"
    assert stop_ids(loaded) == (7, 2)
    assert loaded.chat_template == tokenization.CHAT_TEMPLATE


def test_decoding_keeps_think_tags_and_drops_control_tokens(core: Any) -> None:
    wrapped = tokenization.wrap(core)
    assert wrapped.decode([4, 5, 7, 2], skip_special_tokens=True) == "<think></think>"


def test_a_tokenizer_that_joins_digits_fails_verification() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    bad = Tokenizer(models.BPE())
    bad.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    bad.decoder = decoders.ByteLevel()
    bad.train_from_iterator(
        ["142 1234 5678 142 34"] * 50,
        trainers.BpeTrainer(
            vocab_size=384,
            special_tokens=list(tokenization.SPECIALS),
            initial_alphabet=sorted(tokenization.byte_characters().values()),
        ),
    )
    problems = tokenization.verify(bad)
    assert any("more than one digit" in problem for problem in problems)
    assert any("digits joined" in problem for problem in problems)


def test_text_too_small_for_the_vocabulary_is_refused() -> None:
    with pytest.raises(UserError, match="supports only"):
        tokenization.train(["one two three"] * 10, 4096)


@pytest.mark.parametrize(("size", "near"), [(1000, 1024), (100, 384)])
def test_vocabulary_is_a_multiple_of_128(size: int, near: int) -> None:
    with pytest.raises(UserError, match=f"nearest valid value is {near}"):
        tokenization.train(iter(()), size)
