"""The formats of a GGUF file: which type each tensor gets, and how many bytes that makes.

f32, f16, bf16, q8_0, q4_0 are written here (srm_ray.gguf.writer); q4_k_m is llama.cpp's own
quantiser's, whose choice of types is foretold so that sizes are known before anything is written.

Norms and biases stay F32 in every format.
"""

from srm_ray.config.formats import Format
from srm_ray.gguf.architecture import Architecture, Tensor

# Bytes of one block and its elements, of every type that a format uses (ggml's block structs).
BLOCKS = {
    "F32": (4, 1),
    "F16": (2, 1),
    "BF16": (2, 1),
    "Q8_0": (34, 32),
    "Q5_0": (22, 32),
    "Q5_1": (24, 32),
    "Q4_0": (18, 32),
    "Q4_K": (144, 256),
    "Q5_K": (176, 256),
    "Q6_K": (210, 256),
}
# Taken where a row is not a whole number of blocks.
FALLBACK = {"Q8_0": "F16", "Q5_0": "F16", "Q5_1": "F16", "Q4_0": "F16", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


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
    if tensor.name.endswith(("attn_v.weight", "attn_qkv.weight", "ffn_down.weight")):
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
