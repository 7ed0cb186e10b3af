"""Knowledge from a stronger model: its completions, kept when the graders accept them, as data for SFT.

    problems -> teacher (an OpenAI-compatible server, or a local model's rollout workers)
             -> answers.jsonl (paid for once) -> graders (on reward workers, or, of a server's answers, here)
             -> right ones -> final/sft.jsonl (`messages`)

With an environment or tools what is collected are whole episodes: the teacher's turns, its calls and what they gave.
A killed run, or one whose requests failed, asks only for what is missing when it is given again. `final/` appears
when every answer is there and graded (or the budget is spent).
"""

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from srm_ray.config.command_line import parse
from srm_ray.config.data import CurriculumConfig
from srm_ray.config.distill import DistillConfig
from srm_ray.config.grpo import bounds
from srm_ray.config.lengths import COMPLETION, Lengths
from srm_ray.console import interrupts, output
from srm_ray.console.command import command
from srm_ray.console.progress import echo, phase
from srm_ray.distillation.product import Job, finish
from srm_ray.errors import UserError
from srm_ray.runs.folder import MAY_CHANGE as OF_EVERY_STAGE
from srm_ray.runs.folder import RunFolder

if TYPE_CHECKING:
    from actors.rollout.sampler import Sampler
    from srm_ray.data.prompts import PromptStream, TaskStream
    from srm_ray.data.tasks import Task
    from srm_ray.distillation.budget import Budget
    from srm_ray.distillation.endpoint import Endpoint
    from srm_ray.distillation.episodes import Player
    from srm_ray.distillation.ledger import Answer, Ledger, Place
    from srm_ray.distillation.product import Scorer
    from srm_ray.environments.contract import Contract
    from srm_ray.environments.dialogue import Ask
    from srm_ray.environments.episode import Limits
    from srm_ray.environments.sessions import Sessions
    from srm_ray.model.loading import ModelInfo

# How much is asked, and how it is asked for, may change when a run is continued; what is asked may not.
MAY_CHANGE = OF_EVERY_STAGE | frozenset(
    ["samples", "limit", "budget", "per_prompt", "keep_system"]
    + [f"endpoint.{name}" for name in ("key", "concurrency", "timeout", "attempts", "backoff")]
)
GIVE_UP = 10  # requests that fail one after the other, each after all of its attempts


class Teacher(Protocol):
    async def answer(self, task: "Task", place: "Place") -> "Answer":
        """Raises `Failed` where there will be none now."""
        ...


@dataclass(frozen=True)
class Server:
    """The model behind an endpoint."""

    config: DistillConfig
    endpoint: "Endpoint"

    async def answer(self, task: "Task", place: "Place") -> "Answer":
        from srm_ray.data.prompts import with_system
        from srm_ray.rl.seeds import completion_seed

        index, sample = place
        messages = with_system(task.messages, self.config.data.system)
        return await self.endpoint.answer(messages, completion_seed(self.config.seed, index, 0, sample))


@dataclass(frozen=True)
class Model:
    """A local model's rollout workers."""

    sampler: "Sampler"
    stream: "PromptStream"

    async def answer(self, task: "Task", place: "Place") -> "Answer":
        from srm_ray.distillation.ledger import Answer, whole

        index, sample = place
        prompt = self.stream.render(task, index)
        made = (await self.sampler.sample(prompt, range(sample, sample + 1))).completions[0]
        finish = "length" if made.truncated else "stop"
        return Answer(whole(made.text, ""), finish, len(prompt.token_ids), len(made.token_ids))


@command
def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    config = parse(DistillConfig, arguments, stage="distill", about=__doc__)
    if config.inspect and config.plays_episodes:
        from actors.environment.inspection import inspect_run

        return interrupts.run(inspect_run(config.sampling()))
    if config.inspect:
        from srm_ray.data.inspection import inspect

        return inspect(config.sampling(), config.inspect, chat=bool(config.model))
    folder = RunFolder(config.run_dir, stage="distill")
    folder.create()
    if config.resume == "never":
        for name in ("answers.jsonl", "grades.jsonl"):
            (folder.path / name).unlink(missing_ok=True)
        folder.clear()  # the config last, since it says how what there is was made
    output.log_to(folder.logs)
    config = folder.check_config(config, may_change=MAY_CHANGE)
    kept = "what was answered is kept: the same command asks for the rest"
    with interrupts.advising(lambda: kept):
        return interrupts.run(run(config, folder))


async def run(config: DistillConfig, folder: RunFolder) -> int:
    from actors.reward.spec import check
    from actors.worker_groups import reward_spec
    from srm_ray.data.prompts import prompts_of, training_tasks
    from srm_ray.distillation.ledger import Ledger

    began = time.time()
    config, local = settled(config)
    check(reward_spec(config.sampling()))
    contract = None
    if config.plays_episodes:
        contract, tasks = await episodes_of(config)
    else:
        tasks = training_tasks(config.data, seed=config.seed, graded=not config.reward.own)
    if local and contract is None:
        info, lengths = local
        prompts_of(tasks, config.data, info.tokenizer, limit=lengths.prompt, limited_by=lengths.why).check()
    count = prompts_to_ask(config, tasks)
    done = folder.read_summary()
    if done and done["wanted"] == count * config.samples and not done["missing"]:
        echo(f"{folder.path} is complete; --resume never starts it over, --run_dir starts another")
        return 0
    ledger = Ledger(folder.path, (config.endpoint.price_in, config.endpoint.price_out))
    job = Job(config, tasks, count, ledger, contract)
    try:
        async with sessions_of(job) as sessions:
            if local:
                teacher, failures = await ask_model(job, folder, sessions, *local)
            else:
                teacher, failures = await ask_endpoint(job, folder, sessions)
    finally:
        ledger.close()
    return finish(job, folder, teacher, failures, time.time() - began)


async def episodes_of(config: DistillConfig) -> "tuple[Contract, TaskStream]":
    """The environment's contract and the rows. Raises `UserError` for an environment that is none, or other rows."""
    from actors.environment.check import contract_of
    from srm_ray.environments.prompts import check_columns, training_tasks

    contract = await contract_of(config.sampling())
    assert contract is not None, "the config names an environment or tools"
    graded = not (contract.rewards or config.reward.own)
    tasks = training_tasks(config.data, config.environment.name, graded, config.seed, CurriculumConfig())
    for index in range(min(tasks.size or 1, config.limit or sys.maxsize)):
        check_columns(contract, tasks.task(index)[0])
    return contract, tasks


def settled(config: DistillConfig) -> "tuple[DistillConfig, tuple[ModelInfo, Lengths] | None]":
    """The config with the lengths that it leaves open; of a local teacher its model and where they come from."""
    if config.model:
        from srm_ray.model.loading import open_model, require_attention, settle_lengths

        info = open_model(config.model, config.chat_template)
        require_attention(info)
        config, lengths = settle_lengths(config, info)
        return config, (info, lengths)
    rollout = config.rollout.model_copy(update={"max_new_tokens": config.rollout.max_new_tokens or COMPLETION})
    return config.model_copy(update={"rollout": rollout}), None


def engine_slots(config: DistillConfig) -> int:
    """Completions under way that keep every engine full."""
    return 2 * bounds(config.rollout.workers)[0] * config.rollout.max_num_seqs


def longest_answer(config: DistillConfig) -> int:
    """Tokens that an answer can have, whichever option sets it."""
    asked = {"max_tokens": config.rollout.max_new_tokens, **config.endpoint.body}
    return int(asked.get("max_completion_tokens") or asked["max_tokens"])


def prompts_to_ask(config: DistillConfig, tasks: "TaskStream") -> int:
    if tasks.size is None and not config.limit:
        raise UserError("these problems never end: give --limit, the number of prompts")
    return min(config.limit or tasks.size or 0, tasks.size or sys.maxsize)


# Teachers


@contextlib.asynccontextmanager
async def sessions_of(job: Job) -> AsyncIterator["Sessions | None"]:
    """The environment's processes, where there is one."""
    from actors.environment.check import spec_of
    from srm_ray.environments.sessions import Sessions

    if job.contract is None:
        yield None
        return
    sessions = Sessions(spec_of(job.config.sampling()))
    try:
        await sessions.start()
        yield sessions
    finally:
        sessions.close()


async def ask_endpoint(job: Job, folder: RunFolder, sessions: "Sessions | None") -> tuple[str, list[str]]:
    """The teacher's name, and why requests failed. Its answers are graded in this process, which needs no cluster."""
    from actors.environment.measuring import limits_of
    from actors.reward.worker import RewardWorker
    from actors.worker_groups import reward_spec
    from srm_ray.distillation.endpoint import Endpoint
    from srm_ray.distillation.episodes import Served, asking_endpoint

    config, rollout = job.config, job.config.rollout
    async with Endpoint(
        config.endpoint, temperature=rollout.temperature, max_new_tokens=rollout.max_new_tokens
    ) as server:
        echo(f"asking {server.model} at {server.url}; run folder {folder.path}")
        folder.save_config(config)
        teacher: Teacher = Server(config, server)
        if sessions is not None:
            limits = limits_of(config.sampling())
            teacher = Served(player_of(job, partial(asking_endpoint, server), sessions, limits), server)
        with contextlib.closing(RewardWorker(reward_spec(config.sampling()))) as grader:
            failures = await ask(job, teacher, grader, config.endpoint.concurrency)
        if server.refusals:
            echo(f"{len(server.refusals)} requests were refused, the last one with: {server.refusals[-1]}")
        return f"{server.model} at {server.url}", failures


def player_of(job: Job, begin: "Callable[[], Ask]", sessions: "Sessions", limits: "Limits") -> "Player":
    from srm_ray.distillation.episodes import Player

    assert job.contract is not None, "the config names an environment or tools"
    return Player(begin, sessions, job.contract, limits, job.config.data.system, job.config.seed)


async def ask_model(
    job: Job, folder: RunFolder, sessions: "Sessions | None", info: "ModelInfo", lengths: "Lengths"
) -> tuple[str, list[str]]:
    """As `ask_endpoint`, graded on reward workers beside the engines."""
    from actors.environment.check import plan_of
    from actors.rollout.sampler import Sampler
    from actors.runtime import cluster, compute
    from srm_ray.data.prompts import prompts_of
    from srm_ray.environments.sampled import SampledTurns

    config = compute.settle_rollout(job.config, info.path)
    if sessions is not None and job.contract is not None:
        plan = plan_of(config.sampling(), info, job.contract, lengths.prompt)
    else:
        stream = prompts_of(job.tasks, config.data, info.tokenizer, limit=lengths.prompt, limited_by=lengths.why)
    graded = job.contract is None or not job.contract.rewards
    cluster.connect()
    try:
        async with Sampler(config.sampling(), info, context=lengths.context, graded=graded) as sampler:
            echo(f"asking {config.model}; run folder {folder.path}")
            folder.save_config(config)
            if sessions is None:
                return config.model, await ask(job, Model(sampler, stream), sampler, engine_slots(config))

            def begin() -> "Ask":
                return SampledTurns(plan.renderer, sampler.turn, lengths.context).ask

            teacher = player_of(job, begin, sessions, plan.limits)
            return config.model, await ask(job, teacher, sampler, min(engine_slots(config), config.environment.at_once))
    finally:
        cluster.disconnect()


# Asking and grading


async def ask(job: Job, teacher: Teacher, grader: "Scorer", concurrency: int) -> list[str]:
    """Ask for what is missing, grade what is ungraded. Returns why requests failed, one reason each."""
    from srm_ray.data.prompts import with_system
    from srm_ray.inference.openai_client import Failed

    config, tasks, ledger = job.config, job.tasks, job.ledger
    budget = budget_of(job)
    places = [(index, sample) for index in range(job.count) for sample in range(config.samples)]
    for index in ledger.digests:
        if index < job.count:
            ledger.same_prompt(index, digest_of(tasks.task(index)[0], job.contract))
    waiting = iter([place for place in places if place not in ledger.answers or place not in ledger.grades])
    had = sum(place in ledger.answers for place in places)
    if had:
        echo(f"{had} of {len(places)} completions are here already, ${ledger.cost:.4f} spent on them")
    failures: list[str] = []
    in_a_row = 0

    async def worker() -> None:
        nonlocal in_a_row
        for place in waiting:
            task, _ = tasks.task(place[0])
            if place not in ledger.answers:
                if in_a_row >= GIVE_UP:
                    return
                async with budget.for_request(with_system(task.messages, config.data.system)) as affordable:
                    if not affordable:
                        return
                    try:
                        answer = await teacher.answer(task, place)
                    except Failed as error:
                        failures.append(str(error))
                        in_a_row += 1
                        continue
                    in_a_row = 0
                    ledger.add(place, digest_of(task, job.contract), answer)
                counted.advance()
            await grade(job, grader, task, place)

    try:
        with phase("completions", total=len(places), done=had, status=partial(so_far, ledger)) as counted:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(places))):
                    group.create_task(worker())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return failures


def budget_of(job: Job) -> "Budget":
    from srm_ray.distillation.budget import Budget

    config, options = job.config, job.config.environment
    longest = longest_answer(config)
    if job.contract is None:
        return Budget(config.budget, job.ledger, longest)
    offered = len(json.dumps(job.contract.tools))
    turns, added = options.max_turns, 4 * options.max_characters  # bytes of a character, at most
    return Budget(config.budget, job.ledger, longest, turns=turns, added=added, offered=offered)


async def grade(job: Job, grader: "Scorer", task: "Task", place: "Place") -> None:
    import numpy as np

    from rewards.verdict import Reward
    from srm_ray.distillation.episodes import reward_of
    from srm_ray.distillation.ledger import REFUSED
    from srm_ray.rl.types import Completion, Group, Prompt

    ledger = job.ledger
    answer = ledger.answers[place]
    if answer.finish == REFUSED:
        ledger.grade(place, Reward(0.0, False, REFUSED))
        return
    if job.contract is not None:
        own = reward_of(answer, job.contract, job.config.reward.threshold)
        if own is not None:
            ledger.grade(place, own)
            return
    prompt = Prompt(
        place[0],
        (),
        task.text,
        **task.known(),
    )
    none = np.zeros(0, np.int32)
    made = Completion(none, none.astype(np.float32), none, answer.finish, 0, answer.text, "teacher")
    [reward] = await grader.score(Group(prompt, (made,)))
    ledger.grade(place, reward)


def digest_of(task: "Task", contract: "Contract | None") -> int:
    """Of what is asked and what is right, of an episode its row and tools too: an answer on record belongs to them."""
    from srm_ray.data.splits import digest

    played = [task.row, contract.plain()] if contract is not None else []
    return digest(json.dumps([task.messages, task.answer, task.tests, *task.also_right, *played], default=str))


def so_far(ledger: "Ledger") -> str:
    right = sum(correct is True for correct, _ in ledger.grades.values())
    return f"{right} of {len(ledger.grades)} graded are right, ${ledger.cost:.4f}"


if __name__ == "__main__":
    sys.exit(main())
