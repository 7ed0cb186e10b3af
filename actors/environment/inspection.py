"""`--inspect N` with an environment: how episodes begin. The environment's own processes alone are started.

rows -> prompts --reset--> what the model sees: rendered with its tools where a model is named, else by messages
"""

from collections.abc import Sequence

from actors.environment.check import contract_of, option_of, plan_of
from actors.environment.episodes import EpisodePlan, Episodes
from actors.environment.measuring import opened_sessions, plain_prompt, plan_and_prompts, problems_of
from srm_ray.config.evaluate import EvaluateConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.console.progress import echo
from srm_ray.data.inspection import cut
from srm_ray.environments.contract import Contract
from srm_ray.environments.prompts import Asked, EpisodeStream, row_of, training_tasks
from srm_ray.environments.rendering import opening
from srm_ray.environments.sessions import EpisodeFailed, LocalPlayer
from srm_ray.errors import UserError
from srm_ray.model.loading import ModelInfo, open_model, require_attention, settle_lengths
from srm_ray.rl.seeds import HELD_OUT, environment_seed
from srm_ray.rl.types import Prompt


async def inspect_run(config: GRPOConfig) -> int:
    """The first `config.inspect` prompts of a training run. Raises `UserError` for what the run itself would refuse."""
    contract = await contract_of(config)
    assert contract is not None, "the config names an environment or tools"
    name, graded = config.environment.name, not (contract.rewards or config.reward.own)
    tasks = training_tasks(config.data, name, graded, config.seed, config.curriculum)
    if config.model:
        info = open_model(config.model, config.chat_template)
        require_attention(info)
        config, lengths = settle_lengths(config, info)
        plan = plan_of(config, info, contract, lengths.prompt)
        asked = Asked(plan.renderer, contract, name, graded, lengths.prompt, lengths.why)
        stream = EpisodeStream(tasks, asked, config.data.system)
        stream.check()
        return await show(config, contract, stream.first(config.inspect), plan, config.seed)
    count = config.inspect if tasks.size is None else min(config.inspect, tasks.size)
    prompts = [plain_prompt(tasks.task(index)[0], index, contract, config.data.system) for index in range(count)]
    return await show(config, contract, prompts, None, config.seed)


async def inspect_evaluation(config: EvaluateConfig, info: ModelInfo | None, context: int) -> int:
    """The first problems of an evaluation. info: None where a server renders. context: prompt + episode, tokens."""
    problems = await problems_of(config.model_copy(update={"limit": config.inspect}))
    if info is not None:
        plan, prompts = plan_and_prompts(problems, info, config.sampling.max_new_tokens, context)
        return await show(problems.config, problems.contract, prompts, plan, HELD_OUT)
    prompts = [plain_prompt(task, n, problems.contract, config.prompt.system) for n, task in enumerate(problems.tasks)]
    return await show(problems.config, problems.contract, prompts, None, HELD_OUT)


async def show(
    config: GRPOConfig, contract: Contract, prompts: Sequence[Prompt], plan: EpisodePlan | None, seed: int
) -> int:
    """plan: of the model that they are rendered for."""
    sessions = await opened_sessions(config)
    option = f"{option_of(sessions.spec)} {sessions.spec.name or ','.join(sessions.spec.tools)}"
    for tool in contract.tools:
        echo(f"tool    {signature(tool)}")
    try:
        for prompt in prompts:
            async with sessions.player() as player:
                echo(await begun(player, prompt, contract, plan, environment_seed(seed, prompt.index)))
    except EpisodeFailed as failed:
        raise UserError(f"{option}: {failed.detail} (with the columns {', '.join(row_of(prompt)) or 'none'})") from None
    finally:
        sessions.close()
    return 0


async def begun(player: LocalPlayer, prompt: Prompt, contract: Contract, plan: EpisodePlan | None, seed: int) -> str:
    """An episode's beginning for a person."""
    observation = await player.reset(row_of(prompt), seed)
    title = f"--- {prompt.index + 1}. {prompt.source}, environment seed {seed}"
    if plan is not None:
        start = Episodes(plan, player.sessions).start(prompt, observation)
        title, text = f"{title}, {len(start.token_ids)} tokens", start.text
    else:
        messages = opening(prompt.messages, observation, contract.kind)
        text = "\n\n".join(f"[{message['role']}]\n{message['content']}" for message in messages)
    lines = [title, cut(text), "", f"reset   {cut(observation) if observation is not None else 'returns nothing'}"]
    lines += [f"gold    {cut(prompt.answer)}"] if prompt.answer is not None else []
    who = "the environment's own reward" if contract.rewards else "graders, for the last turn"
    return "\n".join([*lines, f"graded  by {who}", ""])


def signature(tool: dict[str, object]) -> str:
    """`add(a: integer, b: integer): Adds two numbers.`"""
    function = tool["function"]
    assert isinstance(function, dict), "a tool's schema has its function"
    properties = function.get("parameters", {}).get("properties", {})
    arguments = ", ".join(f"{name}: {about.get('type', 'any')}" for name, about in properties.items())
    return f"{function['name']}({arguments}): {function.get('description', '')}"
