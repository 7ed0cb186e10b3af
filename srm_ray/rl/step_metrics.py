"""A step's numbers from its groups: graded completions in, metrics out, as `srm_ray.runs.metrics` names them."""

import re
from collections.abc import Sequence

import numpy as np

from rewards.verdict import Reward
from srm_ray.rl.batching import sampled_only
from srm_ray.rl.sources import Collected
from srm_ray.rl.types import Completion, Group

SOURCES_SHOWN = 20


def of_groups(collected: Collected, version: int) -> dict[str, float]:
    """Metrics of the sampled groups, those without signal included. version: the learner's, for staleness."""
    rewards = [reward for group in collected.graded for reward in group.rewards]
    completions = [completion for group in collected.graded for completion in group.completions]
    tokens = sum(completion.sampled_tokens for completion in completions)
    stale = sum(completion.sampled_tokens for group in collected.stale for completion in group.completions)
    return {
        "reward/mean": sum(reward.value for reward in rewards) / len(rewards),
        "reward/accuracy": sum(reward.correct is True for reward in rewards) / len(rewards),
        "reward/undecided": sum(reward.correct is None for reward in rewards),
        "reward/undecided_prompt": max(
            sum(reward.correct is None for reward in group.rewards) / len(group.rewards) for group in collected.graded
        ),
        "groups/kept": len(collected.groups),
        "groups/dropped_uniform": len(collected.graded) - len(collected.groups),
        "groups/dropped_stale": len(collected.stale),
        "completion/length_mean": tokens / len(completions),
        "completion/tokens": tokens + stale,
        "completion/truncated_fraction": sum(c.truncated for c in completions) / len(completions),
        "time/rollout": collected.seconds_rollout,
        "time/reward": collected.seconds_reward,
        "throughput/rollout_tokens_per_s": tokens / max(1e-9, collected.seconds_sampling),
        **staleness(collected.groups, version),
        **prefix_cached(collected.graded),
        **of_teacher(completions),
        **agreement(rewards),
        **of_episodes(completions),
        **by_source(collected.graded),
    }


def staleness(groups: Sequence[Group], version: int) -> dict[str, float]:
    """Versions between sampling and training of the tokens trained on; nothing where there are none."""
    of_tokens = [
        version - sampled_only(completion.versions, completion) for group in groups for completion in group.completions
    ]
    count = sum(map(len, of_tokens))
    if not count:
        return {}
    return {
        "staleness/mean": float(sum(int(versions.sum()) for versions in of_tokens) / count),
        "staleness/max": max(int(versions.max()) for versions in of_tokens if len(versions)),
    }


def prefix_cached(groups: Sequence[Group]) -> dict[str, float]:
    """Share of the prompts' tokens, each turn having a prompt of its own, that engines had; nothing where unknown."""
    asked = had = 0
    for group in groups:
        length = len(group.prompt.token_ids)
        for one in group.completions:
            prompts = [(turn.start, turn.cached) for turn in one.episode.turns] if one.episode else [(0, one.cached)]
            for start, cached in prompts:
                if cached is not None:
                    asked, had = asked + length + start, had + cached
    return {"throughput/prefix_cached": had / asked} if asked else {}


def of_teacher(completions: Sequence[Completion]) -> dict[str, float]:
    """How far the samples are from the teacher, which scored them; nothing where none did."""
    apart = [
        sampled_only(one.logprobs - one.teacher.logprobs, one).astype(np.float64)
        for one in completions
        if one.teacher is not None
    ]
    tokens = sum(map(len, apart))
    return {"teacher/reverse_kl": float(sum(part.sum() for part in apart)) / tokens} if tokens else {}


def agreement(rewards: Sequence[Reward]) -> dict[str, float]:
    """Of judge or reward model with the graders, where both decided; nothing where none was checked."""
    both = [one.correct == bool(one.parts["verified"]) for one in rewards if "verified" in one.parts]
    return {"judge/agreement": sum(both) / len(both)} if both else {}


def of_episodes(completions: Sequence[Completion]) -> dict[str, float]:
    """Of completions that were played with an environment; nothing where there are none."""
    episodes = [completion.episode for completion in completions if completion.episode is not None]
    if not episodes:
        return {}
    count = len(episodes)
    calls = [[call for turn in episode.turns for call in turn.calls] for episode in episodes]
    return {
        "episode/turns": sum(len(episode.turns) for episode in episodes) / count,
        "episode/tool_calls": sum(map(len, calls)) / count,
        "episode/tool_errors": sum(call.error for made in calls for call in made) / count,
        "episode/with_tools": sum(bool(made) for made in calls) / count,
        "episode/failed": sum(bool(episode.failure) for episode in episodes) / count,
        "time/environment": sum(turn.seconds for episode in episodes for turn in episode.turns) / count,
    }


def by_source(groups: Sequence[Group]) -> dict[str, float]:
    """`reward/accuracy/<source>` of each, where there are several, and few enough to look at."""
    grades: dict[str, list[bool]] = {}
    for group in groups:
        name = metric_name(group.prompt.source)
        grades.setdefault(name, []).extend(reward.correct is True for reward in group.rewards)
    if not 2 <= len(grades) <= SOURCES_SHOWN:
        return {}
    return {f"reward/accuracy/{source}": sum(right) / len(right) for source, right in sorted(grades.items())}


def metric_name(text: str) -> str:
    """`text` as part of a metric's name: Prometheus takes letters, digits and underscores."""
    return re.sub(r"\W", "_", text, flags=re.ASCII) or "none"
