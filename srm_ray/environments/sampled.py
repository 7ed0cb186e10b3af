"""A model that is sampled token by token, in the place of a served one (`srm_ray.environments.dialogue`).

    messages --what is new, rendered--> ids --generate--> turn --parse--> TurnReply (words, thinking, calls)

The tokens are those of an episode of training: sampled tokens stay, the environment's replies are rendered after them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rewards.extract import after_thinking, opened_thinking
from srm_ray.environments import calls as tool_calls
from srm_ray.environments.dialogue import TurnReply
from srm_ray.environments.episode import Generate
from srm_ray.environments.rendering import CALL_ID, Message, TurnRenderer
from srm_ray.rl.types import ToolCall


class SampledTurns:
    """The model's part in one episode; `ask` is an `Ask`. context: prompt and episode, tokens."""

    def __init__(self, renderer: TurnRenderer, generate: Generate, context: int):
        self.renderer, self.generate, self.context = renderer, generate, context
        self.ids: list[int] = []
        self.conversation: list[Message] = []
        self.rendered = 0  # messages that are in `conversation`
        self.worker = ""

    async def ask(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], seed: int, most: int
    ) -> TurnReply:
        """`messages`: those of the last call, then its answer and the replies to it. Without a token of context left
        the turn is empty and truncated."""
        if not self.ids:
            self.conversation = self.renderer.messages(messages, None)
            self.ids = list(self.renderer.prompt(self.conversation))
        else:
            replies = self._replies(messages[self.rendered + 1 :])
            self.ids += self.renderer.after(self.conversation, replies)
            self.conversation += replies
        self.rendered = len(messages)
        most = min(most, self.context - len(self.ids))
        if most < 1:
            return TurnReply("", truncated=True)
        made = await self.generate(tuple(self.ids), seed, most, self.worker)
        opening = opened_thinking(self.renderer.tokenizer.decode(self.ids, skip_special_tokens=False))
        text, billed = opening + made.text, len(self.ids)
        found = tool_calls.parse(text, self.renderer.family) if self.renderer.kind == "tools" else ()
        self.ids += made.token_ids.tolist()
        self.worker = made.worker
        self.conversation.append(self.renderer.turn(found))
        thinking, words = parted(text)
        if found:
            words = tool_calls.without_calls(words, self.renderer.family)
        calls = tuple(plain_call(call, n) for n, call in enumerate(found))
        return TurnReply(words, thinking, calls, made.truncated, billed, made.sampled_tokens)

    def _replies(self, answers: Sequence[Message]) -> list[Message]:
        if self.renderer.kind == "turns":
            return [one for answer in answers for one in self.renderer.observation(answer["content"])]
        return self.renderer.results([ToolCall(one["name"], {}, one["content"]) for one in answers])


def parted(text: str) -> tuple[str, str]:
    """Thinking, without its tags, and words; of a turn that never ended its thinking the words are ""."""
    words = after_thinking(text)
    thought = text if words is None else text[: len(text) - len(words)]
    return thought.removeprefix("<think>").strip().removesuffix("</think>").strip(), (words or "").strip()


def plain_call(call: ToolCall, number: int) -> dict[str, Any]:
    """OpenAI's form; of a call that could not be read one without a function, which `call_of` reports."""
    known = {"name": call.name, "arguments": call.arguments}
    return {"id": CALL_ID.format(number), "type": "function", "function": known if call.name else None}
