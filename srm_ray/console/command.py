"""How a command ends, and what a person sees of it.

A `UserError` ends it with one line on stderr and exit status 2; a `RunError` with one line, which names the log that
says more, and exit status 1, and so does what the machine refuses (a full disk, too many open files); Ctrl-C with how
to go on and 130. Anything else is a defect and shows its traceback.
"""

import functools
import sys
import traceback
from collections.abc import Callable

from srm_ray.console import interrupts, output
from srm_ray.console.progress import phase
from srm_ray.errors import RunError, UserError, one_line
from srm_ray.files.faults import line_of

Main = Callable[..., int | None]


def command(main: Main) -> Callable[..., int]:
    """Wrap a command's `main`. As a process of its own (`python -m`) it also has Ctrl-C in hand, shows nothing that
    libraries print, and is never silent for long."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> int:
        if main.__module__ != "__main__":
            with output.log_restored():
                return within(main, *args, **kwargs)
        sys.excepthook = output.show_defect
        with output.routed():
            interrupts.install()
            try:
                with phase(name_of(main), kind="background"):
                    return ended(main, *args, **kwargs)
            except KeyboardInterrupt:
                interrupts.conclude()
                return interrupts.status()

    return wrapped


def interactive(main: Main) -> Callable[..., int]:
    """Wrap the `main` of a command that has the terminal, and Ctrl-C, for itself."""

    @functools.wraps(main)
    def wrapped(*args, **kwargs) -> int:
        if main.__module__ == "__main__":
            sys.excepthook = output.show_defect
            sys.stderr = output.Cleaned(sys.stderr)  # type: ignore[assignment]  # warnings, logging, threads' errors
        try:
            return ended(main, *args, **kwargs)
        except KeyboardInterrupt:
            output.complain("interrupted")
            return interrupts.status()

    return wrapped


def within(main: Main, *args, **kwargs) -> int:
    """Of a command that Python code calls. Within another command an interrupt is that one's to report."""
    try:
        return ended(main, *args, **kwargs)
    except KeyboardInterrupt:
        if interrupts.installed():
            raise
        interrupts.conclude()
        return interrupts.status()


def ended(main: Main, *args, **kwargs) -> int:
    """Exit status of `main`, its error printed. Raises KeyboardInterrupt where that ended it."""
    try:
        return main(*args, **kwargs) or 0
    except Exception as error:
        if interrupts.interrupted():  # what was cut off may fail in any way
            traceback.print_exc()
            raise KeyboardInterrupt from error
        if isinstance(error, UserError):
            output.complain(f"error: {one_line(error)}")
            return 2
        if isinstance(error, RunError):
            more = output.logs_of(str(error))
            output.complain(f"run failed: {one_line(error)}" + (f" (log: {more})" if more else ""))
            return 1
        if line := line_of(error):
            traceback.print_exc()  # into the log: where it was
            output.complain(f"run failed: {one_line(RunError(line))}")
            return 1
        raise


def name_of(main: Main) -> str:
    """Of the module that runs, e.g. `grpo`."""
    spec = main.__globals__.get("__spec__")
    name = spec.name if spec else main.__module__
    return name.removesuffix(".__main__").removeprefix("srm_ray.")
