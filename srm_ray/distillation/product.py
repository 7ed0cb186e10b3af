"""What a distillation is asked for, and what comes of it: SFT data, and a summary.

Job (problems, answers on record, grades) --finish--> final/sft.jsonl, summary.json
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from srm_ray.config.distill import DistillConfig
from srm_ray.console.progress import echo
from srm_ray.errors import RunError
from srm_ray.files.atomic import write_atomically
from srm_ray.files.journal import encoded
from srm_ray.runs.folder import RunFolder

if TYPE_CHECKING:
    from srm_ray.data.prompts import TaskStream
    from srm_ray.data.tasks import Task
    from srm_ray.distillation.ledger import Answer, Ledger
    from srm_ray.environments.contract import Contract
    from srm_ray.rl.types import Group, Reward

PRODUCT = "sft.jsonl"


class Scorer(Protocol):
    """What grades: a reward worker in this process, or those on Ray beside a local teacher's engines."""

    async def score(self, group: "Group") -> "Sequence[Reward]": ...


@dataclass(frozen=True)
class Job:
    """What is asked, and what has been. count: prompts. contract: of the environment, where one is played with."""

    config: DistillConfig
    tasks: "TaskStream"
    count: int
    ledger: "Ledger"
    contract: "Contract | None" = None


def finish(job: Job, folder: RunFolder, teacher: str, failures: Sequence[str], seconds: float) -> int:
    """SFT data and summary; RunError, and neither of them, while completions are missing that the budget allows."""
    from srm_ray.model.lineage import write_lineage

    config, tasks, count, ledger = job.config, job.tasks, job.count, job.ledger
    missing = sum((index, sample) not in ledger.grades for index in range(count) for sample in range(config.samples))
    if failures:
        raise RunError(
            f"{missing} of {count * config.samples} completions are missing, {len(failures)} requests failed, the last "
            f"one with: {failures[-1]}; {len(ledger.answers)} are saved: the same command asks for the others"
        )
    accepted = ledger.accepted(count, config.samples, config.per_prompt)
    rows = [row_of(job, tasks.task(place[0])[0], answer) for place, answer in accepted]
    folder.final.mkdir(exist_ok=True)
    write_lineage(folder.final, stage="distill", parent=teacher, config=config, steps=0)
    write_atomically(folder.final / PRODUCT, "".join(map(encoded, rows)))
    summary = ledger.summary()
    kept = {
        "prompts": count,
        "wanted": count * config.samples,
        "kept": len(rows),
        "missing": missing,
        "wall_seconds": seconds,
    }
    folder.write_summary({**kept, **summary, "teacher": teacher, "final": str(folder.final / PRODUCT)})
    echo_summary(summary, kept)
    echo(f"SFT data {folder.final / PRODUCT} (python -m srm_ray.sft --data.path reads it)")
    return 0


def echo_summary(summary: dict[str, Any], kept: dict[str, Any]) -> None:
    share = summary["acceptance"]
    echo("")
    echo(f"prompts       {kept['prompts']}, completions {summary['answers']}")
    echo(f"accepted      {summary['right']} ({share['value']:.1%} [{share['low']:.1%}, {share['high']:.1%}])")
    echo(f"kept          {kept['kept']} (each text once)")
    echo(f"grades        {', '.join(f'{reason} {number}' for reason, number in summary['reasons'].items())}")
    echo(f"tokens        {summary['tokens_in']:,} in, {summary['tokens_out']:,} out")
    echo(f"cost          ${summary['cost_dollars']:.4f}")
    if kept["missing"]:
        echo(f"not asked     {kept['missing']}: the budget is spent")


def row_of(job: Job, task: "Task", answer: "Answer") -> dict[str, Any]:
    from srm_ray.data.prompts import with_system
    from srm_ray.distillation.episodes import row_of_answer

    config = job.config
    if job.contract is not None:
        system, keep = config.data.system, config.keep_system
        return row_of_answer(answer, job.contract, task.source, keep_system=keep, system=system)
    messages = with_system(task.messages, config.data.system if config.keep_system else "")
    return {"messages": [*messages, {"role": "assistant", "content": answer.text}], "source": task.source}
