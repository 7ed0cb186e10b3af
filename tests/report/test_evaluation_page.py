"""The page of an evaluation: scores, the capability tax as a chart, samples by suite."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rewards.verdict import Verdict
from srm_ray.evaluation import samples, statistics, tax
from srm_ray.evaluation.grading import Sample
from srm_ray.evaluation.results import Results, SuiteResult
from srm_ray.evaluation.suites import Item
from srm_ray.inference.completers import ChatCompletion
from srm_ray.report import evaluation_summary, run_data
from srm_ray.report.page import write_report
from srm_ray.runs.folder import RunFolder
from tests.report import browser, example_run

pytestmark = pytest.mark.integration

PROGRAM = browser.find()


def make(path: Path) -> RunFolder:
    """Two suites of four problems: gsm8k lost, svamp as before."""
    folder = RunFolder(path, stage="evaluate")
    folder.create()
    suites = {}
    for name, values in (("gsm8k", [0.0, 0.0, 0.0, 0.0]), ("svamp", [1.0, 0.0, 1.0, 0.0])):
        file = samples.SampleFile(folder.path / "samples" / f"{name}.jsonl", 1)
        for index, value in enumerate(values):
            said = ChatCompletion(
                f"{name} question {index}\n<think>\n", f"so</think>{example_run.HOSTILE}", 9, False, 1
            )
            sample = Sample(said, Verdict(value == 1, "correct", answer="7"), 0, True, False)
            file.add(index, samples.lines_of(Item(index, "q", answer="7"), [sample]))
        suites[name] = SuiteResult(name, "pass@1", statistics.mean_share(values, seed=0), values, {"problems": 4})
    results = Results("runs/x/final", "", suites)
    results.save(folder.path)
    before = {name: replace(one, values=[1.0, 1.0, 1.0, 1.0]) for name, one in suites.items() if name == "gsm8k"}
    tax.compare(results, Results("parent", "", suites | before), seed=0).save(folder.path)
    evaluation_summary.link_samples(folder, list(suites))
    return folder


def test_what_the_page_is_told(tmp_path: Path) -> None:
    run = run_data.load(make(tmp_path / "r"))
    assert [one["suite"] for one in run["evaluation"]["suites"]] == ["gsm8k", "svamp"]
    assert "values" not in run["evaluation"]["suites"][0]
    assert run["evaluation"]["tax"]["real_losses"] == ["gsm8k"]
    assert run["step_names"] == {1: "gsm8k", 2: "svamp"}


def test_a_training_run_has_no_evaluation(tmp_path: Path) -> None:
    run = run_data.load(example_run.make(tmp_path / "r"))
    assert run["evaluation"] is None
    assert run["step_names"] == {}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Page]:
    if PROGRAM is None:
        pytest.skip("NOT TESTED: the report's page needs Chromium (apt-get install chromium), and there is none")
    with browser.start(PROGRAM, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def test_what_is_drawn(page: browser.Page, tmp_path: Path) -> None:
    page.open(write_report(make(tmp_path / "r")).as_uri())
    assert page.evaluate("document.documentElement.dataset.error || ''") == ""
    table = page.text("#scores")
    assert all(text in table for text in ("gsm8k", "0.0 %", "svamp", "50.0 %"))
    assert "Real losses: gsm8k." in page.text("#tax")
    assert page.evaluate("document.querySelectorAll('#tax .mark.held').length") == 1
    assert page.evaluate("document.querySelectorAll('#tax .mark.c0').length") == 1
    assert page.evaluate("document.querySelector('#curves').hidden") is True
    assert page.evaluate("[...document.querySelectorAll('#toolbar option')].slice(0, 2).map(o => o.textContent)") == [
        "gsm8k",
        "svamp",
    ]
    page.evaluate("(async () => { openStep(2, false); await search(); })()")
    assert "svamp question 0" in page.text("#group .prompt")
    assert page.text("#group .info") == "svampproblem 0"
    assert page.text("#status") == "evaluation · 2 suites"
    assert page.evaluate("document.title") == "r · srm_ray run"


def test_a_training_runs_page_shows_its_curves(page: browser.Page, tmp_path: Path) -> None:
    page.open(write_report(example_run.make(tmp_path / "r")).as_uri())
    assert page.evaluate("document.querySelector('#evaluation').hidden") is True
    assert page.evaluate("document.querySelector('#curves').hidden") is False
