r"""Messages to token ids: the one place where prompts are made, for training and for rollouts.

    render_prompt(messages)       -> ids, ending with the generation prompt
    render_conversation(messages) -> ids and the mask of the assistant's tokens
    training_sequences(messages)  -> the same, in several sequences where a template changes earlier turns

With this project's chat template the parts are encoded one by one, and control tokens spelled in a
message's content are encoded as the plain text they are: a user cannot forge an assistant's turn,
and the mask is exact whatever the content. The conversation up to an assistant's turn is by
construction the prompt that a rollout of that turn would get; only the opening `<think>\n`, which
the prompt already holds, belongs to both.

Tokenizers of other models keep their own template; the mask then comes from rendering the
conversation turn by turn (`turn_masks`).

This project's template knows no tools: they, their calls and results are put in words (`tool_text`), as episodes have
them; so they are for another template, where that is asked for.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from srm_ray.data.drops import Unusable
from srm_ray.data.tool_text import in_words
from srm_ray.data.turn_masks import SPELLED, Masked, mask_turns, prompt_messages
from srm_ray.errors import UserError
from srm_ray.model import tokenization
from srm_ray.model.chat_template import render_ids, spelled_controls
from srm_ray.model.tokenization import END_THINK, IM_END, IM_START, THINK, encode_plain

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Message = Mapping[str, Any]
ROLES = ("system", "user", "assistant", "tool")


def render_prompt(
    tokenizer: "PreTrainedTokenizerFast",
    messages: Sequence[Message],
    *,
    thinking: bool = True,
    tools: Sequence[Mapping[str, Any]] | None = None,
) -> list[int]:
    r"""Ids of `messages` and the generation prompt (`<|im_start|>assistant\n<think>\n`).

    thinking: False ends the thinking before it begins. A template of another model is asked not to
    think (`enable_thinking`, which Qwen3's knows). tools: JSON schemas.
    """
    check_messages(messages)
    if not has_own_template(tokenizer):
        given = {"tools": list(tools)} if tools else {}
        prompt = prompt_messages(tokenizer, messages)
        return render_ids(tokenizer, prompt, add_generation_prompt=True, enable_thinking=thinking, **given)
    ids, _ = _render_own(tokenizer, *in_words(messages, tools or (), [False] * len(messages)))
    opening = ids + _assistant_opening(tokenizer) + _think_opening(tokenizer)
    return opening if thinking else [*opening, *_no_thinking(tokenizer)]


def render_conversation(
    tokenizer: "PreTrainedTokenizerFast", messages: Sequence[Message]
) -> tuple[list[int], list[bool]]:
    """Ids [T] of a finished conversation, and a mask [T] that is True on the assistant's tokens:
    the thinking with its tags, the answer, and the token that ends the turn.

    Of a template that changes earlier turns, these are the tokens of the last turn and of those that stay as they
    are: `training_sequences` gives the others too. Raises `UserError` where there is nothing to learn.
    """
    try:
        return training_sequences(tokenizer, messages).sequences[0]
    except Unusable as error:
        raise UserError(str(error)) from None


def training_sequences(
    tokenizer: "PreTrainedTokenizerFast",
    messages: Sequence[Message],
    *,
    trained: Sequence[bool] | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
    describe_tools: bool = False,
) -> Masked:
    """What is learned of a conversation: the tokens of every assistant's turn, each behind the tokens that a rollout
    of it would be given, in one sequence wherever the template allows it. Results of tools are never learned.

    trained: whether each message is to be learned; None: all of the assistant's. tools: schemas of functions.
    describe_tools: write them in words, whatever the template knows. Raises `Unusable` with the reason where none of it
    can be learned.
    """
    check_messages(messages)
    wanted = [True] * len(messages) if trained is None else list(trained)
    own = has_own_template(tokenizer)
    if own or describe_tools:
        messages, wanted = in_words(messages, tools, wanted)
    if not own:
        return mask_turns(tokenizer, messages, wanted, () if describe_tools else tools)
    ids, mask = _render_own(tokenizer, messages, wanted)
    if not any(mask):
        raise Unusable("no assistant's turn to learn")
    return Masked(((ids, mask),), (SPELLED,) if spelled_controls(tokenizer, messages) else ())


def render_completion(tokenizer: "PreTrainedTokenizerFast", content: str) -> list[int]:
    """Ids that a policy would have to sample after `render_prompt` to answer `content`, end of turn included."""
    ids, mask = render_conversation(tokenizer, [{"role": "user", "content": "x"}, assistant(content)])
    prompt = render_prompt(tokenizer, [{"role": "user", "content": "x"}])
    if ids[: len(prompt)] != prompt:
        raise UserError("this tokenizer's template does not continue its own generation prompt")
    last = len(mask) - mask[::-1].index(True)
    return ids[len(prompt) : last]


def render_document(tokenizer: "PreTrainedTokenizerFast", text: str) -> Masked:
    """A text that is learned whole, from its first token to the end of a document behind it.

    One in which control tokens of this tokenizer stand has been rendered by a chat template before: they are taken as
    what they are, and no end is put behind one.
    """
    if not spelled_controls(tokenizer, [{"content": text}]):
        ids = encode_document(tokenizer, text)
        return Masked(((ids, [True] * len(ids)),))
    ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    return Masked(((ids, [True] * len(ids)),), ("a text with control tokens in it is learned whole, with them",))


def encode_document(tokenizer: "PreTrainedTokenizerFast", text: str) -> list[int]:
    """Ids of a pretraining document: its text, control tokens in it taken as text, then `<eos>`."""
    return [*encode_plain(tokenizer, text), tokenization.document_end_id(tokenizer)]


def encode_continuation(
    tokenizer: "PreTrainedTokenizerFast", given: str, continued: str
) -> tuple[list[int], list[bool]]:
    """Ids and loss mask of a document whose first part is given and carries no loss."""
    context, rest = encode_plain(tokenizer, given), encode_document(tokenizer, continued)
    return context + rest, [False] * len(context) + [True] * len(rest)


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


def check_messages(messages: Sequence[Message]) -> None:
    if not messages:
        raise UserError("a conversation without messages")
    for message in messages:
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise UserError(f"a message's role must be one of {', '.join(ROLES)}, got {role!r}")
        if not isinstance(content, str):
            raise UserError(f"a message's content must be text, got {type(content).__name__}")


def has_own_template(tokenizer: "PreTrainedTokenizerFast") -> bool:
    """Whether the ids of this project's control tokens hold, and its template is the one to render."""
    ids = tokenizer.convert_tokens_to_ids
    return tokenizer.chat_template == tokenization.CHAT_TEMPLATE and all(
        ids(token) == tokenization.ID_OF[token] for token in (IM_START, IM_END, THINK, END_THINK)
    )


# This project's template, part by part


def _render_own(
    tokenizer: "PreTrainedTokenizerFast", messages: Sequence[Message], trained: Sequence[bool] | None = None
) -> tuple[list[int], list[bool]]:
    ids: list[int] = []
    mask: list[bool] = []
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            _extend(ids, mask, _assistant_opening(tokenizer), False)
            learned = trained is None or trained[place]
            _extend(ids, mask, _think_opening(tokenizer) + _completion(tokenizer, message), learned)
        else:
            header = [tokenization.ID_OF[IM_START], *encode_plain(tokenizer, message["role"] + "\n")]
            body = encode_plain(tokenizer, message["content"].strip())
            _extend(ids, mask, [*header, *body, tokenization.ID_OF[IM_END]], False)
        _extend(ids, mask, encode_plain(tokenizer, "\n"), False)
    return ids, mask


def _extend(ids: list[int], mask: list[bool], part: list[int], trained: bool) -> None:
    ids += part
    mask += [trained] * len(part)


def _assistant_opening(tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    return [tokenization.ID_OF[IM_START], *encode_plain(tokenizer, "assistant\n")]


def _think_opening(tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    return [tokenization.ID_OF[THINK], *encode_plain(tokenizer, "\n")]


def _completion(tokenizer: "PreTrainedTokenizerFast", message: Message) -> list[int]:
    thought, answer = split_thinking(message)
    return [
        *encode_plain(tokenizer, f"{thought}\n"),
        tokenization.ID_OF[END_THINK],
        *encode_plain(tokenizer, f"\n{answer}"),
        tokenization.ID_OF[IM_END],
    ]


def split_thinking(message: Message) -> tuple[str, str]:
    """(thinking, answer) of an assistant's message, from `reasoning_content` or from its think tags."""
    content = message["content"].strip()
    thought = message.get("reasoning_content") or ""
    if not thought and content.startswith(THINK) and END_THINK in content:
        before, content = content.split(END_THINK, 1)
        thought = before.split(THINK, 1)[1]
    return thought.strip(), content.strip()


def _no_thinking(tokenizer: "PreTrainedTokenizerFast") -> list[int]:
    newline = encode_plain(tokenizer, "\n")
    return [*newline, tokenization.ID_OF[END_THINK], *newline]
