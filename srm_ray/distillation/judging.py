"""A frozen model as judge: asked in words what completions are worth, once for each question that differs.

    prompt, completions --template--> messages --Asked (endpoint, or a pool's engines)--> text --pattern--> verdict
                                                  |
                                       answers.jsonl (paid for once; an answer on record is not asked for again)

A verdict is `rewards.user.Own`: true or false, or a number. Where the judge gave none it is a `Failure`, with which the
sample is masked out of the loss: no answer in time or none with a verdict in it, or its calls or its budget are spent.
"""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from rewards.extract import after_thinking, opened_thinking
from rewards.sandbox.processes import Failure
from rewards.user import Own
from srm_ray.config.judge import WORDS, JudgeConfig
from srm_ray.console.progress import echo
from srm_ray.data.splits import digest
from srm_ray.distillation.budget import Budget
from srm_ray.distillation.ledger import REFUSED, Answer, Ledger
from srm_ray.errors import RunError, UserError, one_line
from srm_ray.inference.openai_client import Failed
from srm_ray.model.template_sandbox import compiled, render
from srm_ray.rl.types import Group

FAILED, LIMIT, TIMEOUT = Failure("judge_failed"), Failure("judge_limit"), Failure("timeout")


class Asked(Protocol):
    """The judge's model."""

    async def answer(self, messages: Sequence[dict[str, str]], seed: int) -> Answer:
        """Raises `Failed` where there is none, `UserError` where there never will be."""
        ...


class Judge:
    """folder: where its answers are kept. Raises `UserError` for a bad template."""

    def __init__(self, options: JudgeConfig, asked: Asked, folder: Path) -> None:
        from jinja2 import TemplateError

        self.options, self.asked = options, asked
        try:
            compiled(options.template)
        except TemplateError as error:
            raise UserError(f"reward.judge.template: {one_line(error)}") from None
        folder.mkdir(parents=True, exist_ok=True)
        self.ledger = Ledger(folder, (options.endpoint.price_in, options.endpoint.price_out))
        self.budget = Budget(options.budget, self.ledger, options.max_new_tokens)
        self.calls, self.failed, self.spent = len(self.ledger.answers), 0, False
        self._under_way: dict[int, asyncio.Future[Own | Failure]] = {}

    async def verdicts(self, group: Group) -> list[Own | Failure]:
        """One for each completion, in order. The same words are asked about once."""
        return list(
            await asyncio.gather(
                *(self._verdict(messages_of(self.options, group, place)) for place in range(len(group.completions)))
            )
        )

    async def _verdict(self, messages: list[dict[str, str]]) -> Own | Failure:
        key = digest(messages[0]["content"])
        if (known := self.ledger.answers.get((key, 0))) is not None:
            return parsed(self.options, known)
        if key not in self._under_way:
            self._under_way[key] = asyncio.ensure_future(self._ask(messages, key))
            self._under_way[key].add_done_callback(lambda done: self._under_way.pop(key, None))
        return await asyncio.shield(self._under_way[key])

    async def _ask(self, messages: list[dict[str, str]], key: int) -> Own | Failure:
        async with self.budget.for_request(messages) as affordable:
            if not affordable or (self.options.calls and self.calls >= self.options.calls):
                return self._limit()
            self.calls += 1
            try:
                async with asyncio.timeout(self.options.timeout):
                    answer = await self.asked.answer(messages, key)
            except TimeoutError:
                return self._lost(TIMEOUT)
            except (Failed, RunError):
                return self._lost(FAILED)
            self.ledger.add((key, 0), key, answer)
        verdict = parsed(self.options, answer)
        return self._lost(verdict) if isinstance(verdict, Failure) else verdict

    def _limit(self) -> Failure:
        if not self.spent:
            self.spent = True
            spent = f"{self.calls} calls, ${self.ledger.cost:.4f}"
            echo(f"the judge is not asked any more ({spent}): further verdicts are null")
        return self._lost(LIMIT)

    def _lost(self, why: Failure) -> Failure:
        self.failed += 1
        return why

    def describe(self) -> dict[str, float]:
        return {"judge/calls": self.calls, "judge/failed": self.failed, "judge/cost": self.ledger.cost}

    def close(self) -> None:
        self.ledger.close()


def messages_of(options: JudgeConfig, group: Group, place: int) -> list[dict[str, str]]:
    """What the judge is asked of a completion."""
    prompt, text = group.prompt, group.completions[place].text
    users = [message["content"] for message in prompt.messages if message["role"] == "user"]
    known = {
        "question": users[-1] if users else prompt.text,
        "answer": (after_thinking(opened_thinking(prompt.text) + text) or "").strip(),
        "completion": text,
        "gold": prompt.answer or "",
    }
    return [{"role": "user", "content": render(options.template, known)}]


def parsed(options: JudgeConfig, answer: Answer) -> Own | Failure:
    """The verdict in an answer: the last match of the pattern."""
    ruling = after_thinking(answer.text) or ""
    found = re.findall(options.pattern, ruling) if answer.finish != REFUSED else []
    if not found:
        return FAILED
    word = found[-1].strip().lower()
    if word in WORDS:
        return Own(float(WORDS[word]), WORDS[word])
    try:
        value = float(word) / options.scale
    except ValueError:
        return FAILED
    return Own(value, None) if abs(value) < float("inf") else FAILED
