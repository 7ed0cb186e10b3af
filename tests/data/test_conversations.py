"""From conversations to rows of tokens: what is kept, drawn, capped and dropped."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from srm_ray.data import arithmetic, rollout_pairs, supervised
from srm_ray.data.conversations import Example
from srm_ray.data.drops import Unusable
from srm_ray.data.pairs import to_pair
from srm_ray.data.reports import DUPLICATE, Rendered
from srm_ray.errors import UserError
from srm_ray.model import tokenization


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return tokenization.wrap(tokenization.train(arithmetic.tokenizer_texts(1, 1500), 384))


def write(path: Path, *rows: Any) -> str:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return str(path)


def example(text: str) -> Example:
    return Example(({"role": "user", "content": "q"}, {"role": "assistant", "content": text}), (False, True))


def rendered(tokenizer: Any, texts: list[str], longest: int, source: str = "s") -> Any:
    for line, text in enumerate(texts, 1):
        try:
            made = supervised.encode_example(tokenizer, example(text), longest=longest)
            yield Rendered(source, f"{source}:{line}", made.sequences)
        except Unusable as error:
            yield Rendered(source, f"{source}:{line}", reason=str(error))


def select(rows: Any, **options: Any) -> Any:
    return supervised.select_examples(rows, **({"limit": 0, "cap": 1, "seed": 1} | options))


def test_over_long_examples_are_dropped_and_counted(tokenizer: Any) -> None:
    kept, report = select(rendered(tokenizer, ["x", "y" * 500], 100))
    assert (len(kept), report.drops.read) == (1, 2)
    assert report.dropped == {"longer than 100 tokens (data.row_length)": 1}
    with pytest.raises(UserError, match=r"no examples are left.*1 longer than 5 tokens"):
        select(rendered(tokenizer, ["x"], 5))


def test_too_many_that_cannot_be_used_are_refused_with_their_lines(tokenizer: Any) -> None:
    with pytest.raises(UserError, match=r"^50\.0% of 2 rows.*data\.max_dropped 0\.05.*1 longer.* \(s:2\)"):
        select(rendered(tokenizer, ["x", "y" * 500], 100), max_dropped=0.05)


def test_duplicates_are_said_or_dropped_as_asked(tokenizer: Any) -> None:
    kept, report = select(rendered(tokenizer, ["x", "z", "x"], 100))
    assert len(kept) == 3 and report.notes == {DUPLICATE: 1} and not report.dropped
    kept, report = select(rendered(tokenizer, ["x", "z", "x"], 100), drop_duplicates=True, max_dropped=0.0)
    assert len(kept) == 2 and str(report.drops) == "1 duplicates (s:3)"
    made = [Rendered("sums", sequences=row.sequences) for row in rendered(tokenizer, ["x", "x"], 100)]
    assert len(select(made, drop_duplicates=True)[0]) == 2, "what a generator makes twice is drawn twice"


def test_a_report_says_how_rows_were_read_and_what_of_them_plays_no_part(tokenizer: Any) -> None:
    rows = [
        Rendered("s", f"s:{n}", row.sequences, schema="question + answer", unread=("id",) if n else (), notes=("!",))
        for n, row in enumerate(rendered(tokenizer, ["a", "b", "c"], 100))
    ]
    _, report = select(rows)
    assert report.lines()[1:] == [
        "read as question + answer",
        "not used, of the rows' fields: id (2)",
        "3 of 3 rows: !",
    ]


def test_no_source_holds_more_than_its_cap(tokenizer: Any) -> None:
    given = [
        row
        for source, count in (("a", 900), ("b", 60), ("c", 50))
        for row in rendered(tokenizer, [f"{source}{n:019d}" for n in range(count)], 100, source)
    ]
    _, report = select(given, cap=0.5)
    total = sum(report.tokens.values())
    assert report.tokens["a"] / total == pytest.approx(0.5, abs=0.01)
    assert report.tokens["b"] == 60 * report.tokens["c"] // 50


def test_a_limit_draws_by_the_seed(tokenizer: Any) -> None:
    texts = ["x" * (n + 1) for n in range(40)]
    draw = lambda seed: select(rendered(tokenizer, texts, 100), limit=10, seed=seed)[0]  # noqa: E731
    lengths = lambda found: [len(ids) for ids, _ in found]  # noqa: E731
    assert len(draw(1)) == 10 and lengths(draw(1)) == lengths(draw(1)) != lengths(draw(2))
    assert max(lengths(draw(1))) > min(lengths(draw(1))) + 10  # from the whole, not from its beginning


def test_pairs_have_loss_on_the_completion_alone(tokenizer: Any) -> None:
    pair = to_pair({"prompt": "q", "chosen": "good", "rejected": "bad"})
    chosen, rejected = supervised.encode_pair(tokenizer, pair, max_prompt=64, max_completion=64).sequences
    said = tokenizer.decode([token for token, on in zip(*chosen, strict=True) if on])
    assert said == "\n</think>\ngood<|im_end|>"
    prompt = list(chosen[1]).index(True)
    assert chosen[0][:prompt] == rejected[0][:prompt]


@pytest.mark.parametrize(
    ("limits", "chosen", "reason"),
    [
        ({"max_prompt": 2}, "good", "prompt longer than 2 tokens (data.max_prompt)"),
        ({"max_completion": 3}, "good", "completion longer than 3 tokens (data.max_completion)"),
        ({}, "bad", "chosen equals rejected"),
    ],
)
def test_why_pairs_are_dropped(tokenizer: Any, limits: dict[str, int], chosen: str, reason: str) -> None:
    pair = to_pair({"prompt": "q", "chosen": chosen, "rejected": "bad"})
    with pytest.raises(Unusable, match=re.escape(reason)):
        supervised.encode_pair(tokenizer, pair, **({"max_prompt": 64, "max_completion": 64} | limits))
    with pytest.raises(UserError, match=f"no pairs are left.*1 {re.escape(reason)}"):
        supervised.select_pairs([Rendered("p", "p:1", reason=reason)])


def test_pairs_from_rollouts_set_right_against_wrong_of_one_prompt(tokenizer: Any, tmp_path: Path) -> None:
    def row(prompt: int, sample: int, tokens: list[int], correct: bool | None) -> dict[str, Any]:
        line = {"prompt_index": prompt, "draw": 0, "sample": sample, "token_ids": tokens, "correct": correct}
        given = {"prompt": tokenizer.decode([6, prompt]), "prompt_ids": [6, prompt]}
        return line | (given if sample == 0 else {})

    (tmp_path / "rollouts").mkdir()
    rows = [row(20, 0, [30, 7], True), row(20, 1, [31, 7], False), row(20, 2, [32, 7], True), row(20, 3, [33], False)]
    write(tmp_path / "rollouts" / "step_000001.jsonl", *rows, row(21, 0, [40, 7], True), row(21, 1, [41, 7], None))
    pairs, report = rollout_pairs.read(str(tmp_path), tokenizer, [7], seed=1, max_prompt=8, max_completion=8)
    [(chosen, rejected)] = pairs
    assert rejected == ([6, 20, 31, 7], [False, False, True, True])
    assert chosen[0] in ([6, 20, 30, 7], [6, 20, 32, 7])
    assert report.dropped["undecided or cut off"] == 2


def test_what_an_environment_said_is_not_learned_from_a_pair(tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "rollouts").mkdir()
    given = {"prompt": tokenizer.decode([6, 20]), "prompt_ids": [6, 20], "prompt_index": 20, "draw": 0}
    turns = [{"start": 0, "end": 2}, {"start": 4, "end": 6}]
    right = given | {"sample": 0, "token_ids": [30, 7, 50, 51, 32, 7], "correct": True, "episode": {"turns": turns}}
    wrong = given | {"sample": 1, "token_ids": [31, 7], "correct": False, "episode": {"turns": turns[:1]}}
    write(tmp_path / "rollouts" / "step_000001.jsonl", right, wrong)
    [(chosen, rejected)], _ = rollout_pairs.read(str(tmp_path), tokenizer, [7], seed=1, max_prompt=8, max_completion=8)
    assert chosen == ([6, 20, 30, 7, 50, 51, 32, 7], [False, False, True, True, False, False, True, True])
    assert rejected == ([6, 20, 31, 7], [False, False, True, True])
