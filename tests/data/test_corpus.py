"""The data pipeline on Ray Data: what goes in, what comes out, and that nothing else matters."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from actors.data.corpus import build_corpus
from srm_ray.config.stages import CorpusConfig
from srm_ray.data.packing import documents, open_rows, rows_fingerprint
from srm_ray.data.rendering import encode_document
from srm_ray.errors import UserError
from srm_ray.model import tokenization

pytestmark = pytest.mark.integration

WORDS = [first + second for first in ("ba", "de", "ki", "lo", "mu", "ra") for second in ("n", "st", "ck", "ver", "ly")]


def texts(seed: int, count: int, words: int = 90) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randrange(60, words))) for _ in range(count)]


def jsonl(path: Path, found: Sequence[str]) -> str:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in found))
    return str(path)


@pytest.fixture(scope="module")
def build(ray_session: Any, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Build a corpus from config values; returns (report, folder)."""

    def made(*, held_out: float = 0.0, seed: int = 1, **values: Any) -> Any:
        folder = tmp_path_factory.mktemp("corpus")
        config = CorpusConfig(**({"row_length": 128} | values))
        return build_corpus(config, str(tiny_model), folder, seed=seed, held_out=held_out), folder

    return made


def test_text_jsonl_and_parquet_give_the_documents(build: Any, tiny_model: Path, tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    found = texts(1, 30)
    jsonl(tmp_path / "a.jsonl", found)
    pyarrow.parquet.write_table(pyarrow.table({"id": list(range(30)), "text": found}), tmp_path / "a.parquet")
    (tmp_path / "many").mkdir()
    for number, text in enumerate(found):
        (tmp_path / "many" / f"{number:02}.txt").write_text(text)
    built = [build(path=str(tmp_path / name), row_length=1024) for name in ("a.jsonl", "a.parquet", "many")]
    tokenizer = tokenization.load(tiny_model)
    wanted = sorted(encode_document(tokenizer, text) for text in found)
    for report, folder in built:
        assert sorted(ids.tolist() for ids, _ in documents(open_rows(folder / "rows"))) == wanted
        assert sum(report.kept.values()) == 30
    assert len({rows_fingerprint(open_rows(folder / "rows")) for _, folder in built}) == 1


def test_the_number_of_workers_does_not_change_the_shards(
    build: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from srm_ray.data import reading

    # Pieces of 4 kB, so that several workers have work.
    small = reading.pieces
    monkeypatch.setattr(reading, "pieces", lambda files: small(files, 4096))
    found = texts(2, 400)
    path = jsonl(tmp_path / "a.jsonl", [*found, *found[:50], *(text + " end" for text in found[50:80])])
    reports = []
    for workers in (1, 3):
        report, folder = build(path=path, workers=workers, filters={"near": 0.7})
        rows = open_rows(folder / "rows")
        reports.append((report.to_plain(), rows_fingerprint(rows)))
    assert reports[0] == reports[1]
    assert reports[0][0]["dropped"] == {"data": {"exact duplicate": 50, "near duplicate": 30}}
    assert reports[0][0]["kept"] == {"data": 400}


def test_shares_are_of_tokens_in_every_phase(build: Any, tmp_path: Path) -> None:
    # Documents of one source are ten times as long: shares of documents would be far off.
    paths = {"web": texts(3, 300), "code": texts(4, 40, words=900)}
    sources = {name: {"path": jsonl(tmp_path / f"{name}.jsonl", found)} for name, found in paths.items()}
    phases = [{"until": 0.3, "shares": {"web": 0.8, "code": 0.2}}, {"until": 1.0, "shares": {"web": 0.3, "code": 0.7}}]
    report, folder = build(sources=sources, phases=phases, tokens=20_000)
    assert report.mixed["web"] / 20_000 == pytest.approx(0.3 * 0.8 + 0.7 * 0.3, abs=0.001)
    assert sum(report.mixed.values()) == 20_000
    assert int((open_rows(folder / "rows").tokens != 0).sum()) == 20_000


def test_a_contaminated_document_fails_the_build_by_name(build: Any, tmp_path: Path) -> None:
    found = texts(5, 20)
    prompt = " ".join(f"w{number}" for number in range(20))
    found[6] += f" {prompt} and more"
    path = jsonl(tmp_path / "web.jsonl", found)
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": prompt, "answer": "1"}) + "\n")
    with pytest.raises(UserError, match=r"web\.jsonl:7: the document .* shares a 13-gram"):
        build(path=path, evaluation=[str(tmp_path / "test.jsonl")])


def test_wrong_lines_are_named(build: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n\n{"text": "cut\n')
    with pytest.raises(UserError, match=r"a\.jsonl:3: not JSON"):
        build(path=str(path))
    path.write_text('{"text": "fine"}\n{"txt": "other"}\n')
    with pytest.raises(UserError, match=r"a\.jsonl:2: no text; the fields are txt"):
        build(path=str(path))


def test_nothing_left_says_why(build: Any, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", ["short", "é" * 300 + " a" * 40])
    with pytest.raises(UserError, match=r"no documents are left.*0 of 2 documents kept.*1 non-ASCII, 1 too short"):
        build(path=path)


def test_a_source_that_runs_out_is_named(build: Any, tmp_path: Path) -> None:
    sources = {name: {"path": jsonl(tmp_path / f"{name}.jsonl", texts(n, 20))} for n, name in enumerate("ab")}
    with pytest.raises(UserError, match=r"takes 100000 tokens of source 'b'"):
        build(sources=sources, tokens=100_000, phases=[{"until": 1.0, "shares": {"b": 1.0}}])


def test_held_out_rows_are_spread_and_never_trained_on(build: Any, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", texts(8, 200))
    report, folder = build(path=path, held_out=0.1)
    train, held = open_rows(folder / "rows"), open_rows(folder / "eval")
    assert (len(train), len(held)) == (report.rows, report.held_out)
    assert len(held) == pytest.approx(0.1 * (len(train) + len(held)), abs=1)
    whole, _ = build(path=path)
    assert whole.rows == report.rows + report.held_out
    seen = {row.tobytes() for row in np.asarray(train.tokens)}
    assert not any(row.tobytes() in seen for row in np.asarray(held.tokens))


def test_a_datasets_name_gives_the_documents_of_its_files(build: Any, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    path = jsonl(tmp_path / "hub" / "train.jsonl", texts(10, 40))
    from_file, from_name = build(path=path), build(sources={"data": {"name": str(tmp_path / "hub")}})
    assert from_name[0].kept == from_file[0].kept == {"data": 40}
    prints = [rows_fingerprint(open_rows(folder / "rows")) for _, folder in (from_file, from_name)]
    assert prints[0] == prints[1]
    with pytest.raises(UserError, match=r"data\.sources\.x\.name .*nowhere .* cannot be loaded"):
        build(sources={"x": {"name": str(tmp_path / "nowhere")}})


def test_a_limit_reads_so_many_documents(build: Any, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", texts(9, 50))
    report, _ = build(sources={"a": {"path": path, "limit": 12}})
    assert report.read == {"a": 12}


def test_a_long_text_file_is_many_documents_of_whole_lines(tmp_path: Path) -> None:
    from srm_ray.data import reading

    lines = [f"line {number} " + "x" * 90 + "\n" for number in range(40_000)]
    (tmp_path / "a.txt").write_text("".join(lines))
    pieces = reading.pieces([tmp_path / "a.txt"], 1_500_000)
    found = [text.decode() for piece in pieces for _, text in reading.runs(reading.lines(piece))]
    assert "".join(found) == "".join(lines)
    assert len(found) > 3 and all(len(text) <= 1 << 20 and text.endswith("\n") for text in found)
