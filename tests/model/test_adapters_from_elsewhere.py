"""Adapters as PEFT's users leave them: merged into their base, whatever their kind; or refused in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from srm_ray.errors import UserError
from srm_ray.model import adapters, tokenization
from srm_ray.model.lora import load_policy
from tests import families
from tests.model.toy_tokenizers import family

ROWS = 272  # of the base's embedding; its tokenizer has fewer entries


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "base"
    families.build(families.llama(vocab_size=ROWS)).save_pretrained(folder)
    family("chatml").save_pretrained(folder)
    return folder


def with_kind(kind: Callable[[Any], Any], base: Path, folder: Path) -> torch.Tensor:
    """Write an adapter on `base` as PEFT does, its weights random; its logits."""
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = kind(model)
    adapted = get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    adapted.save_pretrained(folder)
    with torch.no_grad():
        return adapted(tokens()).logits


def tokens() -> torch.Tensor:
    return torch.arange(5, 45)[None]


def lora(**options: Any) -> Callable[[Any], Any]:
    from peft import LoraConfig

    return lambda model: LoraConfig(task_type="CAUSAL_LM", r=4, **options)


def ia3(model: Any) -> Any:
    from peft import IA3Config

    return IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"])


def with_added_tokens(model: Any) -> Any:
    """Two tokens added in training, so that embedding and head are saved whole."""
    model.resize_token_embeddings(ROWS + 2)
    return lora(target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"])(model)


KINDS = {
    "lora": lora(target_modules=["q_proj", "down_proj"]),
    "all linear layers": lora(target_modules="all-linear"),
    "rslora": lora(target_modules=["v_proj"], use_rslora=True),
    "dora": lora(target_modules=["o_proj"], use_dora=True),
    "ranks of their own": lora(target_modules=["q_proj", "v_proj"], rank_pattern={"v_proj": 2}),
    "biases": lora(target_modules=["q_proj"], bias="lora_only"),
    "a whole head": lora(target_modules=["q_proj"], modules_to_save=["lm_head"]),
    "added tokens": with_added_tokens,
    "ia3": ia3,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_merged_without_a_tokenizer_of_its_own(kind: str, base: Path, tmp_path: Path) -> None:
    wanted = with_kind(KINDS[kind], base, tmp_path / "adapter")
    assert not tokenization.has_tokenizer(tmp_path / "adapter")
    merged = adapters.merge(tmp_path / "adapter", tmp_path / "merged")
    with torch.no_grad():
        plain = load_policy(str(base)).eval()(tokens()).logits
        got = load_policy(str(merged)).eval()(tokens()).logits
    width = plain.shape[-1]
    assert (wanted[..., :width] - plain).abs().max() > 0.05, "the adapter does something"
    assert torch.allclose(got, wanted, atol=1e-3)
    assert tokenization.load(merged, rows=width).chat_template == family("chatml").chat_template


def test_a_base_beside_the_adapter_is_found_from_anywhere(base: Path, tmp_path: Path) -> None:
    folder = base.parent / "adapter"
    with_kind(KINDS["lora"], base, folder)
    path = folder / "adapter_config.json"
    given = json.loads(path.read_text())
    for named in ("base", "../base"):
        path.write_text(json.dumps({**given, "base_model_name_or_path": named}))
        assert Path(adapters.base_of(folder)).resolve() == base
    path.write_text(json.dumps({**given, "base_model_name_or_path": "../gone"}))
    with pytest.raises(UserError, match=r"its base model ../gone does not exist: put its place in"):
        adapters.base_of(folder)
    path.write_text(json.dumps({**given, "base_model_name_or_path": None}))
    with pytest.raises(UserError, match="names no base model"):
        adapters.base_of(folder)


def test_what_cannot_be_merged_says_so(base: Path, tmp_path: Path) -> None:
    from peft import PromptTuningConfig

    with_kind(lambda model: PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4), base, tmp_path / "prompt")
    with pytest.raises(UserError, match=r"an adapter of the kind .*PROMPT_TUNING cannot be merged"):
        adapters.merge(tmp_path / "prompt", tmp_path / "no")
    other = tmp_path / "other"
    families.build(families.llama(vocab_size=ROWS, hidden_size=32, num_attention_heads=1)).save_pretrained(other)
    family("chatml").save_pretrained(other)
    with_kind(KINDS["lora"], base, tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    given = json.loads(path.read_text())
    path.write_text(json.dumps({**given, "alora_invocation_tokens": [1]}))
    with pytest.raises(UserError, match="cannot be put together: aLoRA does not support merging"):
        adapters.merge(tmp_path / "adapter", tmp_path / "no")
    path.write_text(json.dumps({**given, "base_model_name_or_path": str(other)}))
    with pytest.raises(UserError, match="the two cannot be put together"):
        adapters.merge(tmp_path / "adapter", tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_a_padding_token_without_a_row_is_left_out(tmp_path: Path) -> None:
    """`add_special_tokens({"pad_token": ...})` with the embedding as it was."""
    made = family("chatml")
    rows = len(made)
    made.add_special_tokens({"pad_token": "[PAD]"})
    made.save_pretrained(tmp_path)
    assert len(made) == rows + 1
    found = tokenization.load(tmp_path, rows=rows)
    assert len(found) == rows and found.pad_token == found.eos_token
    assert max(found("[PAD] is text")["input_ids"]) < rows
    assert found("a<|im_end|>")["input_ids"] == family("chatml")("a<|im_end|>")["input_ids"]
    assert len(tokenization.load(tmp_path, rows=rows + 8)) == rows + 1  # a vocabulary padded to a multiple


@pytest.mark.parametrize("what", ["a turn's end", "text"])
def test_other_tokens_without_a_row_are_another_models(tmp_path: Path, what: str) -> None:
    made = family("chatml")
    rows = len(made)
    if what == "text":
        made.add_tokens(["<tool>"])
    else:
        made.add_special_tokens({"eos_token": "<|stop|>"})
    made.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=f"has {rows + 1} entries, its embedding {rows} rows"):
        tokenization.load(tmp_path, rows=rows)


HOSTILE: dict[str, dict[str, Any]] = {
    "imports a module": {"megatron_config": {"a": 1}, "megatron_core": "hostile_module"},
    "imports a library": {"auto_mapping": {"base_model_class": "A", "parent_library": "hostile_module"}},
    "an expression without a bound": {"target_modules": r"(\w|.)*!"},
    "a pattern without a bound": {"rank_pattern": {"([a-z._0-9]+)+!": 4}},
    "a huge rank": {"r": 10**9},
    "a negative rank": {"r": -1},
    "a rank of text": {"r": "many"},
    "a huge scale": {"lora_alpha": 1e308},
    "no numbers": {"lora_alpha": float("nan")},
    "a kind that is none": {"peft_type": "\x1b[2J"},
    "other types": {"target_modules": [[1]]},
    "many names": {"target_modules": ["q_proj"] * 20_000},
    "a base that is a list": {"base_model_name_or_path": [1]},
}


@pytest.mark.parametrize("changed", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_config_is_refused_in_one_line_and_runs_nothing(
    changed: dict[str, Any], base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, ran = tmp_path / "adapter", tmp_path / "ran"
    with_kind(lora(target_modules=["q_proj"]), base, folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
    (tmp_path / "hostile_module.py").write_text(f"open({str(ran)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError) as refused:
        adapters.merged(folder)
    assert not ran.exists()
    line = str(refused.value)
    assert len(line) < 600 and "\n" not in line and "\x1b" not in line


@pytest.mark.parametrize("text", ["[1]", "[" * 100_000, "7", "\x00", ""])
def test_a_config_that_is_none_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(UserError, match=r"adapter_config\.json"):
        adapters.base_of(tmp_path)


def test_an_adapter_on_itself_does_not_go_round(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    with_kind(lora(target_modules=["q_proj"]), base, folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": str(folder)}))
    (folder / "config.json").write_text((base / "config.json").read_text())
    with pytest.raises(UserError, match="is an adapter itself"):
        adapters.merged(folder)
