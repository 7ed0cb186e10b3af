"""One GGUF file to a Hugging Face folder: the inverse of `srm_ray.gguf.writer`.

header -> Architecture -> config.json;  header -> Vocabulary -> tokenizer;  tensors, de-quantised one at a time
       -> model.safetensors;  lineage.json: the file, its checksum, the types of its tensors
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.errors import UserError
from srm_ray.gguf.architecture import Architecture, Tensor
from srm_ray.gguf.configuration import config_of
from srm_ray.gguf.metadata import Tables, architecture_from, shortest
from srm_ray.gguf.vocabulary import Vocabulary, header_of, open_gguf, tokenizer_of, vocabulary_from

if TYPE_CHECKING:
    from gguf import GGUFReader

ORIGIN_KEYS = (
    "name",
    "basename",
    "organization",
    "license",
    "license.link",
    "source.url",
    "source.huggingface.repository",
)


@dataclass(frozen=True, slots=True)
class GgufModel:
    """An open file. model, vocabulary: what it holds. types: how many tensors there are of each of ggml's types.

    origin: what the file says about where it comes from, by key.
    """

    path: Path
    model: Architecture
    vocabulary: Vocabulary
    types: dict[str, int]
    origin: dict[str, str]
    stored: dict[str, Any]

    def read(self, tensor: Tensor) -> Any:
        """De-quantised, as transformers has it: numpy float32 of the tensor's shape. Raises `UserError` where it holds
        what is no number."""
        import gguf
        import numpy as np

        stored = self.stored[tensor.name]
        values = gguf.quants.dequantize(stored.data, stored.tensor_type).astype(np.float32, copy=False)
        if not np.isfinite(values).all():
            raise UserError(f"{self.path}: {tensor.name} holds values that are no finite numbers")
        return np.require(tensor.restored(values.reshape(tensor.shape)), requirements="W")


def open_model_file(path: Path) -> GgufModel:
    """Everything but the weights, checked. Raises `UserError` where it is no file that can be imported."""
    reader = open_gguf(path)
    try:
        return _opened(path, reader)
    except UserError as error:
        raise UserError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None


def _opened(path: Path, reader: "GGUFReader") -> GgufModel:
    if reader.byte_order != "I":
        raise UserError("its numbers are of the other byte order")
    keys = header_of(reader)
    parts, kind = keys.get("split.count", 1), keys.get("general.type", "model")
    if parts not in (0, 1):
        raise UserError(f"it is one of {parts} parts: join them first (llama-gguf-split --merge)")
    if kind != "model":
        raise UserError(f"it holds no model but {str(kind)[:40]!r}")
    stored = {tensor.name: tensor for tensor in reader.tensors}
    shapes = {name: tuple(int(size) for size in reversed(tensor.shape)) for name, tensor in stored.items()}
    factors = {name: _factors(name, stored[name]) for name in FACTORS if name in stored}
    model = architecture_from(keys, Tables(shapes, factors))
    check_tensors(model, shapes, stored)
    vocabulary = vocabulary_from(keys)
    if len(vocabulary.tokens) != model.vocabulary:
        raise UserError(f"{len(vocabulary.tokens)} tokens, and its embedding has {model.vocabulary} rows")
    types = Counter(tensor.tensor_type.name for tensor in reader.tensors)
    origin = {key: str(keys[f"general.{key}"]) for key in ORIGIN_KEYS if keys.get(f"general.{key}")}
    return GgufModel(path, model, vocabulary, dict(types.most_common()), origin, stored)


FACTORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def _factors(name: str, stored: Any) -> tuple[float, ...]:
    if stored.tensor_type.name != "F32" or stored.data.ndim != 1:
        raise UserError(f"{name} must be a row of numbers in F32")
    return tuple(shortest(value) for value in stored.data.tolist())


def check_tensors(model: Architecture, shapes: dict[str, tuple[int, ...]], stored: dict[str, Any]) -> None:
    """Raise `UserError` where weights are missing, of another shape, of a type that cannot be de-quantised, or have no
    place in such a model."""
    import gguf

    wanted = set()
    for tensor in model.tensors():
        if tensor.name not in shapes:
            raise UserError(f"the weight {tensor.name} is missing")
        if shapes[tensor.name] != tensor.shape:
            raise UserError(f"{tensor.name} has shape {shapes[tensor.name]}, its header says {tensor.shape}")
        kind = stored[tensor.name].tensor_type
        if kind.name not in ("F32", "F16") and kind not in gguf.quants._type_traits:
            raise UserError(f"{tensor.name} is of the type {kind.name}, which is not de-quantised")
        wanted.add(tensor.name)
    if extra := sorted(set(shapes) - wanted):
        raise UserError(f"{extra[0]} has no place in a {model.name} model")


def write_folder(found: GgufModel, folder: Path, dtype: str, *, done: Callable[[int], None] | None = None) -> None:
    """Config, weights, tokenizer and generation config of an open file, into a folder that is made. The lineage, which
    says that a folder is whole, is the caller's. done: called with the parameters written, tensor by tensor."""
    import torch

    from srm_ray.model import tokenization
    from srm_ray.model.folder import GENERATION, write_generation_config
    from srm_ray.model.weight_file import writing

    folder.mkdir(parents=True)
    tokenizer = tokenizer_of(found.vocabulary, context=found.model.context)
    transformers_config(found, dtype).save_pretrained(folder)
    tensors = [tensor for tensor in found.model.tensors() if tensor.source]
    shapes = {tensor.source: tensor.shape for tensor in tensors}
    with writing(folder / "model.safetensors", shapes, dtype) as write:
        for tensor in tensors:
            write(tensor.source, torch.from_numpy(found.read(tensor)))
            if done:
                done(tensor.elements)
    tokenization.save(tokenizer, folder)
    (folder / GENERATION).write_text(json.dumps({"eos_token_id": list(found.vocabulary.ends)}))
    write_generation_config(folder, tokenizer, parent=folder)


def transformers_config(found: GgufModel, dtype: str = "float32") -> Any:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    values = config_of(found.model)
    ids = {f"{name}_token_id": getattr(found.vocabulary, name) for name in ("bos", "eos", "pad")}
    return CONFIG_MAPPING[values.pop("model_type")](**values, **ids, dtype=dtype)


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
