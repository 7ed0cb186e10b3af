"""What kinds of models there are to the rest: which are handled at all, and whose rows may hold several documents.

The families that are tried (tests/model/families.py): Llama, Qwen2, Qwen3, Gemma 3, Phi-3, OLMo 2, and Llama 4's dense
text model, which MobileLLM-R1 is. Others of transformers' decoders run by the same rules.
"""

from typing import TYPE_CHECKING

from srm_ray.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

# Kinds of layers (`layer_types` of a config) that see nothing but what attention shows them.
ATTENTION = ("full_attention", "sliding_attention", "chunked_attention")


def check_served(config: "PretrainedConfig", name: str) -> None:
    """Raise `UserError` for a model that no command here handles: no decoder of text alone."""
    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(f"--model {name}: {kind} is an encoder-decoder model; decoders of text are handled")
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if kind in MODEL_FOR_MASKED_LM_MAPPING_NAMES and getattr(config, "is_decoder", None) is False:
        raise UserError(
            f"--model {name}: {kind} is an encoder, which sees what comes after; decoders of text are handled"
        )
    if config.get_text_config() is not config:
        inner = config.get_text_config().model_type
        raise UserError(
            f"--model {name}: {kind} takes more than text (its text model is {inner}): save the text model by itself, "
            "with its own config.json, and give that"
        )
    if getattr(config, "quantization_config", None):
        method = dict(config.quantization_config).get("quant_method", "its method")
        raise UserError(f"--model {name}: its weights are quantised ({method}): give the model that they were made of")


def why_not_packed(config: "PretrainedConfig") -> str:
    """Why packed rows are not to a model what its documents are apart; "" where they are.

    Recurrent layers and convolutions carry a state from one document into the next. Attention that transformers'
    interface does not reach cannot be given `packed_attention`.
    """
    if stateful := with_state(config):
        return f"{stateful} across documents"
    code = causal_class(config)
    if getattr(config, "attn_logit_softcapping", None):
        return f"{config.model_type} caps its attention scores (attn_logit_softcapping)"
    if getattr(config, "attn_temperature_tuning", False) and not all(getattr(config, "no_rope_layers", [])):
        return f"{config.model_type} scales attention by a token's place in the row (attn_temperature_tuning)"
    if code is not None and not getattr(code, "_supports_attention_backend", False):
        return f"{config.model_type} computes attention by itself, apart from transformers' interface"
    return ""


def with_state(config: "PretrainedConfig") -> str:
    """Which layers of a model carry a state from token to token (recurrent, linear attention, convolutions): "lfm2 has
    layers of the type conv, which carry a state"; "" where all are attention."""
    kinds = getattr(config, "layer_types", None) or getattr(config, "layers_block_type", None) or ()
    other = sorted({str(kind) for kind in kinds} - set(ATTENTION))
    if other:
        return f"{config.model_type} has layers of the type {', '.join(other)}, which carry a state"
    code = causal_class(config)
    recurrent = code is not None and getattr(code, "_is_stateful", False)
    if recurrent or getattr(config, "ssm_cfg", None) or hasattr(config, "state_size") or hasattr(config, "conv_kernel"):
        return f"{config.model_type} is a recurrent model: its layers carry a state"
    return ""


def causal_class(config: "PretrainedConfig") -> "type[PreTrainedModel] | None":
    """transformers' causal LM of a config; None where its code is somebody else's."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    return MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)


def piece_of(config: "PretrainedConfig") -> int:
    """Tokens of a piece, where layers attend within pieces; 0 where none do. transformers counts pieces from the start
    of a row, so in a packed row only documents of the first piece would see what they see alone."""
    pieces = "chunked_attention" in (getattr(config, "layer_types", None) or ())
    return int(config.attention_chunk_size or 0) if pieces else 0


def decoder_of(model: "PreTrainedModel") -> "torch.nn.Module":
    """The part of a causal LM that gives hidden states. Llama 4's text model calls it otherwise than its
    `base_model_prefix` says, and `get_decoder` then returns the whole."""
    found = model.get_decoder()
    return model.model if found is model else found
