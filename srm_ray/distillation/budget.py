"""A budget that concurrent requests cannot overshoot: each sets aside the most that it can cost while under way."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from srm_ray.distillation.ledger import Ledger

AROUND = 64  # tokens that a chat template puts around a message, at most


class Budget:
    """limit: dollars; 0: none. A request whose price does not fit waits for those under way, which cost less than they
    might have; with none under way the budget is spent.

    longest_answer: tokens that one answer can have. turns: requests that one answer can take, each with everything
    before it. added: bytes that may be added between two of them; offered: bytes that come with each, tools mostly.
    """

    def __init__(
        self, limit: float, ledger: Ledger, longest_answer: int, *, turns: int = 1, added: int = 0, offered: int = 0
    ) -> None:
        self.limit, self.ledger, self.longest_answer = limit, ledger, longest_answer
        self.turns, self.added, self.offered = turns, added, offered
        self.reserved, self.under_way = 0.0, 0
        self._changed = asyncio.Condition()

    def most(self, messages: Sequence[Mapping[str, str]]) -> float:
        """Dollars that a request can cost: no token is shorter than a byte, and servers count no fewer than before."""
        size = len(json.dumps(list(messages), ensure_ascii=False).encode("utf-8", "replace"))
        tokens_in = max(size + AROUND * len(messages), 0 if self.turns > 1 else self.ledger.longest_prompt)
        if self.turns > 1:
            added = (self.turns - 1) * (self.added + 2 * AROUND) + self.longest_answer
            tokens_in = self.turns * (tokens_in + self.offered + added)
        price_in, price_out = self.ledger.prices
        return (price_in * tokens_in + price_out * self.longest_answer) / 1e6

    @asynccontextmanager
    async def for_request(self, messages: Sequence[Mapping[str, str]]) -> AsyncIterator[bool]:
        """True while the request may be made; False where the budget does not allow it."""
        if not self.limit:
            yield True
            return
        price = self.most(messages)
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(price) or not self.under_way)
            fits = self._fits(price)
            if fits:
                self.reserved += price
                self.under_way += 1
        try:
            yield fits
        finally:
            if fits:
                async with self._changed:
                    self.reserved -= price
                    self.under_way -= 1
                    self._changed.notify_all()

    def _fits(self, price: float) -> bool:
        return self.ledger.cost + self.reserved + price <= self.limit * (1 + 1e-9)
