"""Keep the problems that a model solves sometimes: those of which GRPO learns.

    problems -> the training sampler, G completions each -> graders -> right low..high times of G?
             -> final/problems.jsonl

Takes every option and config of `srm_ray.grpo`. The pass rate is that of training: same temperature, same graders,
same seeds. A continued run asks only for the problems that are missing. What it keeps is read back with --data.path.
"""

import asyncio
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.config.command_line import parse
from srm_ray.config.filter import FilterConfig
from srm_ray.config.grpo import bounds
from srm_ray.console import interrupts, output
from srm_ray.console.command import command
from srm_ray.console.progress import echo, phase
from srm_ray.errors import UserError
from srm_ray.files.atomic import write_atomically
from srm_ray.files.journal import Journal, encoded
from srm_ray.runs.folder import MAY_CHANGE, RunFolder

if TYPE_CHECKING:
    from actors.rollout.sampler import Sampler
    from srm_ray.data.prompts import PromptStream
    from srm_ray.data.tasks import Task
    from srm_ray.rl.types import Group

KEPT = "problems.jsonl"


@command
def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    config = parse(FilterConfig, arguments, stage="filter", default="grpo/tiny", about=__doc__)
    if config.inspect:
        from actors.reward import spec
        from srm_ray.data.inspection import inspect

        return inspect(config, config.inspect, trial=spec.trial(config.reward))
    folder = RunFolder(config.run_dir, stage="filter")
    folder.create()
    if config.resume == "never":
        Path(folder.path / "rates.jsonl").unlink(missing_ok=True)
        folder.clear()  # the config last, since it says how what there is was made
    output.log_to(folder.logs)
    # Other bounds need no other samples.
    config = folder.check_config(config, may_change=MAY_CHANGE | {"keep.low", "keep.high", "keep.limit"})
    kept = "what was tried is kept: the same command tries the rest"
    with interrupts.advising(lambda: kept):
        return interrupts.run(run(config, folder))


async def run(config: FilterConfig, folder: RunFolder) -> int:
    from actors.grpo_run import open_problems
    from actors.reward import spec
    from actors.rollout.sampler import Sampler
    from actors.runtime import cluster, compute
    from actors.worker_groups import reward_spec
    from srm_ray.data.prompts import ROWS_CHECKED

    opened = open_problems(config, compute.settle_rollout)
    config, stream = opened.config, opened.stream
    spec.check(reward_spec(config), stream.first(ROWS_CHECKED))
    count = problems_to_try(config, stream)
    journal = Journal(folder.path / "rates.jsonl")
    rates = {line["index"]: line for line in journal.lines() if line["index"] < count}
    if len(rates) < count:
        cluster.connect()
        try:
            async with Sampler(config, opened.info, context=opened.lengths.context) as sampler:
                folder.save_config(config)
                rates = await rates_of(config, sampler, stream, count, journal)
        finally:
            cluster.disconnect()
    folder.save_config(config)
    return finish(config, folder, stream, rates)


def problems_to_try(config: FilterConfig, stream: "PromptStream") -> int:
    if stream.size is None and not config.keep.limit:
        raise UserError("these problems never end: give --keep.limit, the number to try")
    return min(config.keep.limit or stream.size or 0, stream.size or sys.maxsize)


async def rates_of(
    config: FilterConfig, sampler: "Sampler", stream: "PromptStream", count: int, journal: Journal
) -> dict[int, dict[str, Any]]:
    """How each problem went, by its index: those on record, and those of the problems that are missing there."""
    rates = {line["index"]: line for line in journal.lines()}
    missing = [index for index in range(count) if index not in rates]
    if rates:
        echo(f"{len(rates)} of {count} problems were tried before")
    # Enough for the engines to be full, few enough for the graders to keep up.
    sequences = 2 * bounds(config.rollout.workers)[0] * config.rollout.max_num_seqs
    slots = asyncio.Semaphore(max(1, sequences // config.rollout.group_size))

    async def one(index: int) -> None:
        async with slots:
            group = await sampler.graded(stream[index])
        rates[index] = rate_of(group)
        journal.add(rates[index])
        counted.advance()

    try:
        with phase("trying problems", total=count, done=count - len(missing)) as counted:
            async with asyncio.TaskGroup() as tasks:
                for index in missing:
                    tasks.create_task(one(index))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        journal.close()
    return {index: rates[index] for index in sorted(rates) if index < count}


def rate_of(group: "Group") -> dict[str, Any]:
    return {
        "index": group.prompt.index,
        "source": group.prompt.source,
        "right": sum(reward.correct is True for reward in group.rewards),
        "undecided": sum(reward.correct is None for reward in group.rewards),
        "of": len(group.rewards),
        "tokens": sum(len(completion.token_ids) for completion in group.completions),
    }


def verdict(rate: dict[str, Any], config: FilterConfig) -> str:
    """ "kept", or why not."""
    if rate["undecided"]:
        return "undecided"
    if rate["right"] < config.keep.low:
        return "too hard"
    return "too easy" if rate["right"] > config.keep.high else "kept"


def finish(config: FilterConfig, folder: RunFolder, stream: "PromptStream", rates: dict[int, dict[str, Any]]) -> int:
    rows, counts = [], Counter({"kept": 0, "too hard": 0, "too easy": 0, "undecided": 0})
    sources: dict[str, Counter[str]] = {}
    for index, rate in sorted(rates.items()):
        outcome = verdict(rate, config)
        counts[outcome] += 1
        sources.setdefault(rate["source"], Counter())[outcome] += 1
        if outcome == "kept":
            task, _ = stream.tasks.task(index)
            rows.append(row_of(task) | {"pass_rate": rate["right"] / rate["of"]})
    folder.final.mkdir(exist_ok=True)
    write_atomically(folder.final / KEPT, "".join(map(encoded, rows)))
    folder.write_summary(
        {
            "problems": len(rates),
            **{name.replace(" ", "_"): number for name, number in counts.items()},
            "by_source": {source: dict(found) for source, found in sources.items()},
            "tokens": sum(rate["tokens"] for rate in rates.values()),
            "final": str(folder.final / KEPT),
        }
    )
    echo(", ".join(f"{number} {name}" for name, number in counts.items()) + f" of {len(rates)}")
    echo(f"kept problems {folder.final / KEPT} (--data.path reads them)")
    return 0


def row_of(task: "Task") -> dict[str, Any]:
    """A line that `data.path` reads as the same problem, with the columns of its own that a reward may ask for."""
    from srm_ray.data.mbpp import is_mbpp

    plain = asdict(replace(task, row=None))
    del plain["where"]
    own = task.row or {}
    columns = {} if is_mbpp(own) else own  # a row of MBPP is one of its splits again where it is read
    return columns | {name: value for name, value in plain.items() if value not in (None, "", ())}


if __name__ == "__main__":
    sys.exit(main())
