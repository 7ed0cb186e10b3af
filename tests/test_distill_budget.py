"""A budget holds however many requests are under way."""

import asyncio
from pathlib import Path

from srm_ray.distillation.budget import AROUND, Budget
from srm_ray.distillation.ledger import Answer, Ledger

MESSAGE = [{"role": "user", "content": "?"}]


def spend(tmp_path: Path, limit: float, *, requests: int, costs: int, longest: int) -> tuple[int, float]:
    """How many of so many concurrent requests were made, and what they cost, dollars: each token is one."""
    ledger = Ledger(tmp_path, (0.0, 1e6))
    budget = Budget(limit, ledger, longest)

    async def one(place: int) -> None:
        async with budget.for_request(MESSAGE) as affordable:
            if affordable:
                await asyncio.sleep(0.001 * (place % 3))
                ledger.add((place, 0), 0, Answer("", "stop", 1, costs))

    async def all_of_them() -> None:
        await asyncio.gather(*(one(place) for place in range(requests)))

    asyncio.run(all_of_them())
    ledger.close()
    assert budget.reserved == 0 and budget.under_way == 0
    return len(ledger.answers), ledger.cost


def test_concurrent_requests_do_not_overshoot(tmp_path: Path) -> None:
    made, cost = spend(tmp_path, 20.0, requests=40, costs=4, longest=4)
    assert (made, cost) == (5, 20.0)


def test_answers_shorter_than_they_might_be_leave_room_for_more(tmp_path: Path) -> None:
    made, cost = spend(tmp_path, 20.0, requests=40, costs=1, longest=8)
    assert cost == made == 13  # the fourteenth might have cost 8


def test_no_limit_is_none(tmp_path: Path) -> None:
    assert spend(tmp_path, 0.0, requests=40, costs=4, longest=10**9) == (40, 160.0)


def test_prompts_cost_what_servers_have_counted(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, (1e6, 0.0))
    budget = Budget(1.0, ledger, 5)
    assert AROUND < budget.most(MESSAGE) < 2 * AROUND
    ledger.add((0, 0), 0, Answer("", "stop", 1000, 5))
    assert budget.most(MESSAGE) == 1000
    again = Ledger(tmp_path, (1e6, 0.0))
    assert (again.tokens, again.longest_prompt, again.cost) == ((1000, 5), 1000, 1000.0)
    ledger.close()
