"""A model's folder is data, whatever is in it: one clear line, and nothing of it is run."""

import json
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from srm_ray.errors import UserError, one_line
from srm_ray.gguf import header
from srm_ray.gguf.vocabulary import open_gguf, read_vocabulary
from srm_ray.model.loading import open_model
from srm_ray.model.shapes import build, shape
from tests.gguf.models import qwen3

ROOT = Path(__file__).parents[2]
DEEP = "[" * 10_000 + "]" * 10_000


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return qwen3(tmp_path_factory.mktemp("sound") / "model")


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A sound model to spoil."""
    copy = tmp_path / "model"
    copy.mkdir()
    for path in sound.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    return copy


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as raised:
        open_model(str(folder))
    line = one_line(raised.value)
    assert len(line) < 600 and str(folder) in line
    return line


def config(**changed: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        plain = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**plain, **changed}))

    return spoil


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def tensors(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        found = load_file(folder / "model.safetensors")
        save_file(change(dict(found)), folder / "model.safetensors")

    return spoil


def offsets(folder: Path) -> None:
    """Two tensors in the same place."""
    plain = {name: {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]} for name in "ab"}
    packed = json.dumps(plain).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(packed)) + packed + bytes(16))


SPOILED: dict[str, tuple[Callable[[Path], None], str]] = {
    "config is a list": (text("config.json", "[1]"), "must hold an object"),
    "config is deep": (text("config.json", DEEP), "cannot be read"),
    "config is deep within": (text("config.json", '{"model_type": ' + DEEP + "}"), "cannot be read"),
    "config is no text": (text("config.json", b"\xff\xfe\x00"), "cannot be read"),
    "config is empty": (text("config.json", ""), "cannot be read"),
    "config has a long number": (text("config.json", '{"vocab_size": ' + "9" * 9999 + "}"), "cannot be read"),
    "config brings code": (config(model_type="own", auto_map={"AutoConfig": "code.Config"}), "is not run"),
    "config is of no type": (config(model_type=7), "cannot be opened"),
    "many layers": (config(num_hidden_layers=10**9), "num_hidden_layers"),
    "negative layers": (config(num_hidden_layers=-1), "num_hidden_layers"),
    "wide": (config(hidden_size=10**12), "hidden_size"),
    "a vocabulary of text": (config(vocab_size="many"), "vocab_size"),
    "no heads": (config(num_attention_heads=0), "num_attention_heads"),
    "a context without end": (config(max_position_embeddings=10**30), "max_position_embeddings"),
    "many experts": (
        config(model_type="mixtral", architectures=["MixtralForCausalLM"], num_local_experts=10**8),
        "num_local_experts in its config.json is '100000000', 16,384 at most can be",
    ),
    "safetensors with a huge header": (text("model.safetensors", struct.pack("<Q", 1 << 62) + b"{}"), "cannot be read"),
    "safetensors that end early": (text("model.safetensors", struct.pack("<Q", 100) + b"{}"), "cannot be read"),
    "safetensors with a deep header": (
        text("model.safetensors", struct.pack("<Q", len(DEEP)) + DEEP.encode()),
        "cannot be read",
    ),
    "safetensors in one place": (offsets, "cannot be read"),
    "weights of another model": (
        tensors(lambda found: {f"their.{name}": weight for name, weight in found.items()}),
        "of another model",
    ),
    "weights that are missing": (
        tensors(lambda found: dict(list(found.items())[:-1])),
        "1 of .* weights are missing",
    ),
    "tokenizer of another kind": (text("tokenizer.json", '{"version": "1.0", "model": {"type": "Own"}}'), "tokenizer"),
    "tokenizer is a list": (text("tokenizer.json", "[]"), "tokenizer"),
    "tokenizer is deep": (text("tokenizer.json", DEEP), "tokenizer"),
    "tokenizer is no text": (text("tokenizer.json", b"\x80\x04\x95"), "tokenizer"),
    "tokenizer's config is a list": (text("tokenizer_config.json", "[1]"), "tokenizer"),
    **{
        f"a tokenizer's context of {value}": (
            text("tokenizer_config.json", json.dumps({"model_max_length": value})),
            "model_max_length",
        )
        for value in ("x", [1], {}, -1, 0, float("inf"), float("nan"), True)
    },
    "a tokenizer's expression without a bound": (
        text("tokenizer.json", json.dumps({"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+$"}}})),
        "no fixed length",
    ),
    "generation config is a list": (text("generation_config.json", "[1]"), "must hold an object"),
}


@pytest.mark.parametrize(("spoil", "says"), SPOILED.values(), ids=SPOILED)
def test_a_folder_with_a_hostile_file_is_refused_in_one_line(folder, spoil, says) -> None:
    spoil(folder)
    assert re.search(says, refused(folder))


def test_what_is_sound_is_opened(folder) -> None:
    assert open_model(str(folder)).vocabulary


def test_code_that_comes_with_a_model_is_not_run(folder, tmp_path, monkeypatch) -> None:
    """Of a type that transformers knows, too: its own code opens it."""
    ran = tmp_path / "ran"
    (folder / "code.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    own = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model", "AutoTokenizer": ["code.T", "code.T"]}
    config(auto_map=own)(folder)
    plain = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**plain, "auto_map": own}))
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    open_model(str(folder))
    assert not ran.exists()


def test_a_tokenizer_without_a_limit_gives_no_context_that_overflows(folder) -> None:
    plain = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**plain, "model_max_length": 10**30}))
    assert 0 < open_model(str(folder)).context < 1 << 31


# GGUF


def value(kind: int, content: bytes, name: bytes = b"key") -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + content


def gguf_file(path: Path, *values: bytes, tensors: bytes = b"", counts: tuple[int, int] | None = None) -> Path:
    told = counts or (int(bool(tensors)), len(values))
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, *told) + b"".join(values) + tensors)
    return path


def raw(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def tensor(dimensions: tuple[int, ...], kind: int = 0, place: int = 0, name: bytes = b"weight") -> bytes:
    sizes = struct.pack(f"<{len(dimensions)}Q", *dimensions)
    told = struct.pack("<I", len(dimensions)) + sizes + struct.pack("<IQ", kind, place)
    return struct.pack("<Q", len(name)) + name + told


HUGE = 1 << 60
FILES: dict[str, Callable[[Path], Path]] = {
    "many keys": lambda path: gguf_file(path, counts=(0, HUGE)),
    "many tensors": lambda path: gguf_file(path, counts=(HUGE, 0)),
    "a long key": lambda path: gguf_file(path, struct.pack("<Q", HUGE) + b"key"),
    "a long text": lambda path: gguf_file(path, value(8, struct.pack("<Q", HUGE) + b"text")),
    "a long array": lambda path: gguf_file(path, value(9, struct.pack("<IQ", 0, HUGE) + bytes(64))),
    "an array of texts": lambda path: gguf_file(path, value(9, struct.pack("<IQ", 8, HUGE) + bytes(64))),
    "arrays in arrays": lambda path: gguf_file(path, value(9, struct.pack("<IQ", 9, 1) * 5000)),
    "an unknown type": lambda path: gguf_file(path, value(99, bytes(64))),
    "an unknown tensor type": lambda path: gguf_file(path, tensors=tensor((1,), kind=999)),
    "a tensor that is too large": lambda path: gguf_file(path, tensors=tensor((HUGE, HUGE))),
    "many dimensions": lambda path: gguf_file(path, tensors=tensor((1,) * 60)),
    "a place behind the end": lambda path: gguf_file(path, tensors=tensor((1,), place=HUGE)),
    "no alignment": lambda path: gguf_file(path, value(4, struct.pack("<I", 0), b"general.alignment")),
    "an odd alignment": lambda path: gguf_file(path, value(4, struct.pack("<I", 48), b"general.alignment")),
    "an old version": lambda path: raw(path, b"GGUF" + struct.pack("<IQQ", 1, 0, 0)),
    "empty": lambda path: raw(path, b""),
    "a pickle": lambda path: raw(path, b"\x80\x04\x95cos\nsystem\n"),
}


@pytest.mark.parametrize("make", FILES.values(), ids=FILES)
def test_a_hostile_gguf_file_is_refused_in_one_line(tmp_path, make) -> None:
    path = make(tmp_path / "model.gguf")
    with pytest.raises(UserError, match=r"model\.gguf: not a whole GGUF file"):
        open_gguf(path)


def test_tensors_within_each_other_are_refused(tmp_path) -> None:
    two = tensor((8,), place=0, name=b"a") + tensor((8,), place=16, name=b"b")
    path = gguf_file(tmp_path / "model.gguf", tensors=two, counts=(2, 0))
    path.write_bytes(path.read_bytes() + bytes(256))
    with pytest.raises(UserError, match="tensor b begins within another"):
        header.check(path)


def written(path: Path, *, types: Sequence[int] = (1, 1, 1), merges: Sequence[str] = ("a b",), eos: int = 0) -> Path:
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(["a", "b", "ab"])
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(eos)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"types": [1]}, "3 tokens have 1 types"),
        ({"merges": ["ab"]}, "the merge 'ab'"),
        ({"merges": ["a \x1b[2J"]}, "is not of its tokens"),
        ({"eos": 9_999}, "eos_token_id is 9999, and there are 3 tokens"),
    ],
)
def test_a_vocabulary_that_does_not_fit_together_is_refused(tmp_path, changed, says) -> None:
    assert read_vocabulary(written(tmp_path / "sound.gguf")).tokens == ("a", "b", "ab")
    with pytest.raises(UserError, match=re.escape(says)) as raised:
        read_vocabulary(written(tmp_path / "broken.gguf", **changed))
    assert "\x1b" not in one_line(raised.value)


@pytest.mark.parametrize("key", [b"tokenizer.ggml.tokens", b"tokenizer.ggml.merges", b"tokenizer.ggml.token_type"])
def test_lists_of_a_vocabulary_that_are_none_are_refused(tmp_path, key) -> None:
    kind = value(8, struct.pack("<Q", 4) + b"gpt2", b"tokenizer.ggml.model")
    pre = value(8, struct.pack("<Q", 5) + b"qwen2", b"tokenizer.ggml.pre")
    path = gguf_file(tmp_path / "broken.gguf", kind, pre, value(4, struct.pack("<I", 1), key))
    with pytest.raises(UserError, match="is no list"):
        read_vocabulary(path)


def test_texts_of_a_header_that_are_none_and_long_values_are_one_line(tmp_path) -> None:
    path = gguf_file(tmp_path / "broken.gguf", value(8, struct.pack("<Q", 2) + b"\xaf\xff", b"general.name"))
    with pytest.raises(UserError, match="not UTF-8"):
        read_vocabulary(path)
    long = value(9, struct.pack("<IQ", 0, 50_000) + bytes(50_000), b"tokenizer.ggml.model")
    with pytest.raises(UserError) as raised:
        read_vocabulary(gguf_file(tmp_path / "long.gguf", long))
    assert len(one_line(raised.value)) <= 2000


def test_every_gguf_file_that_is_cut_is_refused(tmp_path) -> None:
    whole = written(tmp_path / "whole.gguf").read_bytes()
    for length in range(0, len(whole) - 40, 7):
        (tmp_path / "cut.gguf").write_bytes(whole[:length])
        with pytest.raises(UserError):
            header.check(tmp_path / "cut.gguf")


# What runs code, nowhere in the sources

FORBIDDEN = {
    # Rows that one task of a Ray Data pipeline hands to the next, in memory, as Ray does itself.
    r"\b(cloud)?pickle\.loads?\(|\bfrom pickle import": "actors/data/",
    r"\b(dill|joblib|shelve)\.|\bimport (dill|joblib|shelve)|\bmarshal\.load": "",
    r"allow_pickle\s*=\s*True": "",
    r"trust_remote_code\s*=\s*(?!False)": "",
    r"\byaml\.(load|unsafe_load|full_load)\(|yaml\.(Unsafe|Full)?Loader\b": "",
    r"torch\.load\((?!.*weights_only=True)": "",
    r"\b(pandas|pd)\.read_pickle\(": "",
    r"\bsympify\(|\bparse_expr\(": "rewards/math/",  # our own whitelist parser makes what these are given
    r"shell\s*=\s*True|os\.system\(|\bos\.popen\(": "",
}


@pytest.mark.parametrize(("pattern", "allowed"), FORBIDDEN.items(), ids=lambda one: one[:20])
def test_nothing_in_the_sources_executes_what_it_reads(pattern, allowed) -> None:
    found = []
    for top in ("srm_ray", "actors", "rewards"):
        for path in (ROOT / top).rglob("*.py"):
            place = str(path.relative_to(ROOT))
            if allowed and place.startswith(allowed):
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if re.search(pattern, line.partition("  #")[0]):
                    found.append(f"{place}:{number}: {line.strip()}")
    assert not found


def test_a_sound_shape_is_within_the_limits() -> None:
    from srm_ray.model import checks

    checks.check_numbers(build(shape("tiny"), seed=0).config, "tiny")
