"""Opening a model folder: is it one, does its tokenizer fit, how long is its context, what ends a turn."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srm_ray.errors import UserError
from srm_ray.model.adapters import is_adapter, merged_folder


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """path: folder or hub name of plain weights; of an adapter, where it lies merged into its base.

    context: positions the model was made for. vocabulary: rows of its embedding.

    stop_token_ids: tokens that end a completion.
    """

    path: str
    context: int
    vocabulary: int
    stop_token_ids: tuple[int, ...]
    tokenizer: Any


def open_model(name: str) -> ModelFacts:
    """Facts of a Hugging Face folder, an adapter's folder or a hub name.

    An adapter is merged into its base first. Raises `UserError` where it is not a model or does not fit together.
    """
    path = Path(name)
    if is_adapter(path):
        path = merged_folder(path)
        name = str(path)
    looks_local = path.exists() or name.startswith((".", "/", "~", "runs/"))
    if looks_local and not (path / "config.json").is_file():
        raise UserError(f"--model {name}: not a model folder (no config.json in it)")
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(name)
        tokenizer = AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--model {name}: cannot be opened: {reason}") from None
    vocabulary = getattr(config, "vocab_size", 0)
    if len(tokenizer) > vocabulary:
        raise UserError(
            f"--model {name}: its tokenizer has {len(tokenizer)} entries, its embedding {vocabulary} rows: "
            "the tokenizer belongs to another model"
        )
    context = getattr(config, "max_position_embeddings", 0) or tokenizer.model_max_length
    return ModelFacts(name, int(context), vocabulary, _stop_ids(path, config, tokenizer), tokenizer)


def _stop_ids(path: Path, config: Any, tokenizer: Any) -> tuple[int, ...]:
    """End-of-turn tokens: the generation config's, the model's, the tokenizer's."""
    found: list[int] = []
    generation = path / "generation_config.json"
    sources = [config.eos_token_id if hasattr(config, "eos_token_id") else None, tokenizer.eos_token_id]
    if generation.is_file():
        sources.insert(0, json.loads(generation.read_text()).get("eos_token_id"))
    for source in sources:
        for token in source if isinstance(source, list) else [source]:
            if isinstance(token, int) and token not in found:
                found.append(token)
    if not found:
        raise UserError(f"--model {path}: neither its config nor its tokenizer names an end-of-sequence token")
    return tuple(found)
