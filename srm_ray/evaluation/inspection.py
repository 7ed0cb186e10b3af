"""`--inspect N` of evaluations: the first problems of each suite as the model is asked them, and what is right."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from srm_ray.config.evaluate import EvaluateConfig
from srm_ray.console.progress import echo
from srm_ray.data.inspection import cut
from srm_ray.data.rendering import render_prompt
from srm_ray.data.turn_masks import ContextLosses
from srm_ray.evaluation import suites
from srm_ray.evaluation.evaluator import messages_of
from srm_ray.evaluation.suites import Item, Suite
from srm_ray.model.loading import open_model, require_attention

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def inspect(config: EvaluateConfig, asked: Sequence[Suite]) -> int:
    """Show the first `config.inspect` problems of each suite that this project reads itself. Starts nothing."""
    prompt = config.prompt
    rendered = config.model and prompt.chat_template and not config.endpoint
    tokenizer = None
    if rendered:
        info = open_model(config.model, config.chat_template)
        require_attention(info)
        tokenizer = info.tokenizer
    for suite in asked:
        if suite.kind == "harness":
            echo(f"{suite.name}: its problems are lm-evaluation-harness's own")
            continue
        items = suites.load(suite, config.data.path, config.inspect)
        for item in items:
            messages = messages_of(suite, item, prompt)
            text = "\n\n".join(message["content"] for message in messages)
            if tokenizer is not None:
                text = tokenizer.decode(render_prompt(tokenizer, messages), skip_special_tokens=False)
            gold = item.answer if item.answer is not None else f"{item.tests} (entry point {item.entry_point})"
            echo(f"--- {suite.name} {item.index + 1}\n{cut(text)}\n\ngold    {cut(gold)}\ngrader  {item.kind}\n")
        if tokenizer is not None:
            report_lost(config, suite, items, tokenizer)
    return 0


def report_lost(
    config: EvaluateConfig, suite: Suite, items: Sequence[Item], tokenizer: "PreTrainedTokenizerFast"
) -> None:
    """Print what the chat template leaves out of a suite's prompts."""
    losses = ContextLosses(tokenizer)
    lost: Counter[str] = Counter()
    for item in items:
        messages = messages_of(suite, item, config.prompt)
        lost.update(losses.of(messages, partial(render_prompt, tokenizer, messages)))
    for what, count in lost.items():
        echo(f"{suite.name}: in {count:,} of {len(items):,} prompts {what}")
