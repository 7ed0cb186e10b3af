"""llama.cpp itself on exported files: the same ids, the same logits, the same greedy text."""

import importlib.util
import unicodedata
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import tokenizers
from tokenizers import Tokenizer, decoders, models, trainers
from transformers import PreTrainedTokenizerFast

from srm_ray.config.formats import FORMATS
from srm_ray.data.rendering import render_prompt
from srm_ray.gguf import pre_tokenizers
from srm_ray.gguf.architecture import read_architecture
from srm_ray.gguf.formats import tensor_type, weight_bytes
from srm_ray.gguf.quantiser import load_llama_cpp
from srm_ray.gguf.reader import open_model_file, write_folder
from srm_ray.gguf.vocabulary import read_vocabulary, tokenizer_of
from srm_ray.gguf.writer import write_gguf
from srm_ray.inference.completers import Sampling
from srm_ray.inference.engine import open_engine
from srm_ray.model import tokenization
from tests import families
from tests.gguf.models import TEXTS, encoded, texts

if importlib.util.find_spec("llama_cpp") is None:
    pytest.skip("LLAMA.CPP IS NOT INSTALLED, PARITY IS NOT TESTED (make llamacpp)", allow_module_level=True)

from srm_ray.inference.llama_cpp_engine import LlamaCppEngine


@pytest.fixture(scope="module")
def exact(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> LlamaCppEngine:
    """F32 weights and F32 cache."""
    path = write_gguf(random_model, tmp_path_factory.mktemp("exact") / "m.gguf", FORMATS["f32"])
    return LlamaCppEngine(path, threads=1, every_logit=True, cache="f32")


def llama_ids(llama: Any, text: str) -> list[int]:
    return list(llama.tokenize(text.encode(), add_bos=False, special=True)) if text else []


@pytest.mark.parametrize("text", TEXTS)
def test_token_ids(exact: LlamaCppEngine, random_model: Path, text: str) -> None:
    text, wanted = encoded(tokenization.load(random_model), text)
    assert llama_ids(exact.llama, text) == wanted


def test_token_ids_of_every_block_of_unicode(exact: LlamaCppEngine, random_model: Path) -> None:
    tokenizer = tokenization.load(random_model)
    for text, wanted in (encoded(tokenizer, text) for text in tokenization.round_trip_texts()):
        assert llama_ids(exact.llama, text) == wanted, hex(ord(text[0]))


def test_control_tokens_in_a_message_are_text(exact: LlamaCppEngine) -> None:
    text = "<|im_start|>"
    plain = list(exact.llama.tokenize(text.encode(), add_bos=False, special=False))
    assert tokenization.ID_OF["<|im_start|>"] not in plain
    assert exact.llama.detokenize(plain).decode() == text


def test_logits(exact: LlamaCppEngine, random_model: Path) -> None:
    ids = np.random.default_rng(1).integers(8, 600, 200).tolist()
    wanted, got = open_engine(str(random_model), threads=1).logits(ids), exact.logits(ids)
    assert wanted.shape == got.shape
    assert wanted.std() > 0.5, "the logits say something"
    # llama.cpp looks Gemma's GELU up in a table of half precision.
    assert np.abs(wanted - got).max() < (1e-2 if random_model.parent.name.startswith("gemma") else 1e-4)


def test_greedy_continuation(exact: LlamaCppEngine, random_model: Path) -> None:
    engine = open_engine(str(random_model), threads=1)
    for question in ("What is 47+36+29?", "一加一是多少？", "Write a poem about the sea."):
        messages = [{"role": "user", "content": question}]
        prompt = render_prompt(engine.tokenizer, messages)
        assert render_prompt(exact.tokenizer, messages) == prompt
        sampling = Sampling(temperature=0.0, max_new_tokens=60, ignore_stop=True)
        assert list(exact.stream(prompt, sampling)) == list(engine.stream(prompt, sampling))


def test_a_trained_model_says_the_same(trained_model: Path, tmp_path: Path) -> None:
    """F32, and the model's own stop token; llama.cpp's chat code renders the file's template to the same answer."""
    engine = open_engine(str(trained_model), threads=1)
    path = write_gguf(trained_model, tmp_path / "m.gguf", FORMATS["f32"])
    ours = LlamaCppEngine(path, threads=1, every_logit=True, cache="f32")
    for first in range(20, 30):
        messages = [{"role": "user", "content": f"What is {first}+36+29?"}]
        prompt = render_prompt(engine.tokenizer, messages)
        wanted = list(engine.stream(prompt, Sampling(0.0, 80)))
        assert list(ours.stream(prompt, Sampling(0.0, 80))) == wanted
        reply = ours.llama.create_chat_completion(messages, temperature=0.0, max_tokens=80)["choices"][0]
        assert reply["message"]["content"] == engine.tokenizer.decode(wanted)
        assert reply["finish_reason"] == "stop"
    ids = prompt + wanted
    assert np.abs(engine.logits(ids) - ours.logits(ids)).max() < 1e-4


def test_an_imported_file_is_what_llama_cpp_reads_in_it(exact: LlamaCppEngine, tmp_path: Path) -> None:
    """Ids of every text, logits and greedy text of a Hugging Face folder made of the file that llama.cpp has open."""
    write_folder(open_model_file(Path(exact.llama.model_path)), tmp_path / "made", "float32")
    made = open_engine(str(tmp_path / "made"), threads=1, dtype="float32")
    for text, wanted in (encoded(made.tokenizer, text) for text in (*TEXTS, *tokenization.round_trip_texts())):
        assert llama_ids(exact.llama, text) == wanted, text[:40]
    ids = np.random.default_rng(3).integers(8, 600, 200).tolist()
    limit = 1e-2 if made.model.config.model_type.startswith("gemma") else 1e-4
    assert np.abs(made.logits(ids) - exact.logits(ids)).max() < limit
    prompt = render_prompt(made.tokenizer, [{"role": "user", "content": "What is 47+36+29?"}])
    sampling = Sampling(temperature=0.0, max_new_tokens=40, ignore_stop=True)
    assert list(exact.stream(prompt, sampling)) == list(made.stream(prompt, sampling))


@pytest.mark.parametrize("name", ["bf16", "q8_0", "q4_0", "q4_k_m"])
def test_imported_blocks_are_those_that_llama_cpp_multiplies(random_model: Path, tmp_path: Path, name: str) -> None:
    """It rounds activations to blocks, too, so its logits are near and not the same."""
    path = write_gguf(random_model, tmp_path / "m.gguf", FORMATS[name])
    write_folder(open_model_file(path), tmp_path / "made", "float32")
    ids = np.random.default_rng(4).integers(8, 600, 64).tolist()
    made = open_engine(str(tmp_path / "made"), threads=1, dtype="float32").logits(ids)
    theirs = LlamaCppEngine(path, threads=1, every_logit=True).logits(ids)
    original = open_engine(str(random_model), threads=1, dtype="float32").logits(ids)
    assert np.abs(made - theirs).mean() < 0.5 * np.abs(original - theirs).mean() + 0.01


# How far a format may move a random model's logits, of standard deviation 1 or so. Reality is about half of each.
DRIFT = {"f16": 0.01, "bf16": 0.1, "q8_0": 0.1, "q4_k_m": 1.5, "q4_0": 2.5}


@pytest.mark.parametrize("name", sorted(DRIFT))
def test_every_format_loads_and_stays_near(random_model: Path, tmp_path: Path, name: str) -> None:
    path = write_gguf(random_model, tmp_path / "m.gguf", FORMATS[name])
    ids = np.random.default_rng(2).integers(8, 600, 64).tolist()
    wanted = open_engine(str(random_model), threads=1).logits(ids)
    got = LlamaCppEngine(path, threads=1, every_logit=True).logits(ids)
    assert np.sqrt(np.mean((wanted - got) ** 2)) < DRIFT[name]
    assert np.corrcoef(wanted.ravel(), got.ravel())[0, 1] > 0.8


def test_q4_k_m_is_as_foretold(random_model: Path, tmp_path: Path) -> None:
    """llama.cpp's choice of types, and so the size that is computed without writing anything."""
    model, form = read_architecture(random_model), FORMATS["q4_k_m"]
    reader = gguf.GGUFReader(write_gguf(random_model, tmp_path / "m.gguf", form))
    assert reader.fields["general.file_type"].contents() == gguf.LlamaFileType.MOSTLY_Q4_K_M
    found = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert found == {tensor.name: tensor_type(tensor, form, model) for tensor in model.tensors()}
    assert int(sum(tensor.n_bytes for tensor in reader.tensors)) == weight_bytes(model, form)
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


def cuts_of(name: str) -> PreTrainedTokenizerFast:
    """A tokenizer with merges that cuts text as the pre-tokenizer `name` does."""
    core = Tokenizer(models.BPE(ignore_merges=name in pre_tokenizers.WHOLE_WORDS))
    core.pre_tokenizer, core.decoder = pre_tokenizers.make(name), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=["<eos>", "<|im_start|>", "<|im_end|>"],
    )  # fmt: skip
    core.train_from_iterator([*texts(), *(f"{n} {n}{n} x{n}y {n}," for n in range(0, 1200, 7))], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>")


@pytest.mark.parametrize("name", pre_tokenizers.KNOWN)
def test_every_pre_tokenizer_cuts_as_llama_cpps_does(name: str, tmp_path: Path) -> None:
    """Both ways: the tokenizer that is exported, and the one that is imported from the file again."""
    given = cuts_of(name)
    model = families.build(families.llama(vocab_size=len(given)))
    given.save_pretrained(tmp_path / "model")
    model.save_pretrained(tmp_path / "model")
    path = write_gguf(tmp_path / "model", tmp_path / "m.gguf", FORMATS["f32"])
    again = tokenizer_of(read_vocabulary(path))
    llama = load_llama_cpp().Llama(str(path), vocab_only=True, verbose=False)
    try:
        for text in (*TEXTS, *tokenization.round_trip_texts(), *tokenization.ROUND_TRIPS):
            if name in pre_tokenizers.DIFFERENCES:
                text = "".join(one for one in text if not unicodedata.category(one).startswith("M"))
            wanted = encoded(given, text)[1]
            assert encoded(again, text)[1] == wanted, text[:40]
            assert llama_ids(llama, text) == wanted, text[:40]
    finally:
        llama.close()
