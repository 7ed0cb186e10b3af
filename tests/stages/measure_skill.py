"""How a model does at held-out sums: `python tests/stages/measure_skill.py FOLDER [PROBLEMS]`.

Prints greedy and sampled accuracy, the share of completions that think, and accuracy within each kind.
"""

import sys
from dataclasses import dataclass
from typing import Any

from srm_ray.data import arithmetic
from srm_ray.data.rendering import render_prompt
from srm_ray.model import tokenization
from srm_ray.model.sampling import sample


@dataclass(frozen=True)
class Skill:
    """accuracy, thinking: shares of all completions; when_thinking, when_bare: accuracy within each kind."""

    accuracy: float
    thinking: float
    when_thinking: float
    when_bare: float
    length: float

    def __str__(self) -> str:
        return (
            f"accuracy {self.accuracy:.3f}  thinking {self.thinking:.3f}  when thinking {self.when_thinking:.3f}  "
            f"when bare {self.when_bare:.3f}  length {self.length:.1f} tokens"
        )


def measure(model: Any, tokenizer: Any, *, count: int = 500, temperature: float = 1.0) -> Skill:
    asked = arithmetic.problems(99, count, "held_out")
    prompts = [render_prompt(tokenizer, [{"role": "user", "content": one.question}]) for one in asked]
    stops = tokenization.stop_ids(tokenizer)
    sampled = sample(model, prompts, stop_ids=stops, max_new_tokens=64, temperature=temperature)
    graded = [grade(tokenizer.decode(ids), one) for ids, one in zip(sampled, asked, strict=True)]
    kinds = {kind: [right for thinks, right in graded if thinks == kind] for kind in (True, False)}
    return Skill(
        accuracy=mean([right for _, right in graded]),
        thinking=len(kinds[True]) / count,
        when_thinking=mean(kinds[True]),
        when_bare=mean(kinds[False]),
        length=sum(map(len, sampled)) / count,
    )


def grade(text: str, problem: arithmetic.Problem) -> tuple[bool, bool]:
    """(thinks, right)."""
    thought, _, answer = text.partition("</think>")
    return bool(thought.strip()), answer.strip() == arithmetic.answer_text(problem.answer)


def mean(values: list[bool]) -> float:
    return sum(values) / len(values) if values else 0.0


def main(folder: str, count: int = 1000) -> None:
    from transformers import AutoModelForCausalLM

    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), tokenization.load(folder)
    for temperature in (0.0, 1.0):
        print(f"T {temperature}: {measure(model, tokenizer, count=count, temperature=temperature)}")


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
