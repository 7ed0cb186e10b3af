"""GGUF files made Hugging Face folders again: weights, configs, tokenizers, and what is refused."""

import importlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from srm_ray.config.formats import FORMATS
from srm_ray.errors import UserError
from srm_ray.gguf.architecture import read_architecture
from srm_ray.gguf.reader import open_model_file, write_folder
from srm_ray.gguf.vocabulary import read_vocabulary
from srm_ray.gguf.writer import write_gguf
from srm_ray.model import tokenization
from srm_ray.model.loading import open_model
from srm_ray.model.weight_file import writing
from tests.gguf.models import TEXTS, encoded
from tests.gguf.test_writer import as_llama_cpp_wants

run_import = importlib.import_module("srm_ray.import").main


def imported(path: Path, folder: Path, dtype: str = "float32") -> Path:
    write_folder(open_model_file(path), folder, dtype)
    return folder


# Weights


@pytest.mark.parametrize("form", ["f32", "q8_0"])
def test_weights_are_those_of_the_file(random_model: Path, tmp_path: Path, form: str) -> None:
    """Of an F32 file the very bits; Gemma's norms to the bits that are left beside 1."""
    path = write_gguf(random_model, tmp_path / "m.gguf", FORMATS[form])
    made = load_file(imported(path, tmp_path / "made") / "model.safetensors")
    source = load_file(random_model / "model.safetensors")
    model = read_architecture(random_model)
    stored = {one.name: gguf.dequantize(one.data, one.tensor_type) for one in gguf.GGUFReader(path).tensors}
    assert set(made) == {one.source for one in model.tensors() if one.source}
    for one in (one for one in model.tensors() if one.source):
        assert np.array_equal(as_llama_cpp_wants(one, made), stored[one.name].reshape(one.shape)), one.name
        if form == "f32":
            assert (made[one.source] - source[one.source].float()).abs().max() <= (2**-24 if one.shift else 0), one.name


def test_an_import_exports_to_the_same_file(random_model: Path, tmp_path: Path) -> None:
    first = write_gguf(random_model, tmp_path / "first.gguf", FORMATS["f32"], name="m")
    again = write_gguf(imported(first, tmp_path / "made"), tmp_path / "again.gguf", FORMATS["f32"], name="m")
    assert first.read_bytes() == again.read_bytes()


def test_the_model_computes_the_same(random_model: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    path = write_gguf(random_model, tmp_path / "m.gguf", FORMATS["f32"])
    info = open_model(str(imported(path, tmp_path / "made")))
    original = open_model(str(random_model))
    assert set(info.stop_token_ids) == set(original.stop_token_ids)
    assert (info.context, info.vocabulary) == (original.context, original.vocabulary)
    ids = torch.randint(8, 600, (1, 300), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, theirs = (
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits
            for folder in (tmp_path / "made", random_model)
        )
    assert theirs.std() > 0.5
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_other_dtypes(random_model: Path, tmp_path: Path) -> None:
    path = write_gguf(random_model, tmp_path / "m.gguf", FORMATS["f32"])
    wide, narrow = (load_file(imported(path, tmp_path / kind, kind) / "model.safetensors") for kind in DTYPES)
    for name, weight in narrow.items():
        assert weight.dtype == torch.bfloat16 and torch.equal(weight, wide[name].bfloat16())
    assert json.loads((tmp_path / "bfloat16" / "config.json").read_text())["dtype"] == "bfloat16"


DTYPES = ("float32", "bfloat16")


def test_a_weight_file_takes_its_tensors_in_their_order(tmp_path: Path) -> None:
    shapes = {"a": (2, 3), "b": (4,)}
    with pytest.raises(ValueError, match=r"b \(4,\) is written where"), writing(tmp_path / "f", shapes, "float32") as w:
        w("b", torch.zeros(4))
    with pytest.raises(ValueError, match="was not written"), writing(tmp_path / "f", shapes, "float32") as w:
        w("a", torch.zeros(2, 3))


# Types that only llama.cpp writes: blocks of random bits, of which the scales are numbers.

SCALES = {"Q4_K": (0, 4), "Q5_K": (0, 4), "Q6_K": (208, 210), "Q4_1": (0, 4), "Q5_0": (0, 2), "Q5_1": (0, 4)}
SCALES |= {"Q8_0": (0, 2), "Q4_0": (0, 2)}


def blocks(kind: str, shape: tuple[int, ...]) -> np.ndarray:
    elements, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    random = np.random.default_rng(len(kind) + sum(shape))
    found = random.integers(0, 256, (math.prod(shape) // elements, size), np.uint8)
    first, last = SCALES[kind]
    numbers = random.uniform(0.001, 0.01, (len(found), (last - first) // 2)).astype(np.float16)
    found[:, first:last] = numbers.view(np.uint8)
    return found.reshape(*shape[:-1], -1)


def values_of(kind: str, row: np.ndarray) -> list[float]:
    """One block's values, from the description of its type in ggml-quants.h, a number at a time."""
    half = row.view(np.float16)
    if kind == "Q8_0":
        return [float(half[0]) * int(code) for code in row[2:].view(np.int8)]
    if kind == "Q6_K":
        low, high, scales, d = row[:128], row[128:192], row[192:208].view(np.int8), row[208:210].view(np.float16)[0]
        found = []
        for place in range(256):
            part, within = divmod(place, 128)
            lane, column = divmod(within, 32)
            nibble = low[64 * part + 32 * (lane % 2) + column] >> (4 * (lane // 2)) & 15
            bits = high[32 * part + column] >> (2 * lane) & 3
            found.append(float(d) * int(scales[place // 16]) * (int(nibble | bits << 4) - 32))
        return found
    if kind in ("Q4_K", "Q5_K"):
        packed, body = row[4:16], row[16:]
        found = []
        for group in range(8):
            if group < 4:
                scale, least = packed[group] & 63, packed[group + 4] & 63
            else:
                scale = packed[group + 4] & 15 | packed[group - 4] >> 6 << 4
                least = packed[group + 4] >> 4 | packed[group] >> 6 << 4
            for place in range(32):
                codes = body[32:] if kind == "Q5_K" else body
                code = int(codes[32 * (group // 2) + place] >> (4 * (group % 2)) & 15)
                code += 16 * int(body[place] >> group & 1) if kind == "Q5_K" else 0
                found.append(float(half[0]) * int(scale) * code - float(half[1]) * int(least))
        return found
    with_minimum, five = kind.endswith("1"), kind.startswith("Q5")
    start = 4 if with_minimum else 2
    bits = int(row[start : start + 4].view(np.uint32)[0]) if five else 0
    codes = row[start + 4 * five :]
    found = []
    for place in range(32):
        code = int(codes[place % 16] >> (4 * (place // 16)) & 15) + 16 * (bits >> place & 1)
        least = float(half[1]) if with_minimum else -float(half[0]) * (16 if five else 8)
        found.append(float(half[0]) * code + least)
    return found


def rewritten(
    source: Path,
    path: Path,
    *,
    keys: Mapping[str, Any] | None = None,
    kinds: Mapping[str, str] | None = None,
    leave_out: tuple[str, ...] = (),
) -> Path:
    """A file with other keys (None: without it), tensors of other types, or without some."""
    reader = gguf.GGUFReader(source)
    fields = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    writer = gguf.GGUFWriter(path, fields["general.architecture"].contents())
    for name, field in fields.items():
        if name == "general.architecture" or name in (keys or {}):
            continue
        writer.add_key_value(name, field.contents(), field.types[0], field.types[-1] if len(field.types) > 1 else None)
    for name, value in (keys or {}).items():
        if value is not None:
            add: dict[type, Callable[..., None]] = {
                bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32,
                str: writer.add_string, list: writer.add_array,
            }  # fmt: skip
            add[type(value)](name, value)
    for tensor in reader.tensors:
        if tensor.name in leave_out:
            continue
        kind = (kinds or {}).get(tensor.name, tensor.tensor_type.name)
        data = tensor.data
        if kind != tensor.tensor_type.name:
            data = blocks(kind, tuple(reversed(tensor.shape.tolist())))
        writer.add_tensor(tensor.name, data, raw_dtype=gguf.GGMLQuantizationType[kind])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def llama_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.gguf.models import MAKERS

    folder = tmp_path_factory.mktemp("llama")
    return write_gguf(MAKERS["llama"](folder / "model"), folder / "m.gguf", FORMATS["f32"])


def test_every_type_of_llama_cpps(llama_file: Path, tmp_path: Path) -> None:
    places = ("0.ffn_gate", "0.ffn_up", "1.ffn_gate", "1.ffn_up", "2.ffn_gate", "2.ffn_up", "0.ffn_down", "1.ffn_down")
    kinds = {f"blk.{place}.weight": kind for place, kind in zip(places, SCALES, strict=True)}
    path = rewritten(llama_file, tmp_path / "m.gguf", kinds=kinds)
    found = open_model_file(path)
    assert set(found.types) == {*SCALES, "F32"}
    for one in found.model.tensors():
        if kind := kinds.get(one.name):
            size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]][1]
            rows = blocks(kind, one.shape).reshape(-1, size)
            wanted = [value for row in rows[:50] for value in values_of(kind, row)]
            assert found.read(one).reshape(-1)[: len(wanted)] == pytest.approx(wanted, rel=1e-5, abs=1e-7), kind


# Tokenizers


def test_the_tokenizer_gives_the_same_ids(random_model: Path, tmp_path: Path) -> None:
    path = write_gguf(random_model, tmp_path / "m.gguf", FORMATS["q8_0"])
    own, made = tokenization.load(random_model), tokenization.load(imported(path, tmp_path / "made"))
    for text, ids in (encoded(own, text) for text in (*TEXTS, *tokenization.ROUND_TRIPS)):
        assert made.backend_tokenizer.encode(text, add_special_tokens=False).ids == ids
    assert made.chat_template == own.chat_template
    assert made.model_max_length == 512


def test_a_beginning_that_the_file_asks_for(llama_file: Path, tmp_path: Path) -> None:
    path = rewritten(llama_file, tmp_path / "m.gguf", keys={"tokenizer.ggml.add_bos_token": True})
    made = tokenization.load(imported(path, tmp_path / "made"))
    assert made("a")["input_ids"][0] == made.bos_token_id
    assert made("a", add_special_tokens=False)["input_ids"][0] != made.bos_token_id
    again = read_vocabulary(write_gguf(tmp_path / "made", tmp_path / "again.gguf", FORMATS["q8_0"]))
    assert again.add_bos


def test_every_end_that_the_file_names(llama_file: Path, tmp_path: Path) -> None:
    keys = {"tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.eom_token_id": 6, "tokenizer.ggml.eot_token_id": 7}
    made = imported(rewritten(llama_file, tmp_path / "m.gguf", keys=keys), tmp_path / "made")
    assert set(json.loads((made / "generation_config.json").read_text())["eos_token_id"]) == {2, 6, 7}
    assert set(open_model(str(made)).stop_token_ids) == {2, 6, 7}


@pytest.mark.parametrize("pre", ["llama3", "smollm", "starcoder", "phi-2", "gpt-4o", "dbrx"])
def test_pre_tokenizers_by_their_names(llama_file: Path, tmp_path: Path, pre: str) -> None:
    """Each is found again in the folder, and so in the next file."""
    from srm_ray.gguf.pre_tokenizers import canonical

    made = imported(rewritten(llama_file, tmp_path / "m.gguf", keys={"tokenizer.ggml.pre": pre}), tmp_path / "made")
    again = read_vocabulary(write_gguf(made, tmp_path / "again.gguf", FORMATS["q8_0"])).pre
    assert again == ("dbrx" if pre == "dbrx" else canonical(pre))


# What is refused

BAD_KEYS: dict[str, tuple[dict[str, Any], str]] = {
    "architecture": ({"general.architecture": "mamba"}, "architecture is 'mamba'; llama, qwen2"),
    "tokenizer": ({"tokenizer.ggml.model": "t5"}, "tokenizer is t5/qwen2"),
    "pre": ({"tokenizer.ggml.pre": "bloom"}, "tokenizer is gpt2/bloom"),
    "parts": ({"split.count": 3}, "one of 3 parts"),
    "adapter": ({"general.type": "adapter"}, "no model but 'adapter'"),
    "experts": ({"llama.expert_count": 8}, "llama.expert_count is 8, and what it changes is not known"),
    "yarn": ({"llama.rope.scaling.type": "yarn"}, "rotary embedding scaled by 'yarn'"),
    "window": ({"llama.attention.sliding_window": 64}, "a sliding attention window"),
    "count": ({"llama.attention.head_count_kv": [4, 4, 2]}, r"head_count_kv is \[4, 4, 2\], a whole number"),
    "layers": ({"llama.block_count": 4}, r"the weight blk\.3\.attn_norm\.weight is missing"),
    "fewer": ({"llama.block_count": 2}, r"blk\.2\.attn_k\.weight has no place in a llama model"),
    "width": ({"llama.feed_forward_length": 352}, r"has shape \(320, 256\), its header says \(352, 256\)"),
    "epsilon": ({"llama.attention.layer_norm_rms_epsilon": None}, "has no attention.layer_norm_rms_epsilon"),
    "infinite": ({"llama.rope.freq_base": float("inf")}, "freq_base is inf, a number is expected"),
    "token": ({"tokenizer.ggml.eos_token_id": 9999}, "eos_token_id is 9999"),
}


@pytest.mark.parametrize("name", BAD_KEYS)
def test_headers_that_are_refused(llama_file: Path, tmp_path: Path, name: str) -> None:
    keys, message = BAD_KEYS[name]
    path = rewritten(llama_file, tmp_path / "m.gguf", keys=keys)
    with pytest.raises(UserError, match=message) as refused:
        open_model_file(path)
    assert str(refused.value).startswith(f"{path}: ")


def command(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    status = run_import([str(word) for word in words])
    return status, capsys.readouterr().err


def test_a_broken_file_is_one_line_and_leaves_nothing(
    llama_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = llama_file.read_bytes()
    nan = bytearray(whole)
    nan[-4:] = np.float32(np.nan).tobytes()
    bad = {"cut": whole[: len(whole) // 2], "head": whole[:40], "text": b"hello", "empty": b"", "nan": bytes(nan)}
    bad |= {f"cut {size}": whole[:size] for size in range(0, 20_000, 997)}
    out = tmp_path / "out"
    for name, content in bad.items():
        path = tmp_path / f"{name}.gguf"
        path.write_bytes(content)
        status, error = command(capsys, "--file", path, "--run_dir", out)
        assert (status, error.count("\n")) == (2, 1), (name, error)
        assert error.startswith("error: ") and path.name in error
        assert not out.exists(), name
    status, error = command(capsys, "--file", tmp_path / "none.gguf")
    assert (status, error) == (2, f"error: {tmp_path / 'none.gguf'}: no such file\n")
    assert command(capsys)[0] == 2
    status, error = command(capsys, "--file", tmp_path)
    assert (status, error) == (2, f"error: {tmp_path}: a folder, and a GGUF file is expected\n")


def test_commands_that_want_a_folder_say_how_to_make_one(llama_file: Path) -> None:
    with pytest.raises(UserError, match=r"a GGUF file: make a folder of it first, python -m srm_ray\.import --file"):
        open_model(str(llama_file))


def test_the_command(llama_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import hashlib

    out = tmp_path / "run"
    assert run_import(["--file", str(llama_file), "--run_dir", str(out)]) == 0
    lineage = json.loads((out / "final" / "lineage.json").read_text())
    assert (lineage["stage"], lineage["parent"]) == ("import", "")
    assert lineage["data"]["sha256"] == hashlib.sha256(llama_file.read_bytes()).hexdigest()
    assert lineage["data"]["types"] == {"F32": len(gguf.GGUFReader(llama_file).tensors)}
    assert "completions end at <|im_end|>" in capsys.readouterr().out
    assert run_import(["--file", str(llama_file), "--run_dir", str(out)]) == 0
    assert "is complete" in capsys.readouterr().out
    other = rewritten(llama_file, tmp_path / "other.gguf", keys={"general.name": "other"})
    status, error = command(capsys, "--file", other, "--run_dir", out)
    assert status == 2 and "--resume never" in error
    (tmp_path / "chat.jinja").write_text("{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}")
    words = ["--file", str(llama_file), "--run_dir", str(out), "--resume", "never", "--chat_template"]
    assert run_import([*words, str(tmp_path / "chat.jinja")]) == 0
    assert tokenization.load(out / "final").chat_template.startswith("{% for m")
