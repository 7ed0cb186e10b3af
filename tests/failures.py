"""A test that fails is told of when it fails, not at the end alone: a run that is ended before has told of it too."""

import os

import pytest

LINES = 40  # the last of its report


class Failures:
    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            terminal = self.config.get_terminal_writer()
            terminal.line()
            terminal.line(f"FAILED {report.nodeid} ({report.when}, {report.duration:.0f} s)", red=True)
            terminal.line("\n".join(report.longreprtext.splitlines()[-LINES:]))


def pytest_configure(config: pytest.Config) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Failures(config))
