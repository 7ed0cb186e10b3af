"""Regular expressions of a tokenizer from elsewhere: those that published ones have, and those without a bound."""

import json
import os
from pathlib import Path

import pytest

from srm_ray.errors import UserError
from srm_ray.model.checks import check_files
from srm_ray.model.tokenization import QWEN2_REGEX
from srm_ray.model.tokenizer_file import check, why_unbounded

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
PUBLISHED = [
    QWEN2_REGEX,
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)",
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}?|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|\s*[\r\n]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*",
    r" ?[^(\s|[.,!?…。，、।۔،])]+",
    r"[\p{Han}]+|[\p{Lu}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}&&[^\p{Han}]]+(?i:'s|'t)?",
    r"\p{N}{3}(?=(?:\p{N}{3})*\b)",
    r"(?=(\d{3})+(?!\d))",
    r"\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$",
    r"[[:alpha:]]+|[]x]+",
    r"(?<word>\p{L}+)",
]
UNBOUNDED = [
    r"(a+)+$",
    r"(a|a)*b",
    r"(a|aa)+$",
    r"(\p{L}+\s?)*!",
    r"([\p{L}]*)*!",
    r"(x+x+)+y",
    r"\s*\s*\s*\s*\s*\s*\s*\s*x",
    r"\p{L}*\p{L}*\p{L}*[^\p{L}\s]\p{L}",
    r"(a?){50}a{50}",
    r"a{0,60}a{0,60}a{0,60}a{0,60}a{0,60}b",
    r"((a{1,50}){1,50}){1,50}b",
    r"(a*)\1{9}b",
    r"(?<n>a+)\k<n>",
    r"(?>a+b?)+c",
    r"(?=(a+)+b)c",
    r"(?i)(?:a|b|ab)*?c",
    r"(?R)",
    "(" * 5000,
    "a" * 30_000,
]


@pytest.mark.parametrize("expression", PUBLISHED, ids=lambda one: one[:20])
def test_expressions_of_published_tokenizers_are_taken(expression: str) -> None:
    assert why_unbounded(expression) == ""


@pytest.mark.parametrize("expression", UNBOUNDED, ids=lambda one: one[:20])
def test_expressions_without_a_bound_are_refused(expression: str) -> None:
    assert why_unbounded(expression) != ""


def replace(found: dict[str, str], content: str) -> dict[str, object]:
    return {"type": "Replace", "pattern": found, "content": content}


HOSTILE = {
    "normalizer": {"normalizer": replace({"Regex": "(a+)+$"}, "b")},
    "within a sequence": {
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "(a|a)*b"}}]}
    },
    "decoder": {"decoder": {"type": "Sequence", "decoders": [replace({"Regex": "(.*)*x"}, "")]}},
    "growth": {"normalizer": {"type": "Sequence", "normalizers": [replace({"String": "a"}, "aa")] * 40}},
    "growth from nothing": {"normalizer": replace({"Regex": ""}, "a" * 5000)},
    "padding": {"padding": {"strategy": {"Fixed": 10**12}}},
    "identity": {"added_tokens": [{"id": 10**15, "content": "<x>"}]},
}


@pytest.mark.parametrize("parts", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_tokenizer_is_refused_in_one_line(parts: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE", "vocab": {"a": 0}}, **parts}))
    with pytest.raises(UserError, match="its tokenizer cannot be loaded") as refused:
        check(tmp_path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    """A pipe, which nobody writes into, and a device without an end."""
    for name, make in (
        ("tokenizer.json", os.mkfifo),
        ("model.safetensors", os.mkfifo),
        ("config.json", lambda path: Path(path).symlink_to("/dev/zero")),
        ("vocab.json", lambda path: Path(path).symlink_to(tmp_path / "nothing")),
    ):
        make(tmp_path / name)
        with pytest.raises(UserError, match=f"{name} is no file"):
            check_files(tmp_path)
        (tmp_path / name).unlink()
    (tmp_path / "real").write_text("{}")
    (tmp_path / "config.json").symlink_to("real")  # as the hub's cache has them
    check_files(tmp_path)


def test_a_config_larger_than_any_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "config.json").open("wb") as file:
        file.truncate(40 << 20)
    with pytest.raises(UserError, match="larger than 32 MB"):
        check_files(tmp_path)
