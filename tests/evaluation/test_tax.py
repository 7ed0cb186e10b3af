"""The capability tax: deltas, what is real, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from srm_ray.errors import UserError
from srm_ray.evaluation import results, statistics, tax
from srm_ray.evaluation.results import Results, SuiteResult
from srm_ray.evaluation.tables import results_table, tax_table

SETTINGS = {"problems": 400, "sampling": {"temperature": 0.0}, "seed": 1}


def suite(name: str, values: list[float], **settings) -> SuiteResult:
    score = statistics.mean_share(values, seed=0)
    return SuiteResult(name, "pass@1", score, values, SETTINGS | settings)


def of(model: str, *suites: SuiteResult) -> Results:
    return Results(model, "", {one.suite: one for one in suites})


RIGHT_HALF = [1.0] * 200 + [0.0] * 200


def test_a_small_paired_loss_is_real_where_unpaired_intervals_touch() -> None:
    """16 of 400 problems lost, none won: 4 points, far within either model's own interval."""
    model, parent = suite("gsm8k", [0.0] * 16 + RIGHT_HALF[16:]), suite("gsm8k", RIGHT_HALF)
    (delta,) = tax.compare(of("m", model), of("p", parent), seed=0).deltas
    assert delta.delta == pytest.approx(-0.04)
    assert delta.verdict == "loss"
    assert model.score.high > parent.score.low


def test_as_many_won_as_lost_is_noise() -> None:
    swapped = [0.0] * 16 + [1.0] * 184 + [1.0] * 16 + [0.0] * 184
    compared = tax.compare(of("m", suite("a", swapped)), of("p", suite("a", RIGHT_HALF)), seed=0)
    assert compared.deltas[0].delta == 0
    assert compared.deltas[0].verdict == ""
    assert compared.losses == []


def test_a_gain_is_no_loss() -> None:
    gained = tax.compare(of("m", suite("a", [1.0] * 400)), of("p", suite("a", RIGHT_HALF)), seed=0)
    assert gained.deltas[0].verdict == "gain"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampling": {"temperature": 0.6}}, r"sampling.temperature is 0.0 here and 0.6 there"),
        ({"problems": 399}, "problems is 400 here and 399 there"),
        ({"problems_digest": "x"}, "problems_digest is None here and 'x' there"),
        ({"seed": 2}, "seed is 1 here and 2 there"),
    ],
)
def test_other_settings_are_refused_by_name(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        tax.compare(of("m", suite("a", RIGHT_HALF)), of("p", suite("a", RIGHT_HALF, **change)), seed=0)


def test_another_metric_is_refused() -> None:
    other = replace(suite("a", RIGHT_HALF), metric="acc,none")
    with pytest.raises(UserError, match=r"metric is 'pass@1' here and 'acc,none' there"):
        tax.compare(of("m", suite("a", RIGHT_HALF)), of("p", other), seed=0)


def test_a_suite_that_the_parent_lacks_is_refused() -> None:
    with pytest.raises(UserError, match="p was not measured on b"):
        tax.compare(of("m", suite("a", RIGHT_HALF), suite("b", RIGHT_HALF)), of("p", suite("a", RIGHT_HALF)), seed=0)


def test_results_read_back_as_they_were(tmp_path: Path) -> None:
    one = replace(suite("a", [0.5, 1.0]), more={"pass@2": statistics.mean_share([1, 1], seed=0)})
    one = replace(one, truncated=statistics.mean_share([0, 1], seed=0), tokens_mean=3.5, undecided=1)
    made = of("m", one)
    made.save(tmp_path)
    assert results.read(tmp_path) == made


def test_what_is_no_result_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no finished evaluation"):
        results.read(tmp_path)
    (tmp_path / results.FILE).write_text('{"model": 1}')
    with pytest.raises(UserError, match="is not the results of an evaluation"):
        results.read(tmp_path)


def test_tables_and_file_name_the_losses(tmp_path: Path) -> None:
    model = of("m", suite("gsm8k", [0.0] * 400), suite("svamp", RIGHT_HALF))
    made = tax.compare(model, of("p", suite("gsm8k", RIGHT_HALF), suite("svamp", RIGHT_HALF)), seed=0)
    table = tax_table(made)
    assert table[2].split()[:4] == ["gsm8k", "50.00", "0.00", "-50.0"]
    assert table[2].endswith("LOSS")
    assert table[3].endswith("within noise")
    made.save(tmp_path)
    saved = json.loads((tmp_path / tax.FILE).read_text())
    assert saved["real_losses"] == ["gsm8k"]
    assert [one["verdict"] for one in saved["suites"]] == ["loss", ""]
    published = results_table(model, {"gsm8k": 8.04}, "Tiny Think SFT")
    assert published[0].endswith("Tiny Think SFT")
    assert published[2].endswith("8.04")
