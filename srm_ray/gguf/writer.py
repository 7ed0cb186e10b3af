"""A Hugging Face folder to one GGUF file.

folder: config.json -> Architecture; tokenizer -> Vocabulary; *.safetensors -> tensors, one at a time
        -> <destination>, renamed from a partial file when whole

A tensor is in memory at a time, so a 3B model needs little more than its largest matrix.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.config.formats import FORMATS, Format
from srm_ray.errors import UserError
from srm_ray.files.atomic import replacing_file
from srm_ray.gguf import sentencepiece
from srm_ray.gguf.architecture import Architecture, Tensor, read_architecture
from srm_ray.gguf.formats import tensor_type
from srm_ray.gguf.metadata import keys_of
from srm_ray.gguf.vocabulary import MODEL, Vocabulary, vocabulary_of

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter


def write_gguf(folder: Path, destination: Path, form: Format, *, name: str = "") -> Path:
    """Write `folder`'s model in one format. Raises `UserError` where it cannot be one; leaves nothing partial."""
    from srm_ray.gguf.quantiser import quantise

    model = read_architecture(folder)
    vocabulary = read_tokenizer(folder, model)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(destination) as partial:
        if form.by_llama_cpp:
            full = destination.with_name(f".{destination.name}.f32")
            try:
                write_tensors(folder, full, FORMATS["f32"], model, vocabulary, name)
                quantise(full, partial, form)
            finally:
                full.unlink(missing_ok=True)
        else:
            write_tensors(folder, partial, form, model, vocabulary, name)
    return destination


def read_tokenizer(folder: Path, model: Architecture) -> Vocabulary:
    from srm_ray.model import tokenization

    tokenizer = tokenization.load(folder, rows=model.vocabulary)
    return vocabulary_of(tokenizer, model.vocabulary)


def write_tensors(
    folder: Path, path: Path, form: Format, model: Architecture, vocabulary: Vocabulary, name: str
) -> None:
    import gguf
    import numpy as np

    weights = Weights(folder, model)
    writer = gguf.GGUFWriter(path, model.name)
    add_model(writer, model, form, name)
    add_vocabulary(writer, vocabulary)
    for tensor in model.tensors():
        kind = gguf.GGMLQuantizationType[tensor_type(tensor, form, model)]
        stored = gguf.quant_shape_to_byte_shape(tensor.shape, kind) if is_packed(kind) else tensor.shape
        dtype = np.dtype(np.uint8 if is_packed(kind) else NUMPY[kind.name])
        size = int(np.prod(stored)) * dtype.itemsize
        writer.add_tensor_info(tensor.name, stored, dtype, size, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for tensor in model.tensors():
        kind = gguf.GGMLQuantizationType[tensor_type(tensor, form, model)]
        writer.write_tensor_data(gguf.quants.quantize(weights.read(tensor), kind))
    writer.close()


NUMPY = {"F32": "float32", "F16": "float16"}


def is_packed(kind: "GGMLQuantizationType") -> bool:
    """Whether numpy holds a type as plain bytes."""
    return kind.name not in NUMPY


def add_model(writer: "GGUFWriter", model: Architecture, form: Format, name: str) -> None:
    writer.add_name(name or "model")
    writer.add_file_type(form.file_type)
    writer.add_quantization_version(2)
    add: dict[type, Callable[[str, Any], None]] = {
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
    }
    for key, value in keys_of(model).items():
        add[type(value)](f"{model.name}.{key}", value)


def add_vocabulary(writer: "GGUFWriter", vocabulary: Vocabulary) -> None:
    pieces = bool(vocabulary.scores)
    writer.add_tokenizer_model(sentencepiece.MODEL if pieces else MODEL)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(list(vocabulary.tokens))
    writer.add_token_types(list(vocabulary.types))
    if pieces:
        writer.add_token_scores(list(vocabulary.scores))
        writer.add_add_space_prefix(vocabulary.space_prefix)
    else:
        writer.add_token_merges(list(vocabulary.merges))
    for index, add in (
        (vocabulary.eos, writer.add_eos_token_id),
        (vocabulary.bos, writer.add_bos_token_id),
        (vocabulary.pad, writer.add_pad_token_id),
        (vocabulary.unk, writer.add_unk_token_id),
        (vocabulary.turn_end, writer.add_eot_token_id),
        (vocabulary.message_end, writer.add_eom_token_id),
    ):
        if index is not None:
            add(index)
    writer.add_add_bos_token(vocabulary.add_bos)
    if vocabulary.template:
        writer.add_chat_template(vocabulary.template)


class Weights:
    """The tensors of a folder's safetensors files, read when asked for, checked against the architecture."""

    def __init__(self, folder: Path, model: Architecture) -> None:
        from safetensors import SafetensorError, safe_open

        self._holder: dict[str, Any] = {}
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise UserError(f"{folder}: no weights (no *.safetensors in it)")
        for path in files:
            try:
                opened = safe_open(path, framework="pt")
            except (SafetensorError, OSError) as error:
                raise UserError(f"{path}: not a whole safetensors file ({error})") from None
            self._holder |= dict.fromkeys(opened.keys(), opened)
        self._check(folder, model)

    def _check(self, folder: Path, model: Architecture) -> None:
        wanted = {tensor.source: tensor.shape for tensor in model.tensors() if tensor.source}
        extra = set(self._holder) - set(wanted) - ({"lm_head.weight"} if model.tied else set())
        extra = {name for name in extra if not name.endswith("rotary_emb.inv_freq")}
        for name, shape in wanted.items():
            if name not in self._holder:
                raise UserError(f"{folder}: the weight {name} is missing")
            found = tuple(self._holder[name].get_slice(name).get_shape())
            if found != shape:
                raise UserError(f"{folder}: {name} has shape {found}, its config.json says {shape}")
        if extra:
            raise UserError(f"{folder}: {sorted(extra)[0]} has no place in a {model.name} model")

    def read(self, tensor: Tensor) -> Any:
        """float32 [rows, columns] or [columns], as numpy."""
        import numpy as np

        if not tensor.source:
            return np.array(tensor.values, np.float32)
        return tensor.stored(self._holder[tensor.source].get_tensor(tensor.source).float().numpy())
