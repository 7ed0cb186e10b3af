"""One episode on a policy that says what it is told to: its tokens, its record, its limits, its failures."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from srm_ray.environments import process
from srm_ray.environments.contract import load
from srm_ray.environments.episode import Limits, Start, play
from srm_ray.environments.grading import for_graders, own_rewards, with_grades
from srm_ray.environments.rendering import TurnRenderer
from srm_ray.environments.sessions import EpisodeFailed, Outcome, Step
from srm_ray.rl.types import Completion, Episode, Group, Prompt, ToolCall
from tests.environments import templates

WIDE = Limits(8, 0, 10_000)


class Here:
    """An environment in this process. fails: the call in which it dies."""

    def __init__(self, name: str, row: dict[str, Any], fails: str = ""):
        self.player = process.Player(load(f"tests.environments.samples:{name}", ()), 1000)
        self.fails = fails
        self.player.reset(row, 3)

    def _strike(self, what: str) -> None:
        if what == self.fails:
            raise EpisodeFailed("worker_died", what)

    async def reset(self, row: dict[str, Any], seed: int) -> str | None:
        return self.player.reset(row, seed)

    async def call(self, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
        self._strike("call")
        made = []
        for one in calls:
            result, error = (one.result, True) if one.error else self.player.call(one.name, one.arguments)
            made.append(ToolCall(one.name, one.arguments, result, error))
        return tuple(made)

    async def step(self, text: str) -> Step:
        self._strike("step")
        return Step(**self.player.step(text))

    async def reward(self) -> Outcome:
        self._strike("reward")
        found = self.player.reward()
        return Outcome(None) if found is None else Outcome(*found)


class Policy:
    """Says its lines one after the other; each ends with the stop token unless it is longer than it may be."""

    def __init__(self, tokenizer: Any, lines: list[str]):
        self.tokenizer, self.lines = tokenizer, lines
        self.asked: list[tuple[tuple[int, ...], int, int]] = []

    async def generate(self, ids: tuple[int, ...], seed: int, most: int, worker: str) -> Completion:
        self.asked.append((ids, seed, most))
        text = self.lines[len(self.asked) - 1]
        said = [*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id]
        cut = said[:most]
        return Completion(
            token_ids=np.array(cut, np.int32),
            logprobs=np.full(len(cut), -float(len(self.asked)), np.float32),
            versions=np.full(len(cut), len(self.asked), np.int32),
            finish_reason="stop" if len(cut) == len(said) else "length",
            seed=seed,
            text=text if len(cut) == len(said) else self.tokenizer.decode(cut),
            worker=f"rollout-{len(self.asked)}",
        )


def played(
    name: str, row: dict[str, Any], lines: list[str], limits: Limits = WIDE, fails: str = ""
) -> tuple[Completion, Policy, Start]:
    environment = Here(name, row, fails)
    tokenizer = templates.tokenizer_with(templates.HERMES)
    contract = environment.player.loaded.contract
    renderer = TurnRenderer(tokenizer, [tokenizer.eos_token_id], contract.kind, contract.tools)
    messages = renderer.messages([{"role": "user", "content": "Go."}], None)
    ids = renderer.prompt(messages)
    start = Start(tuple(messages), ids, tokenizer.decode(list(ids)))
    policy = Policy(tokenizer, lines)
    return asyncio.run(play(environment, policy.generate, renderer, start, limits, 17)), policy, start


def call(name: str, **arguments: Any) -> str:
    import json

    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


COUNTED = [call("increment", by=2), "Hm. " + call("increment", by=1), "I am done."]


def test_what_was_sampled_stays_and_the_next_turn_is_sampled_after_it() -> None:
    made, policy, start = played("Counter", {"goal": 3}, COUNTED)
    episode = made.episode
    assert episode is not None and len(episode.turns) == 3
    sampled, seen = made.sampled_T, list(start.token_ids)
    assert sampled is not None and made.sampled_tokens == sampled.sum()
    for turn, (ids, seed, _), line in zip(episode.turns, policy.asked, COUNTED, strict=True):
        assert ids == (*start.token_ids, *made.token_ids[: turn.start].tolist()), "the prompt and all before it"
        assert turn.seed == seed
        own = made.token_ids[turn.start : turn.end].tolist()
        assert own == [*policy.tokenizer.encode(line, add_special_tokens=False), policy.tokenizer.eos_token_id]
        assert sampled[turn.start : turn.end].all()
        seen += own
    assert len({seed for _, seed, _ in policy.asked}) == 3 and policy.asked[0][1] == 17
    between = made.token_ids[episode.turns[0].end : episode.turns[1].start].tolist()
    assert policy.tokenizer.decode(between) == (
        "\n<|im_start|>user\n<tool_response>\n2\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    )
    assert sampled[-1] and made.finish_reason == "stop"
    assert made.text.endswith("I am done.") and "<tool_response>\n3" in made.text


def test_an_environment_s_tokens_have_no_probability_and_the_version_before_them() -> None:
    made, _, _ = played("Counter", {"goal": 3}, COUNTED)
    sampled = made.sampled_T
    assert sampled is not None and (made.logprobs[~sampled] == 0).all() and (made.logprobs[sampled] < 0).all()
    assert made.episode is not None
    for number, turn in enumerate(made.episode.turns, 1):
        following = made.episode.turns[number].start if number < 3 else len(made.token_ids)
        assert (made.versions[turn.start : following] == number).all()


def test_an_episode_of_turns() -> None:
    secret = Here("Guess", {"seed": 3}).player.object.secret
    lines = [str((secret + 1) % 10), str(secret)]
    made, _, _ = played("Guess", {"seed": 3}, lines)
    assert made.episode is not None
    assert [(turn.text, turn.observation, turn.reward) for turn in made.episode.turns] == [
        (lines[0], "wrong", 0.0),
        (lines[1], "right", 1.0),
    ]
    assert made.episode.reward == 1.0 and not made.truncated


@pytest.mark.parametrize(
    ("limits", "turns", "why"),
    [
        (Limits(2, 0, 10_000), 2, "turns"),
        (Limits(8, 20, 10_000), 1, "tokens"),
        (Limits(8, 0, 100), 1, "tokens"),
        (Limits(8, 0, 200), 2, "tokens"),
        (Limits(1, 0, 10_000), 1, "turns"),
    ],
)
def test_limits_cut_an_episode(limits: Limits, turns: int, why: str) -> None:
    made, policy, _ = played("Counter", {"goal": 3}, COUNTED, limits)
    assert made.episode is not None
    assert (len(made.episode.turns), made.episode.truncated, made.finish_reason) == (turns, why, "length")
    assert len(made.token_ids) <= limits.max_tokens
    assert all(most <= (limits.max_turn_tokens or limits.max_tokens) for _, _, most in policy.asked)
    sampled = made.sampled_T
    assert sampled is not None and sampled[-1], "what the environment says last is no token"


def test_calls_that_go_wrong_are_said_and_the_episode_goes_on() -> None:
    lines = ["<tool_call>?</tool_call>", call("jump"), call("increment", by="far"), call("fail"), *COUNTED]
    made, _, _ = played("Counter", {"goal": 3}, lines)
    assert made.episode is not None
    calls = [one for turn in made.episode.turns for one in turn.calls]
    assert [one.error for one in calls] == [True] * 4 + [False] * 2
    assert made.episode.reward == 1.0 and not made.episode.failure


@pytest.mark.parametrize(("fails", "turns"), [("call", 1), ("reward", 3)])
def test_an_environment_that_fails_ends_the_episode(fails: str, turns: int) -> None:
    made, _, _ = played("Counter", {"goal": 3}, COUNTED, fails=fails)
    assert made.episode is not None
    assert (len(made.episode.turns), made.episode.failure) == (turns, "worker_died")


def group(*completions: Completion) -> Group:
    return Group(Prompt(0, (1, 2), "Go."), completions)


def test_an_environment_pays() -> None:
    won, _, _ = played("Counter", {"goal": 3}, COUNTED)
    lost, _, _ = played("Counter", {"goal": 4}, COUNTED)
    cut, _, _ = played("Counter", {"goal": 2}, COUNTED, Limits(1, 0, 10_000))
    broken, _, _ = played("Counter", {"goal": 3}, COUNTED, fails="call")
    rewards = own_rewards(group(won, lost, cut, broken), 0.0).rewards
    assert [(one.value, one.correct, one.reason) for one in rewards] == [
        (1.0, True, "correct"),
        (0.0, False, "wrong"),
        (1.0, False, "truncated"),
        (0.0, None, "worker_died"),
    ]


def test_graders_read_the_last_turn() -> None:
    from rewards.verdict import Reward

    won, _, _ = played("Counter", {"goal": 3}, COUNTED)
    broken, _, _ = played("Counter", {"goal": 3}, COUNTED, fails="call")
    whole = group(won, broken)
    graded = for_graders(whole)
    assert [one.text for one in graded.completions] == [COUNTED[-1], COUNTED[0]]
    assert len(graded.completions[0].token_ids) < len(won.token_ids)
    settled = with_grades(whole, (Reward(1.0, True, "correct"), Reward(1.0, True, "correct")))
    assert [one.correct for one in settled.rewards] == [True, None] and settled.completions == whole.completions


def test_the_record_reads_back() -> None:
    import json

    made, _, _ = played("Counter", {"goal": 3}, COUNTED)
    assert made.episode is not None
    read = Episode.of(json.loads(json.dumps(made.episode.record())))
    assert read is not None and read.record() == made.episode.record()
    assert [(turn.start, turn.end) for turn in read.turns] == [(turn.start, turn.end) for turn in made.episode.turns]
