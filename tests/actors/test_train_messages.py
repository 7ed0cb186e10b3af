"""What is said where Ray Train ends workers, or cannot start them."""

import pytest

from actors.train.run import last_line


@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        (
            "The worker group startup timed out after 600.0 seconds waiting for 2 workers. Potential causes: "
            "(1) ... Set the RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S environment variable to increase it.",
            "the cluster has no free resources for its workers; lower workers, or end what holds them",
        ),
        (
            "A worker health check has been hanging for 601.20 seconds. Marking it as dead.\nWorker info: Worker()"
            "\nSet the RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S environment variable to increase the timeout",
            "a worker that did not answer for minutes",
        ),
        ("Traceback (most recent call last):\n  File x\nValueError: the cause", "ValueError: the cause"),
    ],
)
def test_the_cause_is_one_line(said: str, meaning: str) -> None:
    line = last_line(RuntimeError(said))
    assert meaning in line
    assert "\n" not in line
