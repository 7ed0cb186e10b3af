"""Files read back with gguf's own reader: weights, metadata, vocabulary. No llama.cpp needed."""

import json
import re
import shutil
from pathlib import Path

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from srm_ray.config.formats import FORMATS
from srm_ray.errors import UserError
from srm_ray.files.faults import WriteFailed
from srm_ray.gguf.architecture import Tensor, read_architecture
from srm_ray.gguf.formats import tensor_type, weight_bytes
from srm_ray.gguf.vocabulary import CONTROL, NORMAL, UNUSED, USER_DEFINED, read_vocabulary, tokenizer_of, without_marks
from srm_ray.gguf.writer import write_gguf
from srm_ray.model import tokenization
from tests.gguf.models import MAKERS, encoded

# Largest difference, as a share of a block's largest value. Q8_0 and Q4_0 round to scale / 127 and / 8; the scale
# itself is a half-precision number.
ROUNDING = {"f32": 0.0, "f16": 2**-11, "bf16": 2**-8, "q8_0": 0.6 / 127, "q4_0": 1.1 / 8}


@pytest.mark.parametrize("name", sorted(ROUNDING))
def test_weights_come_back(random_model: Path, tmp_path: Path, name: str) -> None:
    form, model = FORMATS[name], read_architecture(random_model)
    reader = gguf.GGUFReader(write_gguf(random_model, tmp_path / "model.gguf", form))
    source = load_file(random_model / "model.safetensors")
    found = {tensor.name: tensor for tensor in reader.tensors}
    wanted = {tensor.name: tensor for tensor in model.tensors()}
    assert list(found) == list(wanted)
    for tensor in wanted.values():
        stored = found[tensor.name]
        assert stored.tensor_type.name == tensor_type(tensor, form, model)
        assert tuple(reversed(stored.shape.tolist())) == tensor.shape
        values = gguf.dequantize(stored.data, stored.tensor_type).reshape(tensor.shape)
        original = as_llama_cpp_wants(tensor, source)
        if original.size % 32:
            assert np.array_equal(values, original)
            continue
        blocks = original.reshape(-1, 32)
        limit = ROUNDING[name] * np.abs(blocks).max(1, keepdims=True) if len(tensor.shape) > 1 else 0
        assert (np.abs(values.reshape(-1, 32) - blocks) <= limit).all(), tensor.name
    assert int(sum(tensor.n_bytes for tensor in reader.tensors)) == weight_bytes(model, form)


def as_llama_cpp_wants(tensor: Tensor, source: dict[str, torch.Tensor]) -> np.ndarray:
    """A weight of the Hugging Face file, a row at a time."""
    if not tensor.source:
        return np.array(tensor.values, np.float32)
    original = source[tensor.source].float().numpy()
    if tensor.heads:
        size = len(original) // tensor.heads
        within = [place // 2 + place % 2 * size // 2 for place in range(size)]
        original = original[[head * size + row for head in range(tensor.heads) for row in within]]
    return original + np.float32(tensor.shift)


def test_names_are_those_of_llama_cpps_own_tables(random_model: Path) -> None:
    model = read_architecture(random_model)
    arch = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[model.name]
    known = {gguf.TENSOR_NAMES[kind] for kind in gguf.MODEL_TENSORS[arch]}
    names = gguf.get_tensor_name_map(arch, model.layers)
    for tensor in model.tensors():
        stem, _, kind = tensor.name.rpartition(".")
        if tensor.source:
            assert names.get_name(tensor.source.removesuffix(f".{kind}")) == stem
        assert re.sub(r"^blk\.\d+", "blk.{bid}", stem) in known


def test_rotating_neighbours_is_rotating_halves(random_model: Path) -> None:
    """Scores of queries and keys, as llama.cpp and as transformers rotate them."""
    model = read_architecture(random_model)
    turned = [tensor for tensor in model.tensors() if tensor.heads][:2]
    if not turned:
        pytest.skip("rotated in halves by both")
    source, width, half = load_file(random_model / "model.safetensors"), model.head_dim, model.head_dim // 2
    hidden = np.random.default_rng(0).normal(size=(2, model.d_model)).astype(np.float32)
    angle = 3 * 10_000.0 ** (-np.arange(half) / half)

    def rotated(vector: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        out = vector.copy()
        out[first] = vector[first] * np.cos(angle) - vector[second] * np.sin(angle)
        out[second] = vector[second] * np.cos(angle) + vector[first] * np.sin(angle)
        return out

    places = np.arange(width)
    halves, neighbours = (places[:half], places[half:]), (places[::2], places[1::2])
    ours = [as_llama_cpp_wants(tensor, source)[:width] @ hidden[0] for tensor in turned]
    theirs = [source[tensor.source].numpy()[:width] @ hidden[0] for tensor in turned]
    wanted = rotated(theirs[0], *halves) @ theirs[1]
    assert rotated(ours[0], *neighbours) @ ours[1] == pytest.approx(wanted, rel=1e-4)
    assert ours[0] @ ours[1] != pytest.approx(wanted, rel=1e-2)


def test_metadata(random_model: Path, tmp_path: Path) -> None:
    config = json.loads((random_model / "config.json").read_text())
    fields = gguf.GGUFReader(write_gguf(random_model, tmp_path / "m.gguf", FORMATS["q8_0"], name="mine")).fields
    read = {name: field.contents() for name, field in fields.items()}
    kind = config["model_type"].removesuffix("_text")
    head = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    assert read["general.architecture"] == kind
    assert read["general.name"] == "mine"
    assert read["general.file_type"] == gguf.LlamaFileType.MOSTLY_Q8_0
    assert read[f"{kind}.attention.key_length"] == read[f"{kind}.attention.value_length"] == head
    assert read[f"{kind}.attention.head_count"] == config["num_attention_heads"]
    assert read[f"{kind}.attention.head_count_kv"] == config["num_key_value_heads"]
    assert read[f"{kind}.block_count"] == config["num_hidden_layers"]
    assert read[f"{kind}.context_length"] == 512
    assert read[f"{kind}.feed_forward_length"] == config["intermediate_size"]
    rope = config["rope_parameters"]
    assert read[f"{kind}.rope.freq_base"] == rope.get("full_attention", rope)["rope_theta"]
    assert read["tokenizer.ggml.eot_token_id"] == tokenization.ID_OF[tokenization.IM_END]
    assert read[f"{kind}.attention.layer_norm_rms_epsilon"] == pytest.approx(config["rms_norm_eps"])
    assert (read["tokenizer.ggml.model"], read["tokenizer.ggml.pre"]) == ("gpt2", "qwen2")
    assert read["tokenizer.ggml.add_bos_token"] is False
    assert read["tokenizer.ggml.eos_token_id"] == tokenization.ID_OF[tokenization.IM_END]
    assert len(read["tokenizer.ggml.tokens"]) == config["vocab_size"]


def test_the_head_is_left_out_when_tied(random_model: Path, tmp_path: Path) -> None:
    reader = gguf.GGUFReader(write_gguf(random_model, tmp_path / "m.gguf", FORMATS["f16"]))
    names = {tensor.name for tensor in reader.tensors}
    assert ("output.weight" in names) != json.loads((random_model / "config.json").read_text())["tie_word_embeddings"]


def test_token_types(random_model: Path, tmp_path: Path) -> None:
    vocabulary = read_vocabulary(write_gguf(random_model, tmp_path / "m.gguf", FORMATS["q4_0"]))
    kinds = dict(zip(vocabulary.tokens, vocabulary.types, strict=True))
    assert kinds["<think>"] == kinds["</think>"] == USER_DEFINED
    assert {kinds[token] for token in ("<pad>", "<bos>", "<eos>", "<unk>", "<|im_start|>", "<|im_end|>")} == {CONTROL}
    assert kinds["a"] == NORMAL
    assert vocabulary.tokens[:8] == tokenization.SPECIALS
    rows = json.loads((random_model / "config.json").read_text())["vocab_size"]
    assert vocabulary.types.count(UNUSED) == rows - len(tokenization.load(random_model))


def test_the_files_tokenizer_gives_the_same_ids(random_model: Path, tmp_path: Path) -> None:
    own = tokenization.load(random_model)
    read = tokenizer_of(read_vocabulary(write_gguf(random_model, tmp_path / "m.gguf", FORMATS["q4_0"])))
    for text, ids in (encoded(own, text) for text in tokenization.round_trip_texts()):
        assert read.backend_tokenizer.encode(text).ids == ids
        assert read.decode(ids, skip_special_tokens=True) == own.decode(ids, skip_special_tokens=True)
    assert read.chat_template == own.chat_template
    assert (read.eos_token_id, read.bos_token_id, read.pad_token_id) == (7, 1, 0)


def test_the_template_without_marks_renders_the_same() -> None:
    from jinja2.sandbox import ImmutableSandboxedEnvironment
    from transformers.utils.chat_template_utils import _compile_jinja_template

    messages = [
        {"role": "user", "content": " hi "},
        {"role": "assistant", "content": "<think>\n2\n</think>\n4"},
        {"role": "user", "content": "and?"},
    ]
    assert "generation %}" not in without_marks(tokenization.CHAT_TEMPLATE).replace("add_generation_prompt", "")
    plain = ImmutableSandboxedEnvironment().from_string(without_marks(tokenization.CHAT_TEMPLATE))
    marked = _compile_jinja_template(tokenization.CHAT_TEMPLATE)
    for opening in (True, False):
        given = {"messages": messages, "add_generation_prompt": opening}
        assert plain.render(**given) == marked.render(**given)


# What is refused, and that nothing is left of it


def refused(folder: Path, destination: Path, message: str, form: str = "q8_0") -> None:
    with pytest.raises(UserError, match=message):
        write_gguf(folder, destination, FORMATS[form])
    assert not list(destination.parent.iterdir())


@pytest.fixture
def copy(tmp_path: Path, random_model: Path) -> Path:
    (tmp_path / "out").mkdir()
    return Path(shutil.copytree(random_model, tmp_path / "copy"))


def test_weights_that_are_missing_cut_or_of_another_shape(copy: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "out" / "m.gguf", copy / "model.safetensors"
    weights = load_file(path)
    save_file({name: weight for name, weight in weights.items() if "layers.1.mlp.down" not in name}, path)
    refused(copy, out, r"the weight model\.layers\.1\.mlp\.down_proj\.weight is missing")
    save_file(weights | {"model.norm.weight": weights["model.norm.weight"][:-1].clone()}, path)
    refused(copy, out, r"model\.norm\.weight has shape \(255,\), its config\.json says \(256,\)")
    save_file(weights | {"model.extra.weight": weights["model.norm.weight"].clone()}, path)
    refused(copy, out, r"model\.extra\.weight has no place")
    path.write_bytes(path.read_bytes()[:1000])
    refused(copy, out, "not a whole safetensors file")
    path.unlink()
    refused(copy, out, "no weights")


def test_tokenizers_that_llama_cpp_would_read_otherwise(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    copy = MAKERS["qwen3"](tmp_path / "copy")
    out, path = tmp_path / "out" / "m.gguf", copy / "tokenizer.json"
    plain = json.loads(path.read_text())
    path.write_text(json.dumps(plain | {"normalizer": {"type": "Lowercase"}}))
    refused(copy, out, "changes text before it encodes")
    plain["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {"Regex": r"\p{L}+|\p{N}{1,3}"}
    path.write_text(json.dumps(plain))
    refused(copy, out, "give other ids")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"vocab_size": 512}))
    refused(copy, out, "belongs to another model")


def test_a_write_that_fails_leaves_nothing(random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf.GGUFWriter, "write_tensor_data", full)
    with pytest.raises(WriteFailed, match=r"m\.gguf could not be written: No space"):
        write_gguf(random_model, tmp_path / "out" / "m.gguf", FORMATS["q8_0"])
    assert not list((tmp_path / "out").iterdir())


def test_files_that_are_not_gguf(random_model: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_vocabulary(tmp_path / "none.gguf")
    (tmp_path / "text.gguf").write_text("not one")
    with pytest.raises(UserError, match="not a whole GGUF file"):
        read_vocabulary(tmp_path / "text.gguf")
    whole = write_gguf(random_model, tmp_path / "m.gguf", FORMATS["q8_0"]).read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="not a whole GGUF file"):
        read_vocabulary(tmp_path / "cut.gguf")
