"""How long a prompt and a completion may be: what was asked for, what the model has, and how both came about.

Where `max_model_len` and `max_new_tokens` are left open, they follow from the model: a completion may have 2,048
tokens, at most half of the context; the context is what a prompt of 2,048 and a completion want, at most the model's
own. A longer one would take KV cache and memory for tokens that nobody asked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from srm_ray.errors import UserError

PRETRAIN_ROW, SFT_ROW = 2048, 4096  # tokens in a row of training data, where the model's context allows it
COMPLETION = 2048  # tokens of a completion, where nothing is asked for and the context allows it
PROMPT = 2048  # tokens that a context leaves for the prompt, where the model's own allows it


@dataclass(frozen=True, slots=True)
class OwnContext:
    """The context that a model was made for, tokens, and what says so, for messages."""

    tokens: int
    stated_by: str


@dataclass(frozen=True, slots=True)
class Lengths:
    """context: prompt + completion, tokens. completion: tokens. why: how they came about, naming every option."""

    context: int
    completion: int
    why: str

    @property
    def prompt(self) -> int:
        return self.context - self.completion


def option(name: str, value: float, origins: Mapping[str, str]) -> str:
    """An option for a message: with its value, and who gave it."""
    return f"{name} {value} ({origins.get(name, 'default')})"


def context_for(
    max_model_len: int,
    max_new_tokens: int,
    own: OwnContext,
    *,
    origins: Mapping[str, str],
    name: str = "rollout.max_model_len",
) -> int:
    """Prompt + completion, tokens; 0 stands for what is left open. Raises `UserError` above the model's own."""
    if max_model_len > own.tokens:
        asked = option(name, max_model_len, origins)
        raise UserError(f"{asked} is more than the model's own context of {own.tokens} ({own.stated_by}): lower {name}")
    return max_model_len or min(own.tokens, (max_new_tokens or COMPLETION) + PROMPT)


def fit(max_model_len: int, max_new_tokens: int, own: OwnContext, *, origins: Mapping[str, str]) -> Lengths:
    """The lengths of a run. Raises `UserError` where they cannot be, naming every option that set them."""
    longest, newest = "rollout.max_model_len", "rollout.max_new_tokens"
    context = context_for(max_model_len, max_new_tokens, own, origins=origins, name=longest)
    completion = max_new_tokens or min(COMPLETION, context // 2)
    models = f"the model's own is {own.tokens} ({own.stated_by})"
    of_context = f"{option(longest, context, origins)}; {models}" if max_model_len else f"{longest} is open; {models}"
    of_completion = (
        option(newest, completion, origins) if max_new_tokens else f"{newest} is open: at most half of the context"
    )
    advice = f"lower {newest}" + (f" or raise {longest} to at most {own.tokens}" if context < own.tokens else "")
    if completion >= context:
        raise UserError(
            f"a completion of {completion} tokens ({of_completion}) leaves no room for a prompt in a context of "
            f"{context} ({of_context}): {advice}"
        )
    why = f"a context of {context} ({of_context}) less {completion} for the completion ({of_completion}): {advice}"
    return Lengths(context, completion, why)


def half(asked: int, context: int) -> int:
    """Tokens of a preference pair's prompt, or of its completion: as asked for, else 2,048 or half of the context."""
    return asked or min(COMPLETION, context // 2)
