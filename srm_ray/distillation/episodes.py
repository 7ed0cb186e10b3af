"""A model that plays, served or here: an answer of the ledger is a whole episode, its conversation as SFT data has it.

task --reset--> messages --converse (srm_ray.environments.dialogue)--> Answer --reward, or graders--> grade
                                                                        --> row (messages, tools)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rewards.verdict import Reward
from srm_ray.data.prompts import with_system
from srm_ray.data.tasks import Task
from srm_ray.distillation.endpoint import Endpoint
from srm_ray.distillation.ledger import Answer, Place, whole
from srm_ray.environments.contract import Contract
from srm_ray.environments.dialogue import Ask, Dialogue, asking, converse
from srm_ray.environments.episode import Limits
from srm_ray.environments.grading import own_reward
from srm_ray.environments.prompts import row_of
from srm_ray.environments.rendering import opening
from srm_ray.environments.sessions import EpisodeFailed, Sessions
from srm_ray.inference.openai_client import Refused
from srm_ray.rl.seeds import completion_seed, environment_seed
from srm_ray.rl.types import Episode


class Player:
    """A model in the teacher's place. begin: gives what asks it in one episode; system: its system message; seed:
    the run's own."""

    def __init__(
        self, begin: Callable[[], Ask], sessions: Sessions, contract: Contract, limits: Limits, system: str, seed: int
    ):
        self.begin, self.sessions, self.contract = begin, sessions, contract
        self.limits, self.system, self.seed = limits, system, seed

    async def answer(self, task: Task, place: Place) -> Answer:
        """An environment that fails is an answer too, with `failure`. Raises what asking the model does."""
        index, sample = place
        async with self.sessions.player() as player:
            try:
                observation = await player.reset(row_of(task), environment_seed(self.seed, index))
            except EpisodeFailed as failed:
                return answer_of(Dialogue((), Episode((), failure=failed.reason), 0, 0))
            messages = with_system(task.messages, self.system) if task.messages else []
            begun = opening(messages, observation, self.contract.kind)
            seed = completion_seed(self.seed, index, 0, sample)
            made = await converse(player, self.begin(), self.contract, begun, self.limits, seed)
        return answer_of(made)


@dataclass(frozen=True)
class Served:
    """A player behind an endpoint, whose refusals are answers."""

    player: Player
    endpoint: Endpoint

    async def answer(self, task: Task, place: Place) -> Answer:
        try:
            made = await self.player.answer(task, place)
        except Refused as refused:
            return self.endpoint.refused(refused)
        self.endpoint.answered = True
        return made


def asking_endpoint(endpoint: Endpoint) -> Ask:
    decoding = {name: value for name, value in endpoint.decoding.items() if name != "max_tokens"}
    return asking(endpoint, **decoding | endpoint.config.body)


def answer_of(made: Dialogue) -> Answer:
    last = next((one for one in reversed(made.messages) if one["role"] == "assistant"), {"content": ""})
    text = whole(last["content"], last.get("reasoning_content", ""))
    finish = "length" if made.episode.truncated else "stop"
    record = {"messages": list(made.messages), "played": made.episode.record()}
    return Answer(text, finish, made.tokens_in, made.tokens_out, record)


def reward_of(answer: Answer, contract: Contract, threshold: float) -> Reward | None:
    """What the environment pays for a played answer; None where graders decide."""
    assert answer.episode is not None, "the answer is an episode"
    episode = Episode.of(answer.episode["played"])
    assert episode is not None, "a record holds its episode"
    if any(call.error and not call.name for turn in episode.turns for call in turn.calls):
        return Reward(0.0, False, "rejected_syntax")  # not to be learned, whatever came of it
    if contract.rewards or episode.failure:
        return own_reward(episode, threshold)
    return None


def row_of_answer(answer: Answer, contract: Contract, source: str, *, keep_system: bool, system: str) -> dict[str, Any]:
    """The conversation as SFT reads it, less the system message that only the teacher had."""
    assert answer.episode is not None, "the answer is an episode"
    messages = answer.episode["messages"]
    if not keep_system and system and messages and messages[0] == {"role": "system", "content": system}:
        messages = messages[1:]
    tools = {"tools": list(contract.tools)} if contract.tools else {}  # as an episode of training has them
    return {"messages": messages, **tools, "source": source}
