r"""A model's chat template: rendered so that contents cannot forge control tokens, and looked at for what ends a turn.

    messages -> render_ids(tokenizer, messages) -> ids
    tokenizer -> turn_end(tokenizer)            -> the token right after an assistant's words
              -> stop_ids(tokenizer, named)     -> all that ends a completion

Templates that print the day (`strftime_now`, as Llama 3's and SmolLM3's) get the same day always, that which Llama 3's
own template falls back to: a prompt does not change overnight.
"""

import datetime
import itertools
import re
import weakref
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.errors import UserError, printable
from srm_ray.model import tokenization

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Message = Mapping[str, Any]
DAY = datetime.datetime(2024, 7, 26)
PROBE = "seventeen sheep"  # an assistant's words, to be found again in what is rendered
FIRST_PRIVATE = 0xE000  # characters without a meaning of their own, to stand for what is put in later
# What a template's expressions raise, beside Jinja's errors.
PYTHON_S_OWN = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, MemoryError)
NO_TEMPLATE = "the tokenizer has no chat template: give --chat_template chatml, or a file that holds one (Jinja)"

# ChatML as most models have it: nothing is put in, stripped or dropped. {start} begins a
# conversation, {end} ends a turn.
CHATML = r"""{{- '{start}' -}}{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\n' -}}
{%- if message['reasoning_content'] -%}{{- '<think>\n' + message['reasoning_content'] + '\n</think>\n' -}}{%- endif -%}
{{- (message['content'] or '') + '{end}' + '\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"""


class Refused(UserError):
    """A chat template does not take a conversation. words: its own."""

    def __init__(self, message: str, words: str) -> None:
        super().__init__(message)
        self.words = words


def render_text(
    tokenizer: "PreTrainedTokenizerFast",
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = False,
    **variables: Any,
) -> str:
    """The conversation as the template writes it. Raises `UserError` with the template's own words where it refuses,
    and where it takes more than a chat template needs (`template_sandbox`)."""
    from jinja2 import TemplateError

    from srm_ray.model.template_sandbox import render

    if not tokenizer.chat_template:
        raise UserError(NO_TEMPLATE)
    try:
        given: dict[str, Any] = {"messages": [dict(message) for message in messages], "tools": None, "documents": None}
        given |= {"add_generation_prompt": add_generation_prompt, "strftime_now": DAY.strftime}
        return render(tokenizer.chat_template, {**tokenizer.special_tokens_map, **given, **variables})
    except (*PYTHON_S_OWN, TemplateError) as error:
        roles = ", ".join(str(message.get("role")) for message in messages)
        reason = " ".join(printable(str(error)).split())[:200]
        raise Refused(f"the model's chat template refuses this conversation ({roles}): {reason}", reason) from None


def render_ids(
    tokenizer: "PreTrainedTokenizerFast",
    messages: Sequence[Message],
    *,
    add_generation_prompt: bool = False,
    **variables: Any,
) -> list[int]:
    """Ids of the conversation. Control tokens that a message spells are encoded as the text they are; tokens that are
    part of a text (think tags, mostly) keep their ids."""
    messages, hidden = hide_controls(tokenizer, messages)
    text = render_text(tokenizer, messages, add_generation_prompt=add_generation_prompt, **variables)
    return encode_hidden(tokenizer, text, hidden)


@dataclass(frozen=True, slots=True)
class Hidden:
    """Spelled control tokens that marks stand for: `mark`, the place in `spelled`, `mark`."""

    mark: str
    spelled: tuple[str, ...]


def hide_controls(tokenizer: "PreTrainedTokenizerFast", messages: Sequence[Message]) -> tuple[list[Message], Hidden]:
    """The messages with marks in place of the control tokens that they spell."""
    found = control_pattern(tokenizer)
    texts = [text for message in messages for text in strings_of(message)]
    if not found or not any(found.search(text) for text in texts):
        return list(messages), Hidden("", ())
    code = next(code for code in range(FIRST_PRIVATE, FIRST_PRIVATE + 6400) if chr(code) not in "".join(texts))
    mark, spelled = chr(code), list[str]()

    def hide(match: re.Match[str]) -> str:
        spelled.append(match[0])
        return f"{mark}{len(spelled) - 1}{mark}"

    return [replaced(message, found, hide) for message in messages], Hidden(mark, tuple(spelled))


def encode_hidden(tokenizer: "PreTrainedTokenizerFast", text: str, hidden: Hidden) -> list[int]:
    """Ids of rendered text, or of a part of it; what marks stand for is encoded as plain text."""
    if not hidden.spelled:
        return encode(tokenizer, text)
    ids: list[int] = []
    for place, part in enumerate(re.split(f"{hidden.mark}(\\d+){hidden.mark}", text)):
        ids += tokenization.encode_plain(tokenizer, hidden.spelled[int(part)]) if place % 2 else encode(tokenizer, part)
    return ids


def place_hidden(
    tokenizer: "PreTrainedTokenizerFast", text: str, hidden: Hidden, cuts: Sequence[int] = ()
) -> list[tuple[int, int]]:
    """(id, place in the text of its first character) of what `encode_hidden` encodes. No token spans one of the places
    `cuts`: where one would, what stands before and behind it is encoded on its own."""
    found: list[tuple[int, int]] = []
    begin = 0
    for match in re.finditer(f"{hidden.mark}(\\d+){hidden.mark}", text) if hidden.spelled else ():
        found += placed(tokenizer, text, begin, match.start(), cuts)
        plain = tokenization.encode_plain(tokenizer, hidden.spelled[int(match[1])])
        found += [(token, match.start()) for token in plain]
        begin = match.end()
    return found + placed(tokenizer, text, begin, len(text), cuts)


def placed(
    tokenizer: "PreTrainedTokenizerFast", text: str, begin: int, end: int, cuts: Sequence[int]
) -> list[tuple[int, int]]:
    """The tokens of text[begin:end] and their places in the text."""
    if begin >= end:
        return []
    inside = [cut for cut in cuts if begin < cut < end]
    if not tokenizer.is_fast:  # it does not say where its tokens are
        bounds = itertools.pairwise([begin, *inside, end])
        return [(token, first) for first, last in bounds for token in encode(tokenizer, text[first:last])]
    out = tokenizer(text[begin:end], add_special_tokens=False, return_offsets_mapping=True)
    spans = [(begin + first, begin + last) for first, last in out["offset_mapping"]]
    across = next((cut for cut in inside if any(first < cut < last for first, last in spans)), None)
    if across is None:
        return [(token, first) for token, (first, _) in zip(out["input_ids"], spans, strict=True)]
    return placed(tokenizer, text, begin, across, cuts) + placed(tokenizer, text, across, end, cuts)


def encode(tokenizer: "PreTrainedTokenizerFast", text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []


_patterns: MutableMapping[Any, re.Pattern[str] | None] = weakref.WeakKeyDictionary()  # by tokenizer


def control_pattern(tokenizer: "PreTrainedTokenizerFast") -> re.Pattern[str] | None:
    """Matches the spelling of any control token; None for a tokenizer that has none, or cannot take them as text."""
    if not hasattr(tokenizer, "backend_tokenizer"):
        return None
    if tokenizer not in _patterns:
        names = sorted(control_tokens(tokenizer), key=len, reverse=True)
        _patterns[tokenizer] = re.compile("|".join(map(re.escape, names))) if names else None
    return _patterns[tokenizer]


def control_tokens(tokenizer: "PreTrainedTokenizerFast") -> list[str]:
    """Added tokens that are no part of a text, by their spelling."""
    return [added.content for added in tokenizer.added_tokens_decoder.values() if added.special]


def spelled_controls(tokenizer: "PreTrainedTokenizerFast", messages: Sequence[Message]) -> list[str]:
    """Control tokens that messages spell, each once: they are taken as text."""
    found = control_pattern(tokenizer)
    if found is None:
        return []
    return sorted({match for message in messages for text in strings_of(message) for match in found.findall(text)})


def strings_of(value: Any) -> list[str]:
    """Every text of a message but its role."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for key, one in value.items() if key != "role" for text in strings_of(one)]
    return [text for one in value for text in strings_of(one)] if isinstance(value, list | tuple) else []


def replaced(value: Any, found: re.Pattern[str], hide: Any) -> Any:
    if isinstance(value, str):
        return found.sub(hide, value)
    if isinstance(value, Mapping):
        return {key: one if key == "role" else replaced(one, found, hide) for key, one in value.items()}
    return [replaced(one, found, hide) for one in value] if isinstance(value, list | tuple) else value


# What ends a turn


def turn_end(tokenizer: "PreTrainedTokenizerFast") -> int | None:
    """Id of the first control token after an assistant's words; None where the template has none, or there is none.

    Where the last turn ends with nothing, what follows an earlier one counts: the opening of the user's next turn.
    """
    if not tokenizer.chat_template:
        return None
    last = _first_control(tokenizer, _after_words(tokenizer), anywhere=True)
    if last is not None:
        return last
    return _first_control(tokenizer, _after_words(tokenizer, followed=True), anywhere=False)


def _after_words(tokenizer: "PreTrainedTokenizerFast", *, followed: bool = False) -> str:
    """What the template writes behind an assistant's words."""
    asked: list[Message] = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": PROBE}]
    if followed:
        asked.append({"role": "user", "content": "Why?"})
    try:
        return render_text(tokenizer, asked).rpartition(PROBE)[2]
    except UserError:
        return ""


def _first_control(tokenizer: "PreTrainedTokenizerFast", text: str, *, anywhere: bool) -> int | None:
    """anywhere: False where nothing but white space may stand before it."""
    added = tokenizer.added_tokens_decoder
    before: list[int] = []
    for token in encode(tokenizer, text):
        if token in added and added[token].special:
            return token if anywhere or not tokenizer.decode(before).strip() else None
        before.append(token)
    return None


def stop_ids(tokenizer: "PreTrainedTokenizerFast", named: Sequence[int | Sequence[int] | None] = ()) -> tuple[int, ...]:
    """Ids that end a completion: what ends a turn in the template, what configs name, the tokenizer's own ends.

    named: `eos_token_id` of config and generation config: an id, several, or None.
    """
    vocabulary = tokenizer.get_vocab()
    ids: list[int | None] = [turn_end(tokenizer)]
    for ends in (*named, tokenizer.eos_token_id):
        ids += list(ends) if isinstance(ends, Sequence) else [ends]
    if vocabulary.get(tokenization.EOS) == tokenization.ID_OF[tokenization.EOS]:  # a tokenizer of this project
        ids.append(tokenization.ID_OF[tokenization.EOS])
    known = (token for token in ids if isinstance(token, int) and token >= 0)
    return tuple(dict.fromkeys(known))


def spelled_end(tokenizer: "PreTrainedTokenizerFast") -> str:
    """What ends a turn where that is text and no control token, "" else: sampling cannot stop there."""
    if not tokenizer.chat_template or turn_end(tokenizer) is not None:
        return ""
    return _after_words(tokenizer).strip()


# A template from elsewhere


def with_template(tokenizer: "PreTrainedTokenizerFast", chosen: str) -> str:
    """Give the tokenizer the template that `--chat_template` names: `chatml`, or a file. Returns a line about it.

    ChatML's turns end with `<|im_end|>` where that is one of the tokenizer's tokens, else with its end-of-sequence
    token, so that there is a token to stop at. Raises `UserError` where there is no such file, or it is no template.
    """
    if chosen != "chatml":
        template = read_template(Path(chosen))
        line = f"chat template: {chosen}"
    else:
        spelled = tokenization.IM_START in tokenizer.get_vocab() and tokenization.IM_END in tokenizer.get_vocab()
        end = tokenization.IM_END if spelled else tokenizer.eos_token
        if not end:
            raise UserError("--chat_template chatml: the tokenizer has no token that could end a turn: give a file")
        first = tokenizer("a")["input_ids"][0]
        start = tokenizer.bos_token if first == tokenizer.bos_token_id else ""
        template = CHATML.replace("{end}", quoted(end)).replace("{start}", quoted(start))
        line = f"chat template: ChatML, turns end with {end}"
    replacing = bool(tokenizer.chat_template) and tokenizer.chat_template != template
    tokenizer.chat_template = template
    render_text(tokenizer, [{"role": "user", "content": "How many?"}], add_generation_prompt=True)
    return line + (", in place of the model's own" if replacing else "")


def quoted(text: str) -> str:
    """As it stands between the single quotes of a Jinja string."""
    return text.replace("\\", r"\\").replace("'", r"\'")


def read_template(path: Path) -> str:
    """A Jinja file, or a `tokenizer_config.json` or `chat_template.json` that holds one."""
    import json

    if not path.is_file():
        raise UserError(f"--chat_template {path}: no such file (a Jinja template is expected, or the word chatml)")
    try:
        text = path.read_text(encoding="utf-8")
        template = json.loads(text).get("chat_template") if path.suffix == ".json" else text
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"--chat_template {path}: cannot be read: {error}") from None
    if not isinstance(template, str) or not template.strip():
        raise UserError(f"--chat_template {path}: holds no chat template")
    return template
