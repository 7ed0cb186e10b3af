"""Files of rows, models, adapters and in GGUF with bytes or values changed at random: read, or refused in one line."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import csv, parquet

from srm_ray.config.formats import FORMATS
from srm_ray.data.problem_files import read_problems
from srm_ray.data.reading import RowSource
from srm_ray.errors import UserError, one_line
from srm_ray.gguf.reader import open_model_file
from srm_ray.gguf.writer import write_gguf
from srm_ray.model import adapters
from srm_ray.model.loading import open_model
from tests.gguf.models import qwen3
from tests.model.test_adapters_from_elsewhere import lora, with_kind

VALUES: list[Any] = [
    None,
    [],
    {},
    True,
    -1,
    10**30,
    float("nan"),
    "",
    "\x1b]52;c;aGk=\x07",
    [[[]]],
    {"a": {"b": 1}},
    2**63,
]
ROWS = [{"problem": f"What is {n}+1?", "answer": str(n + 1), "source": "s", "extra": {"level": n}} for n in range(8)]
FUZZ = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def spoiled(content: bytes, draw: Random) -> bytes:
    """Some bytes flipped, left out, doubled or put in."""
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 8, 64])):
        at = draw.randrange(max(1, min(len(changed), draw.choice([16, 300, len(changed) or 1]))))
        how = draw.randrange(5)
        if how == 0 and changed:
            changed[at % len(changed)] ^= 1 << draw.randrange(8)
        elif how == 1:
            del changed[at : at + draw.choice([1, 7, 400])]
        elif how == 2:
            changed[at:at] = changed[at : at + 50]
        elif how == 3:
            changed[at:at] = draw.choice([b"\xff", b"\0", b"\n", b'"', b"{", b"]", b"\xed\xa0\x80", b"9" * 5000])
        elif changed:
            changed[at % len(changed) : at % len(changed) + 8] = draw.choice([0, 1, 2**63, 2**64 - 1]).to_bytes(
                8, "little"
            )
    return bytes(changed)


def revalued(content: bytes, draw: Random) -> bytes:
    """One value of a JSON text changed or taken out."""
    plain = json.loads(content)
    places: list[tuple[Any, Any]] = []
    waiting = [plain]
    while waiting:
        node = waiting.pop()
        for name in node if isinstance(node, dict) else range(len(node)):
            places.append((node, name))
            if isinstance(node[name], dict | list):
                waiting.append(node[name])
    node, name = draw.choice(places)
    node[name] = draw.choice(VALUES)
    if draw.random() < 0.3:
        del node[name]
    return json.dumps(plain).encode()


def read_or_refused(read: Callable[[], object]) -> None:
    try:
        read()
    except UserError as error:
        line = one_line(error)
        assert 0 < len(line) < 2000 and "\x1b" not in line, line[:300]


def write_rows(folder: Path) -> list[Path]:
    table = pa.Table.from_pylist(ROWS)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    (folder / "rows.jsonl").write_bytes(lines)
    (folder / "rows.json").write_text(json.dumps(ROWS))
    (folder / "rows.jsonl.gz").write_bytes(gzip.compress(lines))
    parquet.write_table(table, folder / "rows.parquet")
    csv.write_csv(table.drop(["extra"]), folder / "rows.csv")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in write_rows(tmp_path_factory.mktemp("rows"))}


@pytest.mark.integration  # golds that are odd are looked at in a grading process
@FUZZ
@given(draw=st.randoms(use_true_random=False))
def test_rows(rows: dict[str, bytes], tmp_path: Path, draw: Random) -> None:
    name = draw.choice(sorted(rows))
    content = rows[name]
    if name == "rows.jsonl" and draw.random() < 0.6:
        lines = content.splitlines()
        at = draw.randrange(len(lines))
        content = b"\n".join([*lines[:at], revalued(lines[at], draw), *lines[at + 1 :]])
    else:
        content = spoiled(content, draw)
    path = tmp_path / name
    path.write_bytes(content)
    read_or_refused(lambda: read_problems(RowSource(str(path)), "fuzz", measuring=True))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return qwen3(tmp_path_factory.mktemp("sound") / "model")


@FUZZ
@given(draw=st.randoms(use_true_random=False))
def test_a_model_folder(model: Path, tmp_path_factory: pytest.TempPathFactory, draw: Random) -> None:
    folder = tmp_path_factory.mktemp("model")
    for path in model.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    path = draw.choice(sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors")))
    content = path.read_bytes()
    as_json = path.suffix == ".json" and draw.random() < 0.7
    path.write_bytes(revalued(content, draw) if as_json else spoiled(content, draw))
    read_or_refused(lambda: open_model(str(folder)))


@pytest.fixture(scope="module")
def adapter(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound") / "adapter"
    with_kind(lora(target_modules=["q_proj", "down_proj"], rank_pattern={"q_proj": 2}), model, folder)
    return folder


@settings(FUZZ, max_examples=20)
@given(draw=st.randoms(use_true_random=False))
def test_an_adapter(adapter: Path, tmp_path: Path, draw: Random) -> None:
    for path in adapter.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config, weights = tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"
    if draw.random() < 0.7:
        content = config.read_bytes()
        config.write_bytes(revalued(content, draw) if draw.random() < 0.7 else spoiled(content, draw))
    else:
        weights.write_bytes(spoiled(weights.read_bytes(), draw))
    read_or_refused(lambda: adapters.merged(tmp_path))


@pytest.fixture(scope="module")
def gguf_file(model: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    target = tmp_path_factory.mktemp("gguf") / "model.gguf"
    return write_gguf(model, target, FORMATS["q8_0"], name="model").read_bytes()


@FUZZ
@given(draw=st.randoms(use_true_random=False))
def test_a_gguf_file(gguf_file: bytes, tmp_path: Path, draw: Random) -> None:
    path = tmp_path / "spoiled.gguf"
    path.write_bytes(spoiled(gguf_file, draw))
    read_or_refused(lambda: open_model_file(path))
