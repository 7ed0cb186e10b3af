"""An OpenAI-compatible server as teacher: its completions as answers for the ledger.

A request that the server refuses for its content is on record as refused and not asked again; a server that refuses
whatever it is asked ends the command.
"""

from collections.abc import Sequence

from srm_ray.config.endpoints import EndpointConfig
from srm_ray.distillation.ledger import REFUSED, Answer, whole
from srm_ray.errors import UserError
from srm_ray.inference.openai_client import OpenAIClient, Refused, Server

REFUSED_AT_FIRST = 5  # requests, with none answered


class Endpoint(OpenAIClient):
    """`async with Endpoint(...) as teacher`: checks the server, then answers. option: of the config, for messages."""

    def __init__(
        self, config: EndpointConfig, *, temperature: float, max_new_tokens: int, option: str = "endpoint"
    ) -> None:
        self.config, self.option = config, option
        self.decoding = {"temperature": temperature, "max_tokens": max_new_tokens, **config.body}
        super().__init__(Server.of(config, option))
        self.answered = False
        self.refusals: list[str] = []  # why, of each request that was refused

    async def answer(self, messages: Sequence[dict[str, str]], seed: int) -> Answer:
        """Raises `Failed` after the last attempt, `UserError` where the server has refused everything so far: it is
        not the prompts that are wrong."""
        try:
            reply = await self.complete(messages, seed, **self.decoding)
        except Refused as refused:
            return self.refused(refused)
        self.answered = True
        return Answer(whole(reply.content, reply.reasoning), reply.finish, reply.tokens_in, reply.tokens_out)

    def refused(self, why: Refused) -> Answer:
        """A refusal on record. Raises `UserError` where nothing else has come so far."""
        self.refusals.append(str(why))
        if not self.answered and len(self.refusals) >= REFUSED_AT_FIRST:
            raise UserError(f"--{self.option}.url {self.url} refuses every request: {why}") from None
        return Answer("", REFUSED, 0, 0)
