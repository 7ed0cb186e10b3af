"""Opening a model folder: is it one, does its tokenizer fit, how long is its context, what ends a turn."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from srm_ray.config.distill import DistillConfig
from srm_ray.config.engine import EngineConfig
from srm_ray.config.filter import FilterConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.config.lengths import Lengths, OwnContext, fit, option
from srm_ray.console import hub
from srm_ray.console.progress import echo
from srm_ray.errors import UserError, one_line
from srm_ray.model import chat_template as templates
from srm_ray.model import checks, families, tokenization
from srm_ray.model.adapters import is_adapter, merged_folder
from srm_ray.model.folder import GENERATION, read_json
from srm_ray.model.plain_weights import download

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

RunT = TypeVar("RunT", GRPOConfig, FilterConfig, DistillConfig)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """path: folder or hub name of plain weights; of an adapter, where it lies merged into its base.

    context: positions the model was made for. vocabulary: rows of its embedding.

    stop_token_ids: tokens that end a completion: what ends a turn in the chat template, and all that config,
    generation config and tokenizer name. context_stated_by: the source of the context's length.
    chat_template: Jinja that `--chat_template` put in place of the tokenizer's own; "": none did.
    unpacked: why rows of several documents cannot be made for it; "": they can.
    stateful: which of its layers are no attention (`families.with_state`); "": none.
    piece: tokens within which layers attend (Llama 4's), which no packed row may exceed; 0: no such layers.
    cache_values: numbers that the KV cache holds for a token; 0: not known.
    """

    path: str
    context: int
    vocabulary: int
    stop_token_ids: tuple[int, ...]
    tokenizer: "PreTrainedTokenizerFast"
    context_stated_by: str = "the model"
    cache_values: int = 0
    chat_template: str = ""
    unpacked: str = ""
    piece: int = 0
    stateful: str = ""

    @property
    def own_context(self) -> OwnContext:
        return OwnContext(self.context, self.context_stated_by)


def row_length(asked: int, usual: int, info: ModelInfo, origins: Mapping[str, str]) -> int:
    """Tokens in a row: those asked for, else the usual number or the model's context. Raises `UserError` above that."""
    if asked > info.context:
        raise UserError(
            f"{option('data.row_length', asked, origins)} is more than the model's own context of {info.context} "
            f"({info.context_stated_by}): lower data.row_length"
        )
    if info.piece and asked > info.piece:
        raise UserError(
            f"{option('data.row_length', asked, origins)} is more than the {info.piece} tokens within which layers of "
            f"{info.path} attend (attention_chunk_size): lower data.row_length"
        )
    return asked or min(usual, info.context, info.piece or info.context)


def open_model(name: str, chat_template: str = "") -> ModelInfo:
    """Facts of a Hugging Face folder, an adapter's folder or a hub name.

    chat_template: "chatml" or a file, in place of the tokenizer's own (`chat_template.with_template`). An adapter is
    merged into its base first. Raises `UserError` where it is no model, does not fit together, or is of a kind that no
    command handles.
    """
    path = Path(name)
    looks_local = path.exists() or name.startswith((".", "/", "~", "runs/"))
    if not looks_local and read_json(name, "adapter_config.json"):
        path = download(name)
    if is_adapter(path):
        path = merged_folder(path)
        name = str(path)
        looks_local = True
    if path.suffix == ".gguf" and not path.is_dir():
        raise UserError(
            f"--model {name}: a GGUF file: make a folder of it first, python -m srm_ray.import --file {name}"
        )
    if looks_local and not (path / "config.json").is_file():
        raise UserError(f"--model {name}: not a model folder (no config.json in it)")
    if looks_local:
        checks.check_files(path)
    try:
        with nullcontext() if looks_local else hub.asking(name):
            config = checks.checked_config(name)
            tokenizer = tokenization.load(name, rows=getattr(config, "vocab_size", 0))
    except UserError:
        raise
    except Exception as error:  # whatever is in its config: transformers raises many kinds
        reason = one_line(error)[:200] or type(error).__name__
        raise UserError(f"--model {name}: cannot be opened: {reason}") from None
    families.check_served(config, name)
    checks.check_weights(path, config)
    if chat_template:
        note(templates.with_template(tokenizer, chat_template))
    positions = getattr(config, "max_position_embeddings", 0)
    stated_by = f"max_position_embeddings of {name}" if positions else f"model_max_length of the tokenizer of {name}"
    return ModelInfo(
        name,
        min(int(positions or tokenizer.model_max_length), checks.LONGEST),
        config.vocab_size,
        stops_of(name, config, tokenizer),
        tokenizer,
        stated_by,
        cache_values(config),
        tokenizer.chat_template if chat_template else "",
        families.why_not_packed(config),
        families.piece_of(config),
        families.with_state(config),
    )


def open_named(option: str, name: str) -> ModelInfo:
    """As `open_model`, of the model that `option` names and not --model: the message says so."""
    try:
        return open_model(name)
    except UserError as error:
        raise UserError(str(error).replace("--model", option, 1)) from None


def stops_of(name: str, config: "PretrainedConfig", tokenizer: "PreTrainedTokenizerFast") -> tuple[int, ...]:
    """Ids that end a completion. Raises `UserError` where there are none; says where a template's turns have no end
    that sampling could stop at."""
    named = (read_json(name, GENERATION).get("eos_token_id"), getattr(config, "eos_token_id", None))
    stops = tuple(token for token in templates.stop_ids(tokenizer, named) if token < config.vocab_size)
    if not stops:
        raise UserError(f"--model {name}: neither its config nor its tokenizer names an end-of-sequence token")
    if spelled := templates.spelled_end(tokenizer):
        ends = ", ".join(tokenizer.convert_ids_to_tokens(list(stops)))
        note(f"{name}: its template ends a turn with {spelled[:40]!r}, which is no token: completions end at {ends}")
    return stops


@cache
def note(text: str) -> None:
    """Say it once a process: a model is opened several times."""
    echo(text)


def require_packing(info: ModelInfo, what: str) -> None:
    """Raise `UserError` where rows of several documents cannot be made for a model. what: e.g. "GRPO packs its
    batches"."""
    if info.unpacked:
        raise UserError(f"--model {info.path}: {info.unpacked}, and {what}: it is not supported here")


def require_attention(info: ModelInfo, option: str = "--model") -> None:
    """Raise `UserError`, before an engine starts, for a model with other layers than attention: no engine here samples
    from it. option: what names the model."""
    if info.stateful:
        raise UserError(f"{option} {info.path}: {info.stateful}: the engines here serve layers of attention alone")


def cache_values(config: "PretrainedConfig") -> int:
    """Numbers that the KV cache holds for a token: keys and values of each head of each layer."""
    queries = getattr(config, "num_attention_heads", 0) or 1
    heads = getattr(config, "num_key_value_heads", None) or queries
    width = getattr(config, "head_dim", None) or getattr(config, "hidden_size", 0) // queries
    return int(2 * getattr(config, "num_hidden_layers", 0) * heads * width)


def check_cache(options: EngineConfig, context: int, info: ModelInfo, origins: Mapping[str, str], group: str) -> None:
    """Raise `UserError` where the KV cache of an engine on a CPU does not hold one sequence of the whole context.

    group: of the options, rollout or engine.
    """
    need = context * info.cache_values * (4 if options.dtype == "float32" else 2) / (1 << 30)
    if options.gpus or need <= options.kv_cache_gb:
        return
    length = option(f"{group}.max_model_len", context, origins) if options.max_model_len else f"{context} tokens"
    raise UserError(
        f"{option(f'{group}.kv_cache_gb', options.kv_cache_gb, origins)} does not hold one sequence: {length} of "
        f"{info.path} take {need:.2g} GiB: raise {group}.kv_cache_gb or lower {group}.max_model_len"
    )


def settle_lengths(config: RunT, info: ModelInfo) -> tuple[RunT, Lengths]:
    """The config of a run with the lengths of its rollouts, where it leaves them open, as the model's context has them.

    Raises `UserError` where they do not fit, naming every option that set them.
    """
    rollout, reward = config.rollout, config.reward
    lengths = fit(rollout.max_model_len, rollout.max_new_tokens, info.own_context, origins=config.origins)
    check_cache(rollout, lengths.context, info, config.origins, "rollout")
    if reward.overlong_cache > lengths.completion:
        raise UserError(
            f"{option('reward.overlong_cache', reward.overlong_cache, config.origins)} is more than the "
            f"{lengths.completion} tokens that a completion may have: {lengths.why}"
        )
    settled = rollout.model_copy(update={"max_model_len": lengths.context, "max_new_tokens": lengths.completion})
    return config.model_copy(update={"rollout": settled}), lengths
