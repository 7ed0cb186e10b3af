r"""Turns to tokens: sampled tokens stay as they were sampled, the environment's replies are rendered after them.

    prompt | sampled ... <|im_end|> | \n<|im_start|>user\n observation <|im_end|>\n<|im_start|>assistant\n | sampled ...

Tokens are never made anew from text. The chat template renders the conversation with a placeholder in place of each
sampled turn; what it puts after the last placeholder's end of turn is what is appended. So a template that drops the
thinking of earlier turns drops nothing: the model sees its text as it wrote it. That the template leaves alone what
it has rendered before is checked, of its kind when a run starts and of every turn: its rendering of the conversation so
far must begin its rendering of the longer one.

A control token spelled in a reply of the environment is encoded as the plain text it is, as in
`srm_ray.data.rendering`: neither a document nor a program's output forges a turn.

Where the template knows no tools, they are described in the system message, and results come as the user's
(`srm_ray.data.tool_text`).
"""

import json
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from srm_ray.data.rendering import has_own_template, render_prompt
from srm_ray.data.tool_text import results_text, with_tools
from srm_ray.errors import UserError
from srm_ray.model.call_family import FAMILIES, Family, family_of
from srm_ray.model.chat_template import encode_hidden, hide_controls, render_text
from srm_ray.rl.types import ToolCall

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Message = dict[str, Any]
Kind = Literal["tools", "turns"]
HELD = 16_000_000  # characters of renderings that are kept for the next turn
CALL_ID = "call{:05d}"  # nine letters and digits, as some templates demand


class TurnRenderer:
    """Renders for one model and one set of tools.

    tools: JSON schemas, () in an environment of turns. stop_token_ids: what ends a turn. calls: the family in which the
    model writes calls, "" to take it from the chat template. describe: put the tools into the system message.
    Raises `UserError` where the template cannot serve.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerFast",
        stop_token_ids: Sequence[int],
        kind: Kind,
        tools: Sequence[dict[str, Any]] = (),
        *,
        calls: str = "",
        describe: bool = False,
    ):
        self.tokenizer, self.kind, self.tools = tokenizer, kind, list(tools)
        self.rendered: OrderedDict[tuple[str, bool], str] = OrderedDict()
        self.held = 0  # characters of `rendered`
        self.prompting = ""  # the generation prompt, where it is the same behind every conversation
        self.ends = [tokenizer.convert_ids_to_tokens(int(token)) for token in stop_token_ids]
        self.described = bool(tools) and (describe or has_own_template(tokenizer))
        if self.tools and not self.described and not self._knows_tools():
            raise UserError(
                "the model's chat template does not render tools: give a model whose template does, or "
                "environment.describe_tools true to have them described in the system message"
            )
        self.family: Family = "hermes"
        if self.tools and not (self.described and not calls):
            self.family = _family(calls, tokenizer)
        self.as_call = False  # how a turn that called tools stands in the conversation: as text, or as a call
        self._choose_form()

    # A prompt

    def messages(self, messages: Sequence[Message], observation: str | None) -> list[Message]:
        """The conversation that an episode begins with: the row's, with what `reset` returned (tools: added to the last
        message; turns: a message of its own), and the tools where they are described."""
        begun = opening(messages, observation, self.kind)
        return with_tools(begun, self.tools) if self.described else begun

    def prompt(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Ids of the conversation that an episode begins with, ending with the generation prompt."""
        return tuple(render_prompt(self.tokenizer, messages, tools=self._schemas()))

    # What comes after a turn

    def results(self, calls: Sequence[ToolCall]) -> list[Message]:
        """The messages with the results of the model's calls."""
        if self.described:
            return [{"role": "user", "content": results_text([call.result for call in calls])}]
        return [
            {"role": "tool", "name": call.name or "unknown", "content": call.result, "tool_call_id": CALL_ID.format(n)}
            for n, call in enumerate(calls)
        ]

    def observation(self, text: str) -> list[Message]:
        return [{"role": "user", "content": text}]

    def turn(self, calls: Sequence[ToolCall] = ()) -> Message:
        """What stands in the conversation for a sampled turn, until `after` renders it."""
        return {"role": "assistant", "content": "", "calls": max(1, len(calls))}

    def after(self, conversation: Sequence[Message], replies: Sequence[Message]) -> list[int]:
        """Ids that follow a sampled turn: what is left of its ending, `replies`, and the next generation prompt.

        conversation: the episode so far, its last message the sampled turn. Raises `UserError` where the template
        changes what it had rendered before.
        """
        shown, hidden = hide_controls(self.tokenizer, [*conversation, *replies])
        marks = _Marks([*conversation, *replies])
        stood = [self._standing(dict(message), marks, n) for n, message in enumerate(shown)]
        before, text = stood[: len(conversation) - 1], self._text(stood, generation=True)
        if not text.startswith(self._stood(before)) and not text.startswith(self._shared(before)):
            raise UserError(
                "the model's chat template changes earlier turns when others follow (the tools or a message move, for "
                "example), so that what was sampled would not be what is trained on: give another chat template"
            )
        _, found, tail = text.rpartition(marks.last)
        if not found:
            raise UserError("the model's chat template does not render an assistant's turn that others follow")
        ending = min(((tail.find(end), end) for end in self.ends if end in tail), default=None)
        if ending is None:
            raise UserError(
                f"the model's chat template ends a turn with none of the model's stop tokens ({', '.join(self.ends)})"
            )
        return encode_hidden(self.tokenizer, tail[ending[0] + len(ending[1]) :], hidden)

    def _stood(self, messages: Sequence[Message]) -> str:
        """The text of a conversation, less what the template puts behind the last one alone: a generation prompt, or
        an end of text without it."""
        going_on = self._text(messages, generation=True)
        if self.prompting and going_on.endswith(self.prompting):
            return going_on.removesuffix(self.prompting)
        return self._shared(messages)

    def _shared(self, messages: Sequence[Message]) -> str:
        """The same, for any template, with a rendering more."""
        both = [self._text(messages, generation=generation) for generation in (False, True)]
        return os.path.commonprefix(both)  # noqa: RUF071  of any texts

    def _standing(self, message: Message, marks: "_Marks", n: int) -> Message:
        if message["role"] != "assistant" or "calls" not in message:
            return message
        mark = marks.of(f"turn{n}")
        marks.last = mark
        if not self.as_call:
            return {"role": "assistant", "content": mark}
        name = self.tools[0]["function"]["name"] if self.tools else "call"
        calls = [
            {"type": "function", "id": CALL_ID.format(k), "function": {"name": name, "arguments": {"mark": mark}}}
            for k in range(message["calls"])
        ]
        return {"role": "assistant", "content": "", "tool_calls": calls}

    # The template

    def _schemas(self) -> list[dict[str, Any]] | None:
        return self.tools if self.tools and not self.described else None

    def _text(self, messages: Sequence[Message], *, generation: bool) -> str:
        """Rendered once: what a turn is rendered with stands at the beginning of the next one's rendering."""
        key = (json.dumps(messages), generation)
        if key in self.rendered:
            self.rendered.move_to_end(key)
            return self.rendered[key]
        tools = {"tools": self.tools} if self._schemas() else {}
        text = render_text(self.tokenizer, messages, add_generation_prompt=generation, enable_thinking=True, **tools)
        self.rendered[key] = text
        self.held += len(text) + len(key[0])
        while self.held > HELD and len(self.rendered) > 1:
            old, dropped = self.rendered.popitem(last=False)
            self.held -= len(dropped) + len(old[0])
        return text

    def _knows_tools(self) -> bool:
        asked = [{"role": "user", "content": "x"}]
        name = self.tools[0]["function"]["name"]
        return name in self._text(asked, generation=True)

    def _choose_form(self) -> None:
        """Try both forms of a turn on a conversation as episodes have them. Raises `UserError` where neither serves."""
        refused: list[str] = []
        for as_call in (False, True) if self._schemas() else (False,):
            self.as_call = as_call
            try:
                self._rehearse()
                return
            except UserError as error:
                refused.append(str(error))
            except Exception as error:  # templates raise what they like
                refused.append(
                    f"the model's chat template fails on several turns: {' '.join(str(error).split())[:200]}"
                )
        raise UserError(refused[0])

    def _rehearse(self) -> None:
        conversation: list[Message] = self.messages([{"role": "user", "content": "begin"}], None)
        answers = self.results([ToolCall("x", {}, "probe")]) if self.kind == "tools" else self.observation("probe")
        prompting: set[str] = set()
        for _ in range(3):
            marks = _Marks(conversation)
            stood = [self._standing(dict(message), marks, n) for n, message in enumerate(conversation)]
            prompting.add(self._text(stood, generation=True).removeprefix(self._shared(stood)))
            conversation.append(self.turn())
            ids = self.after(conversation, answers)
            if "probe" not in self.tokenizer.decode(ids):
                raise UserError("the model's chat template does not render the replies of an environment")
            conversation += answers
        self.prompting = prompting.pop() if len(prompting) == 1 else ""


def opening(messages: Sequence[Message], observation: str | None, kind: Kind) -> list[Message]:
    """The row's messages with what `reset` returned: of tools added to the last one, of turns one of its own."""
    begun = [dict(message) for message in messages]
    if observation is None:
        return begun
    if kind == "tools" and begun and begun[-1]["role"] == "user":
        begun[-1]["content"] += observation
    else:
        begun.append({"role": "user", "content": observation})
    return begun


class _Marks:
    """Texts that occur nowhere else in a conversation."""

    def __init__(self, conversation: Sequence[Message]):
        everything = "\n".join(str(message.get("content")) for message in conversation)
        number = 0
        while f"mark{number}x" in everything:
            number += 1
        self.prefix = f"mark{number}x"
        self.last = ""

    def of(self, name: str) -> str:
        return f"{self.prefix}{name}x"


def _family(calls: str, tokenizer: "PreTrainedTokenizerFast") -> Family:
    if not calls:
        return family_of(str(tokenizer.chat_template))
    for family in FAMILIES:
        if calls == family:
            return family
    raise UserError(f"environment.calls must be one of {', '.join(FAMILIES)}, got {calls!r}")
