"""Filters, contamination and duplicates; the mixture's shares."""

import os
from pathlib import Path

import pytest

from srm_ray.data import screening
from srm_ray.data.mixture import plan, stretches
from srm_ray.errors import UserError

LIMITS = {"min_characters": 200, "max_characters": 1000, "min_words": 30, "max_non_ascii": 0.3}
SHARED = Path(os.environ.get("SRM_SHARED_DATA", Path(__file__).resolve().parents[2] / ".." / "shared" / "data"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("word " * 60, ""),
        ("word " * 10, "too short"),
        ("word " * 300, "too long"),
        ("a" * 300, "too few words"),
        ("wört üüüü " * 30, "non-ASCII"),
    ],
)
def test_filters_name_the_reason(text: str, reason: str) -> None:
    assert screening.reason_to_drop(text, **LIMITS) == reason  # type: ignore[arg-type]


def numbered(first: int, count: int) -> str:
    return " ".join(f"w{number}" for number in range(first, first + count))


def test_a_shared_13_gram_is_found_and_12_words_are_not() -> None:
    guard = screening.Guard.of([numbered(0, 40)])
    assert guard.contaminated(f"Before, {numbered(20, 13).upper()}! After.")
    assert not guard.contaminated(f"Before, {numbered(20, 12)}! After.")


def test_the_guard_knows_gsm8ks_test_set() -> None:
    from actors.corpus import evaluation_prompts

    path = SHARED / "gsm8k" / "test.jsonl"
    if not path.is_file():
        pytest.skip(f"REAL DATA MISSING: {path} (set SRM_SHARED_DATA)")
    prompts = list(evaluation_prompts([str(path)]))
    assert len(prompts) == 1319
    guard = screening.Guard.of(prompts)
    assert all(
        guard.contaminated(f"Read this. {prompt} Done.") for prompt in prompts if len(screening.words(prompt)) >= 13
    )
    assert not guard.contaminated(numbered(0, 500))


def test_minhash_estimates_jaccard() -> None:
    first, second = numbered(0, 1000), numbered(100, 1000)
    estimate = (screening.minhash(first) == screening.minhash(second)).mean()
    assert estimate == pytest.approx(896 / 1096, abs=0.12)


def test_duplicates_are_dropped_in_order() -> None:
    seen = screening.Seen(near=0.8)
    texts = [numbered(0, 500), numbered(0, 500), numbered(5, 500), numbered(5000, 500)]
    found = [seen.duplicate(screening.digest(text), screening.minhash(text)) for text in texts]
    assert found == ["", "exact duplicate", "near duplicate", ""]


def test_shares_hold_within_one_percent_in_every_phase() -> None:
    lengths = {name: [50 + (7 * n) % 90 for n in range(3000)] for name in ("web", "code", "math")}
    phases = [(0.3, {"web": 0.4, "code": 0.35, "math": 0.25}), (1.0, {"web": 0.1, "code": 0.2, "math": 0.7})]
    order = plan(lengths, stretches(200_000, phases))
    for number, (_, shares) in enumerate(phases):
        tokens = {name: sum(lengths[s][i] for s, i, p in order if p == number and s == name) for name in lengths}
        for name, share in shares.items():
            assert tokens[name] / sum(tokens.values()) == pytest.approx(share, abs=0.01)
    assert len({(source, index) for source, index, _ in order}) == len(order), "a document is used once"


def test_a_source_that_runs_out_is_named() -> None:
    with pytest.raises(UserError, match="'b' than it holds"):
        plan({"a": [10] * 1000, "b": [10] * 3}, stretches(1000, [(1.0, {"a": 0.5, "b": 0.5})]))
