"""Where a step's groups come from: sampled step by step, all the time, or a record.

A source draws prompts, has them sampled, and hands out the groups of a step. How a group is graded and what its
advantages are is the loop's affair: it gives the source `grade`, since what has no signal must be replaced at once.
"""

from srm_ray.rl.sources.asynchronous import AsyncSource, Flight
from srm_ray.rl.sources.common import Calls, Choice, Collected, Draw, Grade, KeepRate, Sample, SourceState
from srm_ray.rl.sources.recorded import ReplaySource
from srm_ray.rl.sources.synchronous import SyncSource

Source = SyncSource | AsyncSource | ReplaySource

__all__ = [
    "AsyncSource",
    "Calls",
    "Choice",
    "Collected",
    "Draw",
    "Flight",
    "Grade",
    "KeepRate",
    "ReplaySource",
    "Sample",
    "Source",
    "SourceState",
    "SyncSource",
]
