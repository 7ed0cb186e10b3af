"""Filters, contamination and duplicates; the mixture's shares."""

import os
from pathlib import Path

import numpy as np
import pytest

from srm_ray.data import screening
from srm_ray.data.mixture import cut, plan
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
    from actors.data.corpus import evaluation_prompts

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


def test_the_first_of_duplicates_stays() -> None:
    texts = [numbered(0, 500), numbered(0, 500), numbered(5, 500), numbered(5000, 500), numbered(0, 500)]
    digests = np.frombuffer(b"".join(map(screening.digest, texts)), "V16")
    assert screening.exact_duplicates(digests).tolist() == [False, True, False, False, True]
    signatures = np.stack([screening.minhash(text) for text in texts])
    assert screening.near_duplicates(signatures, 0.8).tolist() == [False, True, True, False, True]


def test_many_documents_have_the_duplicates_that_comparing_all_pairs_finds() -> None:
    draw = np.random.default_rng(1)
    signatures = draw.integers(0, 1 << 32, (300, screening.HASHES), np.uint32)
    for later in range(200, 300):
        # Copies of an earlier document in 60 to 100 % of the hashes.
        same = draw.random(screening.HASHES) < draw.uniform(0.6, 1.0)
        signatures[later, same] = signatures[draw.integers(200), same]
    alike = (signatures[:, None] == signatures[None]).mean(2) >= 0.8
    wanted = [bool(alike[later, :later].any()) for later in range(300)]
    assert screening.near_duplicates(signatures, 0.8).tolist() == wanted
    assert 20 < sum(wanted) < 100


def test_shares_hold_to_the_token_and_every_token_is_used_once() -> None:
    phases = [(0.3, {"web": 0.4, "code": 0.35, "math": 0.25}), (1.0, {"web": 0.1, "code": 0.2, "math": 0.7})]
    planned = plan({"web": 200_000, "code": 200_000, "math": 200_000}, 200_001, phases)
    assert sum(end - start for stretches in planned for start, end in stretches.values()) == 200_001
    for stretches, (_, shares), total in zip(planned, phases, (60_000, 140_001), strict=True):
        for name, share in shares.items():
            start, end = stretches[name]
            assert abs((end - start) - share * total) < 1
    assert all(planned[0][name][1] == planned[1][name][0] for name in ("web", "code", "math"))


def test_pieces_keep_to_documents_rows_and_stretches() -> None:
    lengths = np.array([5, 3, 0, 7, 2])
    assert pieces(lengths, (0, 17), 4) == [(0, 4), (4, 1), (5, 3), (8, 4), (12, 3), (15, 2)]
    assert pieces(lengths, (4, 9), 4) == [(4, 1), (5, 3), (8, 1)]
    assert pieces(lengths, (3, 3), 4) == []


def pieces(lengths: np.ndarray, stretch: tuple[int, int], longest: int) -> list[tuple[int, int]]:
    starts, sizes = cut(lengths, stretch, longest)
    return list(zip(starts.tolist(), sizes.tolist(), strict=True))


def test_a_source_that_runs_out_is_named() -> None:
    with pytest.raises(UserError, match="of source 'b', which holds 30"):
        plan({"a": 1000, "b": 30}, 1000, [(1.0, {"a": 0.5, "b": 0.5})])
