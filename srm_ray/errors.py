"""Errors that a user can cause. How a command reports them: `srm_ray.console.command`.

A `UserError` ends a command with one line on stderr and exit status 2; a `RunError` (the run
itself went wrong: a worker missed its time limit, weights did not arrive, the disk is full) with
one line and exit status 1. Anything else is a defect and keeps its traceback.
"""


class UserError(Exception):
    """Wrong input: an unknown key, a missing file, a model that is not one. Exit status 2."""


class RunError(Exception):
    """The run cannot go on. The message names the cause and what to do. Exit status 1."""


class LearnerLost(RunError):
    """A learner rank died or hangs. The driver starts the learner again from the newest checkpoint."""
