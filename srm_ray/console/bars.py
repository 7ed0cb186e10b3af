"""Bars of a terminal, by rich: one for each phase under way, below the printed lines."""

from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from srm_ray.console.progress import Phase
from srm_ray.errors import printable


class Bars:
    def __init__(self, target: TextIO) -> None:
        self.console = Console(file=target, force_terminal=True, highlight=False, markup=False, emoji=False)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[state]}", markup=False),
        )
        self.progress = Progress(
            *columns, console=self.console, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self.tasks: dict[Phase, TaskID] = {}
        self.progress.start()

    def echo(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)

    def show(self, phases: list[Phase]) -> None:
        """These and no others."""
        for gone in [phase for phase in self.tasks if phase not in phases]:
            self.progress.remove_task(self.tasks.pop(gone))
        for phase in phases:
            if phase not in self.tasks:
                self.tasks[phase] = self.progress.add_task(one_line_of(phase.what), total=None, state="")
            state, share = phase.state(), phase.share
            self.progress.update(
                self.tasks[phase],
                total=None if share is None else 1.0,
                completed=share or 0.0,
                state=one_line_of(state),
            )

    def close(self) -> None:
        self.progress.stop()


def one_line_of(text: str) -> str:
    return " ".join(printable(text).split())
