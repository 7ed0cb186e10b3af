"""One object a step: to `metrics.jsonl`, TensorBoard, Ray's metrics (Prometheus, the dashboard), and trackers.

`NAMES` says what each is. In Prometheus `reward/mean` is the gauge `ray_srm_ray_reward_mean`, with the label `run`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from srm_ray.files.atomic import append, flush, write_atomically

if TYPE_CHECKING:
    from tensorboard.summary import Writer

TIMED = ("time/", "throughput/", "alarms/")  # alarms watch the clock as well

NAMES = {
    "reward/mean": "mean reward of the completions sampled in this step, dropped groups included",
    "reward/accuracy": "share that is correct; correctness only",
    "reward/undecided": "completions that a grader could not decide (masked out of the loss)",
    "reward/undecided_prompt": "the largest share of one prompt's completions that a grader could not decide",
    "probe/accepted": "share of worthless completions of one kind graded correct, above chance; with evaluations",
    "groups/kept": "groups trained on; 0: the step was skipped, and has no metrics of policy/",
    "groups/dropped_uniform": "groups drawn whose completions were all right or all wrong",
    "groups/dropped_stale": "groups dropped for being too many versions old",
    "difficulty/tried": "share of the problems that have been drawn, where difficulty.follow draws by success rates",
    "difficulty/solved": "share of the problems solved at a rate of 0.9 or more when they were last drawn",
    "difficulty/failed": "share of the problems solved at a rate of 0.1 or less when they were last drawn",
    "completion/length_mean": "tokens",
    "completion/tokens": "tokens sampled, of dropped groups too",
    "completion/truncated_fraction": "share of completions cut at the token limit",
    "episode/turns": "turns of an episode, where there is an environment; like the next, a mean over episodes",
    "episode/tool_calls": "tools that an episode called, those that went wrong among them",
    "episode/tool_errors": "calls that could not be read, of no tool, with wrong arguments, or that raised",
    "episode/with_tools": "share of episodes that called a tool",
    "episode/failed": "share of episodes whose environment failed (undecided, masked out of the loss)",
    "policy/loss": "policy loss of the step",
    "policy/entropy": "nats a token",
    "policy/entropy_beta": "weight of the entropy bonus, where loss.entropy_beta or loss.entropy_target asks for one",
    "policy/entropy_threshold": "entropy from which on tokens have a policy loss, where loss.entropy_top is below 1",
    "policy/grad_norm": "gradient norm before clipping",
    "policy/lr": "learning rate",
    "policy/kl": "KL against the starting model, nats a token (k3), where loss.kl_beta is above 0",
    "policy/clip_fraction_high": "share of tokens held by the upper clip",
    "policy/clip_fraction_low": "share of tokens held by the lower clip",
    "policy/importance_masked": "share of tokens left out of the loss by loss.importance_band",
    "policy/mismatch_kl": "KL of rollout against learner, nats a token (k3)",
    "policy/mismatch_abs": "mean absolute log-probability difference of rollout and learner, nats",
    "policy/mismatch_max": "largest absolute log-probability difference, nats",
    "teacher/reverse_kl": "log-probability of a sampled token less the teacher's, nats, mean; where there is a teacher",
    "teacher/top_k_kl": "reverse KL over the teacher's top k, nats a token, where teacher.top_k is above 0",
    "teacher/workers": "engines of the teacher at work",
    "restarts/teacher": "engines of the teacher replaced so far",
    "judge/agreement": "share of the completions that graders check on which a judge or reward model agrees",
    "judge/calls": "times that the judge has been asked so far",
    "judge/failed": "verdicts that it has not given so far",
    "judge/cost": "dollars that its verdicts have cost so far",
    "weights/version": "version that the next step samples with",
    "staleness/mean": "versions between sampling and training, mean of tokens",
    "staleness/max": "the largest number of versions between sampling and training",
    "queue/groups_ready": "groups scored that wait for the learner; like the next, in asynchronous runs alone",
    "queue/groups_in_flight": "groups that are being sampled or graded",
    "rollout/workers": "rollout workers at work",
    "reward/workers": "reward workers at work",
    "restarts/rollout": "rollout workers replaced so far",
    "restarts/reward": "reward workers replaced so far",
    "environment/workers": "environment workers at work",
    "restarts/environment": "environment workers replaced so far",
    "restarts/learner": "times that the learner was started again from a checkpoint so far",
    "alarms/fired": "alarms raised so far (srm_ray.runs.alarms)",
    "time/step": "seconds of the whole step, from the line before to this one, less time/eval, time/log and "
    "time/checkpoint",
    "time/rollout": "seconds until the last completion",
    "time/reward": "seconds of waiting for grades after the last completion",
    "time/environment": "seconds that the environment took in an episode, mean",
    "time/learn": "seconds of the optimizer step, with engines that share the GPU put to sleep",
    "time/sync": "seconds of the weight push",
    "time/eval": "seconds of an evaluation, in steps that have one; like the next two not part of time/step",
    "time/log": "seconds of writing this step's completions and the line before",
    "time/checkpoint": "seconds of the checkpoint written since the line before",
    "throughput/rollout_tokens_per_s": "completion tokens sampled, over the seconds in which they were",
    "throughput/prefix_cached": "share of prompt tokens, earlier turns' among them, in the engines' prefix cache",
    "throughput/learner_tokens_per_s": "completion tokens trained on, over the learner's seconds",
    "eval/accuracy": "greedy accuracy on held-out problems",
    "eval/accuracy_low": "lower end of its 95 % interval",
    "eval/accuracy_high": "upper end of its 95 % interval",
    "suite/mean": "mean greedy score of the suites of eval.suite; suite/<name> is that of each",
    "suite/kept": "1 where the weights were kept as the best so far by suite/mean, else 0",
}
COUNTERS = {"alarms": "alarms raised, by alarm"}


class Mirror(Protocol):
    """Another place that every step's numbers go to."""

    def write(self, step: int, values: dict[str, float]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class ClusterMetrics(Mirror, Protocol):
    """The metrics of the cluster (`actors.runtime.metrics.RayMetrics`)."""

    def count(self, name: str, tags: dict[str, str]) -> None: ...


class MetricsLog:
    """Appends steps to metrics.jsonl and mirrors them. `after` drops what a continued run does again.

    `step` is the newest step in the log, 0 before the first.
    """

    def __init__(
        self,
        path: Path,
        tensorboard: Path | None = None,
        *,
        cluster: ClusterMetrics | None = None,
        trackers: Sequence[Mirror] = (),
    ):
        self.path, self.step = path, 0
        self._cluster = cluster
        self._mirrors: list[Mirror] = [*trackers]
        if tensorboard is not None:
            self._mirrors.append(TensorBoard(tensorboard))
        if cluster is not None:
            self._mirrors.append(cluster)

    def after(self, step: int) -> None:
        """Keep lines up to `step` alone (a killed run may have logged more, or half a line)."""
        self.step = step
        if not self.path.is_file():
            return
        kept = [line for line in read(self.path) if line["step"] <= step]
        write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def write(self, metrics: dict[str, Any]) -> None:
        """`metrics` holds "step" and numbers by name."""
        append(self.path, json.dumps(metrics) + "\n")
        numbers = {
            name: float(value) for name, value in metrics.items() if name != "step" and isinstance(value, int | float)
        }
        self.step = int(metrics["step"])
        for mirror in self._mirrors:
            mirror.write(self.step, numbers)

    def count(self, name: str, **tags: str) -> None:
        """Add one to a counter of `COUNTERS`; it lives in the cluster's metrics alone."""
        if self._cluster is not None:
            self._cluster.count(name, tags)

    def flush(self) -> None:
        """To disk: a checkpoint must not be newer than the log beside it."""
        if self.path.is_file():
            flush(self.path)
        for mirror in self._mirrors:
            mirror.flush()

    def close(self) -> None:
        for mirror in self._mirrors:
            mirror.close()
        self._mirrors = []


class TensorBoard:
    """Scalars in `folder`, which is made with the first of them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._writer: Writer | None = None

    def write(self, step: int, values: dict[str, float]) -> None:
        if self._writer is None:
            from tensorboard.summary import Writer

            self._writer = Writer(str(self.folder))
        for name, value in values.items():
            self._writer.add_scalar(name, value, step=step)

    def flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


def read(path: Path) -> list[dict[str, Any]]:
    """Steps of a metrics.jsonl, in order; a last line cut short by a kill is left out."""
    steps = []
    for line in path.read_text("utf-8", "replace").splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not (isinstance(found, dict) and isinstance(found.get("step"), int)):
            break
        steps.append(found)
    return steps


def without_times(metrics: dict[str, Any]) -> dict[str, Any]:
    """What must be equal in two deterministic runs."""
    return {name: value for name, value in metrics.items() if not name.startswith(TIMED)}
