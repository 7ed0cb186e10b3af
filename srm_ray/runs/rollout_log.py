"""`rollouts/step_<n>.jsonl`: every completion of a step, so that it can be read, searched and replayed.

One line a completion: `prompt_index`, `draw`, `sample`, `prompt`, `completion`, `gold`, `reward`, `correct`,
`reason`, `parts`, `advantage`, `kept` (trained on), `finish_reason`, `seed`, `worker`, `token_ids`,
`logprobs` (as sampled), `versions` (of each token, as [version, count] runs), where trained on
`learner_logprobs` (the learner's own before the step, six decimals), where there is a teacher `teacher` (what it makes
of the tokens; see `srm_ray.rl.types.TeacherScores`), of an episode `episode` (`turns` with the places
of sampled tokens in `token_ids`, what was called and the environment's replies; see `srm_ray.rl.types.Episode`), and on
the first line of a group `prompt_ids`. All other floats are written so that they read back bit for bit: a step can be
replayed.
"""

import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rewards.verdict import Reward
from srm_ray.errors import UserError, one_line
from srm_ray.files.atomic import replacing_file
from srm_ray.rl.types import Completion, Episode, Group, Prompt, TeacherScores

MALFORMED = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)


def path_of(folder: Path, step: int) -> Path:
    return folder / f"step_{step:06d}.jsonl"


def write(
    folder: Path,
    step: int,
    groups: Iterable[Group],
    kept: set[tuple[int, int]],
    learner: Iterable[tuple[Group, Sequence[np.ndarray]]] = (),
) -> None:
    """Write the groups graded in `step`; `kept` holds (prompt index, draw) of those that were trained on.

    learner: groups trained on, each with the learner's log-probabilities of its completions' tokens, [T] each.
    """
    proofs = {(group.prompt.index, group.draw): logprobs for group, logprobs in learner}
    folder.mkdir(parents=True, exist_ok=True)
    with replacing_file(path_of(folder, step)) as partial, partial.open("w") as file:
        for group in groups:
            own = proofs.get((group.prompt.index, group.draw))
            for sample in range(len(group.completions)):
                line = _line(group, sample, (group.prompt.index, group.draw) in kept)
                if own is not None:
                    line["learner_logprobs"] = np.round(own[sample].astype(np.float64), 6).tolist()
                file.write(json.dumps(line) + "\n")


def _line(group: Group, sample: int, kept: bool) -> dict[str, Any]:
    completion, reward = group.completions[sample], group.rewards[sample]
    assert group.advantages is not None, "advantages come before the log"
    line: dict[str, Any] = {
        "prompt_index": group.prompt.index,
        "draw": group.draw,
        "sample": sample,
        "prompt": group.prompt.text,
        "completion": completion.text,
        "gold": group.prompt.answer,
        "reward": reward.value,
        "correct": reward.correct,
        "reason": reward.reason,
        "parts": reward.parts,
        "advantage": float(group.advantages[sample]),
        "kept": kept,
        "finish_reason": completion.finish_reason,
        "seed": completion.seed,
        "worker": completion.worker,
        "token_ids": completion.token_ids.tolist(),
        "logprobs": completion.logprobs.tolist(),
        "versions": [[version, len(list(run))] for version, run in itertools.groupby(completion.versions.tolist())],
    }
    if completion.teacher is not None:
        line["teacher"] = completion.teacher.record()
    if completion.episode is not None:
        line["episode"] = completion.episode.record()
    if sample == 0:
        line["prompt_ids"] = list(group.prompt.token_ids)
    return line


def read(folder: Path, step: int) -> tuple[Group, ...]:
    """The groups that `step` trained on, by prompt index and draw, equal in all that the learner reads.

    Raises FileNotFoundError where the step has no file, UserError where a line of it is broken.
    """
    return read_all(folder, step)[0]


def read_all(folder: Path, step: int) -> tuple[tuple[Group, ...], tuple[Group, ...]]:
    """The groups that `step` trained on, and those it did not; see `read`."""
    path = path_of(folder, step)
    groups: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for number, text in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        try:
            line = json.loads(text)
            groups.setdefault((line["prompt_index"], line["draw"]), []).append(line)
        except MALFORMED as error:
            raise UserError(f"{path}, line {number}: {type(error).__name__}: {one_line(error)}") from None
    try:
        kept = tuple(_group(groups[key]) for key in sorted(groups) if groups[key][0]["kept"])
        return kept, tuple(_group(groups[key]) for key in sorted(groups) if not groups[key][0]["kept"])
    except MALFORMED as error:
        raise UserError(f"{path} holds what no run writes: {type(error).__name__}: {one_line(error)}") from None


def _group(lines: list[dict[str, Any]]) -> Group:
    lines = sorted(lines, key=lambda line: line["sample"])
    first = lines[0]
    return Group(
        prompt=Prompt(first["prompt_index"], tuple(first["prompt_ids"]), first["prompt"], answer=first["gold"]),
        completions=tuple(_completion(line) for line in lines),
        draw=first["draw"],
        rewards=tuple(Reward(line["reward"], line["correct"], line["reason"], parts=line["parts"]) for line in lines),
        advantages=np.array([line["advantage"] for line in lines], np.float32),
    )


def _completion(line: dict[str, Any]) -> Completion:
    versions, counts = zip(*line["versions"], strict=True) if line["versions"] else ((), ())
    if sum(counts) != len(line["token_ids"]) or min(counts, default=0) < 0:
        raise ValueError(f"versions of {sum(counts)} tokens, where there are {len(line['token_ids'])}")
    return Completion(
        token_ids=np.array(line["token_ids"], np.int32),
        logprobs=np.array(line["logprobs"], np.float32),
        versions=np.repeat(np.array(versions, np.int32), counts),
        finish_reason=line["finish_reason"],
        seed=line["seed"],
        text=line["completion"],
        worker=line["worker"],
        episode=Episode.of(line.get("episode")),
        teacher=TeacherScores.of(line.get("teacher")),
    )


def discard_after(folder: Path, step: int) -> None:
    """Remove the steps that a continued run does again."""
    for path in folder.glob("step_*.jsonl"):
        number = path.stem.removeprefix("step_")
        if number.isdecimal() and len(number) < 16 and int(number) > step:
            path.unlink()
