"""What an episode is paid: by its environment where that has a reward, else by the graders, for its last turn."""

from collections.abc import Sequence
from dataclasses import replace

from rewards.verdict import Reward, judged
from srm_ray.rl.types import Completion, Episode, Group


def own_rewards(group: Group, threshold: float) -> Group:
    """Paid by the environment. threshold: above it an episode is right, unless the environment says so itself."""
    return replace(group, rewards=tuple(own_reward(one.episode, threshold) for one in group.completions))


def own_reward(episode: Episode | None, threshold: float) -> Reward:
    """What the environment pays; undecided where it failed, or gives no reward. threshold: see `own_rewards`."""
    if episode is None or episode.failure or episode.reward is None:
        return Reward(0.0, None, (episode and episode.failure) or "environment_error")
    parts = {"environment": episode.reward}
    if episode.correct is None and episode.truncated:
        return Reward(episode.reward, False, "truncated", parts=parts)
    right = judged(episode.reward > threshold if episode.correct is None else episode.correct)
    return Reward(episode.reward, right.correct, right.reason, parts=parts)


def for_graders(group: Group) -> Group:
    """The same group with each episode's last turn as its completion: what the model answers in the end is graded."""
    return replace(group, completions=tuple(map(_last_turn, group.completions)))


def _last_turn(completion: Completion) -> Completion:
    if completion.episode is None or not completion.episode.turns:
        return completion
    last = completion.episode.turns[-1]
    return replace(completion, text=last.text, token_ids=completion.token_ids[last.start : last.end], episode=None)


def with_grades(group: Group, rewards: Sequence[Reward]) -> Group:
    """The group with the graders' rewards; an episode whose environment failed is undecided."""
    settled = []
    for completion, reward in zip(group.completions, rewards, strict=True):
        failure = completion.episode.failure if completion.episode else ""
        settled.append(Reward(0.0, None, failure) if failure else reward)
    return replace(group, rewards=tuple(settled))
