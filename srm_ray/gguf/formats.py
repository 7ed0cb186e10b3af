"""The formats of a GGUF file: which type each tensor gets, and how many bytes that makes.

f32, f16, bf16, q8_0, q4_0 are written here (srm_ray.gguf.writer); q4_k_m is llama.cpp's own
quantiser's, whose choice of types is foretold so that sizes are known before anything is written.

Norms and biases stay F32 in every format.
"""

from dataclasses import dataclass

from srm_ray.gguf.architecture import Architecture, Tensor

# Bytes of one block and its elements, of every type that a format uses (ggml's block structs).
BLOCKS = {
    "F32": (4, 1),
    "F16": (2, 1),
    "BF16": (2, 1),
    "Q8_0": (34, 32),
    "Q5_0": (22, 32),
    "Q4_0": (18, 32),
    "Q4_K": (144, 256),
    "Q6_K": (210, 256),
}
# Taken where a row is not a whole number of blocks.
FALLBACK = {"Q8_0": "F16", "Q5_0": "F16", "Q4_0": "F16", "Q4_K": "Q5_0", "Q6_K": "Q8_0"}


@dataclass(frozen=True, slots=True)
class Format:
    """name: as on the command line. label: in file names, as llama.cpp writes it. file_type: `general.file_type`."""

    name: str
    label: str
    file_type: int
    by_llama_cpp: bool = False


FORMATS = {
    "f32": Format("f32", "F32", 0),
    "f16": Format("f16", "F16", 1),
    "bf16": Format("bf16", "BF16", 32),
    "q8_0": Format("q8_0", "Q8_0", 7),
    "q4_0": Format("q4_0", "Q4_0", 2),
    "q4_k_m": Format("q4_k_m", "Q4_K_M", 15, by_llama_cpp=True),
}


def parse_formats(given: list[str]) -> list[str]:
    """Names of `FORMATS`, each once, in the order given; "all" for all, "none" for none.

    Raises ValueError naming the formats there are.
    """
    names = [str(name).strip().lower() for name in given if str(name).strip()]
    if names == ["none"]:
        return []
    if names == ["all"]:
        return list(FORMATS)
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        what = f"{unknown[0]!r} is none of them" if unknown else "none is named"
        raise ValueError(f"the formats are {', '.join(FORMATS)}, all, none, several with commas; {what}")
    return list(dict.fromkeys(names))


def tensor_type(tensor: Tensor, form: Format, model: Architecture) -> str:
    """Name of the ggml type of a tensor. Example: "Q4_0"."""
    if not tensor.is_matrix:
        return "F32"
    wanted = _q4_k_m_type(tensor, model) if form.by_llama_cpp else form.label
    while tensor.shape[-1] % BLOCKS[wanted][1]:
        wanted = FALLBACK[wanted]
    return wanted


def _q4_k_m_type(tensor: Tensor, model: Architecture) -> str:
    """llama.cpp's rule (llama-quant.cpp, `llama_tensor_get_type_impl`): more bits for the head, and in
    some layers for values and the feed-forward's way down."""
    if tensor.name == ("token_embd.weight" if model.tied else "output.weight"):
        return "Q6_K" if tensor.shape[-1] % 256 == 0 else "Q8_0"
    if tensor.name.endswith(("attn_v.weight", "ffn_down.weight")):
        layer, layers = int(tensor.name.split(".")[1]), model.layers
        edge = layer < layers // 8 or layer >= 7 * layers // 8
        if edge or (layer - layers // 8) % 3 == 2:
            return "Q6_K"
    return "Q4_K"


def tensor_bytes(tensor: Tensor, type_name: str) -> int:
    size, elements = BLOCKS[type_name]
    return tensor.elements // elements * size


def weight_bytes(model: Architecture, form: Format) -> int:
    """Bytes of all weights of a model in a format; a file has its header (vocabulary, merges) besides."""
    return sum(tensor_bytes(tensor, tensor_type(tensor, form, model)) for tensor in model.tensors())
