"""Preference pairs from a GRPO run's graded rollouts: a right and a wrong completion of one prompt.

Pairs keep the token ids that were sampled, so that nothing is re-tokenised; of an episode those of its environment too,
which carry no loss. Of each group, the
shorter of its right and wrong completions' numbers of pairs are made; which with which is drawn by
the seed.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.data import reading
from srm_ray.data.reports import Encoded, Report
from srm_ray.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Group = dict[bool, list[Encoded]]  # ids and mask of each completion, by whether it is right


def read(
    run_dir: str,
    tokenizer: "PreTrainedTokenizerFast",
    stops: Sequence[int],
    *,
    seed: int,
    max_prompt: int,
    max_completion: int,
) -> tuple[list[tuple[Encoded, Encoded]], Report]:
    """Pairs of every group that has both kinds. stops: tokens that end a completion.

    Raises `UserError` when there are no pairs.
    """
    folder = Path(run_dir) / "rollouts"
    files = sorted(folder.glob("step_*.jsonl"))
    if not files:
        raise UserError(f"--from_rollouts {run_dir}: no rollouts/step_*.jsonl in it")
    check_tokenizer(files[0], tokenizer)
    report = Report(unit="completions", kept_unit="pairs")
    pairs: list[tuple[Encoded, Encoded]] = []
    for path in files:
        for prompt, group in groups(path, stops, report):
            if len(prompt) > max_prompt:
                report.drops.add(f"prompt longer than {max_prompt} tokens (data.max_prompt)")
                continue
            pairs += pair_up(prompt, group, max_completion, random.Random(f"pairs/{seed}/{path.name}/{len(pairs)}"))
    if not pairs:
        raise UserError(f"--from_rollouts {run_dir}: no group has a right and a wrong completion: {report}")
    report.kept = len(pairs)
    report.tokens[str(folder)] = sum(len(ids) for pair in pairs for ids, _ in pair)
    return pairs, report


def check_tokenizer(path: Path, tokenizer: "PreTrainedTokenizerFast") -> None:
    """Raise `UserError` where the ids of the first rollout are not its prompt's text to this tokenizer."""
    for number, row in reading.rows(path, "--from_rollouts"):
        ids, text = row.get("prompt_ids"), row.get("prompt")
        if not ids or not isinstance(text, str):
            raise UserError(f"{path}:{number}: not a rollout (no prompt and prompt_ids)")
        if max(ids) >= len(tokenizer) or tokenizer.decode(ids, skip_special_tokens=False) != text:
            raise UserError(
                f"{path}:{number}: sampled with another tokenizer than --model's: pairs keep the sampled ids, "
                "so give the model that the run started from"
            )
        return


def groups(path: Path, stops: Sequence[int], report: Report) -> list[tuple[list[int], Group]]:
    """(prompt ids, finished completions by whether they are right) of each group of a step's file."""
    prompts: dict[tuple[int, int], list[int]] = {}
    found: dict[tuple[int, int], Group] = defaultdict(lambda: {True: [], False: []})
    for number, row in reading.rows(path, "--from_rollouts"):
        try:
            key = (row["prompt_index"], row["draw"])
            prompts.setdefault(key, row.get("prompt_ids", []))
            tokens, correct = row["token_ids"], row["correct"]
        except (KeyError, TypeError) as error:
            raise UserError(f"{path}:{number}: not a rollout ({type(error).__name__}: {error})") from None
        report.drops.read += 1
        if correct is None or not tokens or tokens[-1] not in stops:
            report.drops.add("undecided or cut off")
            continue
        found[key][bool(correct)].append((tokens, sampled(tokens, row.get("episode"))))
    return [(prompts[key], group) for key, group in found.items() if prompts[key]]


def pair_up(prompt: list[int], group: Group, longest: int, draw: random.Random) -> list[tuple[Encoded, Encoded]]:
    right, wrong = ([one for one in group[kind] if len(one[0]) <= longest] for kind in (True, False))
    draw.shuffle(right)
    draw.shuffle(wrong)
    encode = lambda one: (prompt + one[0], [False] * len(prompt) + one[1])  # noqa: E731
    return [(encode(a), encode(b)) for a, b in zip(right, wrong, strict=False)]


def sampled(tokens: list[int], episode: dict[str, Any] | None) -> list[bool]:
    """Which tokens of a completion the policy sampled: all but the environment's replies."""
    if episode is None:
        return [True] * len(tokens)
    mask = [False] * len(tokens)
    for turn in episode["turns"]:
        mask[turn["start"] : turn["end"]] = [True] * (turn["end"] - turn["start"])
    return mask
