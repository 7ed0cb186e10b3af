"""What a worker of any role answers to `start` and to `ping`; the messages between a run and `srm_ray.scale`."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """Who and where a worker is, and what it holds.

    worker: its name. pid: None of one without a process. node: Ray's id of it. version: of its weights. state: e.g.
    "ready". in_flight: completions that it samples.
    """

    worker: str
    pid: int | None
    node: str
    version: int = 0
    state: str = ""
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class Doing:
    """Something that is under way, as `liveness.Activity` was when it was asked for."""

    number: int
    kind: str
    detail: str
    allowance: float
    steps: int


@dataclass(frozen=True, slots=True)
class ProgressReport:
    """What is under way, and the kinds of what has ended, sorted."""

    doing: tuple[Doing, ...] = ()
    done: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PingReply:
    """progress: None of a worker that counts no steps."""

    info: WorkerInfo
    progress: ProgressReport | None = None


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """Workers of a run that serve, or have not left yet."""

    rollouts: int
    rewards: int


@dataclass(frozen=True, slots=True)
class ScaleRequest:
    """Workers that a run is asked to have. None: as many as there are."""

    rollouts: int | None = None
    rewards: int | None = None

    def asked(self) -> dict[str, int]:
        """By role, where a number is asked for."""
        found = {"rollouts": self.rollouts, "rewards": self.rewards}
        return {role: count for role, count in found.items() if count is not None}

    def met_by(self, workers: WorkerCounts) -> bool:
        return all(getattr(workers, role) == count for role, count in self.asked().items())


@dataclass(frozen=True, slots=True)
class Ticketed:
    """A request, and the ticket by which its sender finds the answer."""

    ticket: int
    request: ScaleRequest


@dataclass(frozen=True, slots=True)
class ScaleStatus:
    """workers: None until the run has answered. refused: by ticket, why a request could not be carried out."""

    workers: WorkerCounts | None
    refused: Mapping[int, str]
