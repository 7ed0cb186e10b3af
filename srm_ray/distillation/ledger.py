"""What has been asked, answered and graded: each answer is on disk before it is graded, none is paid for twice.

Answer --answers.jsonl--> grade --grades.jsonl--> counts, cost, rows for SFT
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rewards.extract import CLOSE, OPEN
from rewards.verdict import Reward
from srm_ray.errors import UserError
from srm_ray.files.journal import Journal
from srm_ray.intervals import wilson

Place = tuple[int, int]  # (prompt index, sample)
REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """One completion. text: thinking in think tags, then the answer; "" where the server refused the request.

    finish: "stop", "length" or "refused". tokens_in, tokens_out: of prompt and completion, as billed. episode: where
    one was played its messages and its record (`srm_ray.distillation.episodes`); text is then its last turn.
    """

    text: str
    finish: str
    tokens_in: int
    tokens_out: int
    episode: dict[str, Any] | None = None

    @property
    def full_text(self) -> str:
        """The whole conversation or the text: answers with the same one are duplicates."""
        return json.dumps(self.episode["messages"]) if self.episode else self.text


def whole(content: str, reasoning: str) -> str:
    """A completion as SFT data has it: what the server keeps apart as reasoning, and thinking that the prompt's
    template opened, in think tags in front of the answer."""
    if reasoning.strip():
        return f"{OPEN}\n{reasoning.strip()}\n{CLOSE}\n{content.strip()}"
    if CLOSE in content and OPEN not in content.partition(CLOSE)[0]:
        return f"{OPEN}\n{content.strip()}"
    return content.strip()


def plain(answer: Answer) -> dict[str, Any]:
    return {name: value for name, value in asdict(answer).items() if name != "episode" or value is not None}


class Ledger:
    """The answers and grades of a run folder. prices: dollars for a million tokens in, out."""

    def __init__(self, folder: Path, prices: tuple[float, float]):
        self.prices = prices
        self._answers, self._grades = Journal(folder / "answers.jsonl"), Journal(folder / "grades.jsonl")
        self.answers: dict[Place, Answer] = {}
        self.tokens = (0, 0)  # in, out, of all answers
        self.longest_prompt = 0  # tokens
        self.digests: dict[int, int] = {}
        self.grades: dict[Place, tuple[bool | None, str]] = {}
        for line in self._answers.lines():
            answer = Answer(line["text"], line["finish"], line["tokens_in"], line["tokens_out"], line.get("episode"))
            self._keep((line["index"], line["sample"]), answer)
            self.digests[line["index"]] = line["prompt"]
        for line in self._grades.lines():
            self.grades[line["index"], line["sample"]] = (line["correct"], line["reason"])

    def same_prompt(self, index: int, digest: int) -> None:
        """Raises `UserError` where an answer on record was to another prompt."""
        if self.digests.get(index, digest) != digest:
            raise UserError(
                f"prompt {index} is not the one that was answered in this run folder: the data has changed; "
                "give another --run_dir, or --resume never to start over"
            )

    def add(self, place: Place, digest: int, answer: Answer) -> None:
        index, sample = place
        self._answers.add({"index": index, "sample": sample, "prompt": digest, **plain(answer)})
        self._keep(place, answer)

    def _keep(self, place: Place, answer: Answer) -> None:
        self.answers[place] = answer
        self.tokens = (self.tokens[0] + answer.tokens_in, self.tokens[1] + answer.tokens_out)
        self.longest_prompt = max(self.longest_prompt, answer.tokens_in)

    def grade(self, place: Place, reward: Reward) -> None:
        index, sample = place
        self._grades.add({"index": index, "sample": sample, "correct": reward.correct, "reason": reward.reason})
        self.grades[place] = (reward.correct, reward.reason)

    def close(self) -> None:
        self._answers.close()
        self._grades.close()

    @property
    def cost(self) -> float:
        """Dollars."""
        return sum(price * tokens for price, tokens in zip(self.prices, self.tokens, strict=True)) / 1e6

    def accepted(self, prompts: int, samples: int, per_prompt: int) -> Iterator[tuple[Place, Answer]]:
        """Right answers to the first `prompts` in order, each text of a prompt once, at most `per_prompt` (0: all)."""
        kept: dict[int, set[str]] = {}
        for place in sorted(place for place in self.answers if place[0] < prompts and place[1] < samples):
            answer, texts = self.answers[place], kept.setdefault(place[0], set())
            if self.grades.get(place, (None, ""))[0] is not True or answer.full_text in texts:
                continue
            if per_prompt and len(texts) >= per_prompt:
                continue
            texts.add(answer.full_text)
            yield place, answer

    def summary(self) -> dict[str, Any]:
        tokens_in, tokens_out = self.tokens
        right = sum(correct is True for correct, _ in self.grades.values())
        return {
            "answers": len(self.answers),
            "right": right,
            "acceptance": wilson(right, len(self.grades)).to_plain(),
            "reasons": dict(Counter(reason for _, reason in self.grades.values()).most_common()),
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "cost_dollars": self.cost,
        }
