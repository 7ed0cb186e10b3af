"""`--inspect N`: the first problems as a run would see them: the prompt as rendered, the gold, and who grades it.

Starts nothing: rows are read, `ROWS` of each source at most, and rendered with the model's tokenizer.
"""

from collections.abc import Callable, Iterable, Sequence

from srm_ray.config.grpo import GRPOConfig
from srm_ray.console.progress import echo
from srm_ray.data.prompts import ROWS_CHECKED, prompts_of, training_tasks, with_system
from srm_ray.data.tasks import Task
from srm_ray.model.loading import open_model, require_attention, settle_lengths
from srm_ray.rl.types import Prompt

ROWS = 1000
LONGEST = 4000  # characters of one part that are shown
GRADES = {
    "math": "mathematics: equal in value and form",
    "code": "its tests, run in a sandbox",
    "text": "equal text",
    "choice": "the choice's letter or text",
    "countdown": "an expression with each number once",
    "gym": "Reasoning Gym's own scorer",
}


def inspect(
    config: GRPOConfig,
    count: int,
    *,
    chat: bool = True,
    trial: Callable[[Sequence[Prompt]], None] | None = None,
) -> int:
    """Show the first `count` problems of a run. chat: render them with the model's chat template, where there is a
    model; False: an endpoint does. trial: tries the user's reward function on the first prompts. Raises
    `UserError` for what the run itself would refuse."""
    graded = not config.reward.own
    tasks = training_tasks(config.data, seed=config.seed, graded=graded, curriculum=config.curriculum, limit=ROWS)
    if any(source.size is not None for source in tasks.sources.values()):
        echo(f"of each source the first {ROWS:,} rows are read")
    own = config.reward.function
    if not (config.model and chat):
        size = count if tasks.size is None else min(count, tasks.size)
        for index in range(size):
            task, _ = tasks.task(index)
            turns = with_system(task.messages, config.data.system)
            text = "\n\n".join(f"[{turn['role']}]\n{turn['content']}" for turn in turns)
            echo(shown(task, f"{index + 1}. {task.where or task.source}", text, own))
        return 0
    info = open_model(config.model, config.chat_template)
    require_attention(info)
    config, lengths = settle_lengths(config, info)
    stream = prompts_of(tasks, config.data, info.tokenizer, limit=lengths.prompt, limited_by=lengths.why)
    stream.check()
    for prompt in stream.first(count):
        where = tasks.task(prompt.index)[0].where or prompt.source
        echo(shown(prompt, f"{prompt.index + 1}. {where}, {len(prompt.token_ids)} tokens", prompt.text, own))
    if trial is not None:
        tried = stream.first(ROWS_CHECKED)
        trial(tried)
        echo(f"{own} grades the first {len(tried)} rows, with an empty completion and with the gold")
    return 0


def shown(problem: Task | Prompt, title: str, text: str, own: str = "") -> str:
    """A problem for a person. own: the user's reward function, which decides in place of the graders."""
    kind = problem.grader or ("code" if problem.tests is not None else "math")
    lines = [f"--- {title}, source {problem.source}", cut(text), ""]
    if problem.answer is not None:
        lines.append(f"gold    {' or '.join(cut(gold) for gold in (problem.answer, *problem.also_right))}")
    if problem.given:
        lines.append(f"given   {' | '.join(problem.given)}")
    if problem.tests is not None:
        entry = f" (entry point {problem.entry_point})" if problem.entry_point else ""
        lines.append(f"tests   {cut(as_text(problem.tests))}{entry}")
    lines.append(f"grader  {own or f'{kind}: {GRADES[kind]}'}")
    return "\n".join(lines) + "\n"


def as_text(tests: object) -> str:
    if isinstance(tests, str):
        return tests
    return (
        "\n        ".join(map(str, tests))
        if isinstance(tests, Iterable) and not isinstance(tests, dict)
        else str(tests)
    )


def cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ... ({len(text):,} characters)"
