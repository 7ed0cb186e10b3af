"""SentencePiece's own library beside the tokenizer that a file's pieces and scores give."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece

from srm_ray.config.formats import FORMATS
from srm_ray.errors import UserError
from srm_ray.gguf import sentencepiece as pieces
from srm_ray.gguf.reader import open_model_file, write_folder
from srm_ray.gguf.vocabulary import (
    BYTE,
    CONTROL,
    NORMAL,
    UNKNOWN,
    Vocabulary,
    read_vocabulary,
    tokenizer_of,
    vocabulary_of,
)
from srm_ray.gguf.writer import write_gguf
from srm_ray.model import tokenization
from tests import families
from tests.gguf.models import TEXTS, texts

SIZE = 1200
PLAIN = tuple(text for text in (*TEXTS, *tokenization.ROUND_TRIPS) if "\0" not in text and "<|" not in text)


def trained(prefix: bool) -> sentencepiece.SentencePieceProcessor:
    """As Llama's (a space in front) and Gemma's (none): BPE, bytes for what has no piece, nothing normalised."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for text in texts() for line in text.splitlines() if line.strip("\0")]),
        model_writer=model, model_type="bpe", vocab_size=SIZE, byte_fallback=True, add_dummy_prefix=prefix,
        normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.98, minloglevel=2,
        pad_id=3, allow_whitespace_only_pieces=True, split_digits=True,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def vocabulary(model: sentencepiece.SentencePieceProcessor, prefix: bool) -> Vocabulary:
    """What llama.cpp's conversion writes of such a model."""
    ids = range(model.get_piece_size())
    kinds = [UNKNOWN if model.is_unknown(i) else CONTROL if model.is_control(i) else NORMAL for i in ids]
    return Vocabulary(
        tokens=tuple(model.id_to_piece(i) for i in ids),
        types=tuple(BYTE if model.is_byte(i) else kind for i, kind in zip(ids, kinds, strict=True)),
        merges=(),
        eos=model.eos_id(),
        bos=model.bos_id(),
        pad=model.pad_id(),
        unk=model.unk_id(),
        template="",
        pre=pieces.PRE,
        add_bos=True,
        scores=tuple(model.get_score(i) for i in ids),
        space_prefix=prefix,
    )


@pytest.fixture(scope="module", params=[True, False], ids=["prefix", "plain"])
def both(request: pytest.FixtureRequest) -> tuple[sentencepiece.SentencePieceProcessor, Vocabulary]:
    model = trained(request.param)
    return model, vocabulary(model, request.param)


def test_the_same_ids(both: tuple[Any, Vocabulary]) -> None:
    model, found = both
    tokenizer = tokenizer_of(found)
    for text in PLAIN:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        assert ids == model.encode(text), text
        assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer("a")["input_ids"][0] == model.bos_id()


def test_scores_that_are_made_again_give_the_same_ids(both: tuple[Any, Vocabulary]) -> None:
    model, found = both
    again = vocabulary_of(tokenizer_of(found), SIZE)
    assert (again.tokens, again.types, again.space_prefix) == (found.tokens, found.types, found.space_prefix)
    assert (again.add_bos, again.pre, again.merges) == (True, "default", ())
    tokenizer = tokenizer_of(again)
    for text in PLAIN:
        assert tokenizer.encode(text, add_special_tokens=False) == model.encode(text)


def test_bpe_that_no_scores_order_is_refused(both: tuple[Any, Vocabulary]) -> None:
    from tokenizers import Tokenizer

    tokenizer = tokenizer_of(both[1])
    core = json.loads(tokenizer.backend_tokenizer.to_str())
    core["model"]["merges"] = core["model"]["merges"][::2]
    tokenizer._tokenizer = Tokenizer.from_str(json.dumps(core))
    with pytest.raises(UserError, match="not byte-level BPE"):
        vocabulary_of(tokenizer, SIZE)


def test_phi_3s_control_tokens_take_the_white_space_behind_them(both: tuple[Any, Vocabulary]) -> None:
    from dataclasses import replace

    found = replace(both[1], strips=True)
    tokenizer = tokenizer_of(found)
    end, text = found.tokens[found.pad or 0], "a"
    joined = tokenizer(f"{text}{end}\n{text}", add_special_tokens=False)["input_ids"]
    assert joined == tokenizer(f"{text}{end}{text}", add_special_tokens=False)["input_ids"]
    assert vocabulary_of(tokenizer, SIZE).strips


@pytest.mark.parametrize("name", ["gemma3", "llama"])
def test_a_model_with_such_a_tokenizer_comes_back(both: tuple[Any, Vocabulary], tmp_path: Path, name: str) -> None:
    from srm_ray.model.folder import save_weights

    model, found = both
    traits = {"vocab_size": SIZE, "hidden_size": 64, "head_dim": 32}
    if name == "gemma3":
        layers = [*["sliding_attention"] * 5, "full_attention"]
        traits |= {"num_hidden_layers": 6, "layer_types": layers, "query_pre_attn_scalar": 32}
    net = families.build(families.FAMILIES[name](**traits))
    folder = tmp_path / "model"
    save_weights(net, dict(net.named_parameters()), folder)
    tokenization.save(tokenizer_of(found), folder)
    first = write_gguf(folder, tmp_path / "m.gguf", FORMATS["f32"], name="m")
    read = read_vocabulary(first)
    assert read.scores and read.space_prefix == found.space_prefix
    write_folder(open_model_file(first), tmp_path / "made", "float32")
    tokenizer = tokenization.load(tmp_path / "made")
    for text in PLAIN:
        assert tokenizer.encode(text, add_special_tokens=False) == model.encode(text)
    again = write_gguf(tmp_path / "made", tmp_path / "again.gguf", FORMATS["f32"], name="m")
    assert again.read_bytes() == first.read_bytes()


def test_broken_scores_are_refused(both: tuple[Any, Vocabulary]) -> None:
    from dataclasses import replace

    from srm_ray.gguf.vocabulary import wrong_in

    found = both[1]
    assert not wrong_in(found, pieces=True)
    assert "scores" in wrong_in(replace(found, scores=found.scores[:-1]), pieces=True)
    assert "no number" in wrong_in(replace(found, scores=(float(np.nan), *found.scores[1:])), pieces=True)
    short = [place for place, token in enumerate(found.tokens) if token != "<0x41>"]
    tokens, types, scores = (tuple(one[place] for place in short) for one in (found.tokens, found.types, found.scores))
    assert "every byte" in wrong_in(replace(found, tokens=tokens, types=types, scores=scores), pieces=True)
