"""Look at a run: a live page while it goes on, or `report.html` as a file.

python -m srm_ray.view --run NAME_OR_PATH [--port N]     serves the page on this machine, until Ctrl-C
python -m srm_ray.view --run NAME_OR_PATH --write        writes the run folder's report.html and ends
"""

import difflib
import sys
from pathlib import Path

from pydantic import Field

from srm_ray.config.base import Section
from srm_ray.config.command_line import parse
from srm_ray.errors import UserError, command
from srm_ray.runs.folder import RunFolder, runs_root
from srm_ray.runs.progress import say


class ViewConfig(Section):
    """Which run to look at, and how."""

    run: str = Field("", description="name of a run under runs/, or the path of its folder")
    port: int = Field(8700, ge=0, le=65535, description="port on this machine; 0: any free one")
    write: bool = Field(False, description="write report.html into the run folder and end, instead of serving")


@command
def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    config = parse(ViewConfig, arguments, stage="view", about=__doc__)
    folder = find_run(config.run)
    if config.write:
        from srm_ray.report.page import write_report

        say(f"report {write_report(folder)}")
        return 0
    return serve(folder, config.port)


def find_run(name: str) -> RunFolder:
    """Raises `UserError` with the runs that there are."""
    root = runs_root()
    known = sorted(path.parent.name for path in root.glob("*/config.yaml"))
    if not name:
        raise UserError(f"--run is needed: the name or the folder of a run{_listed(known)}")
    for path in (Path(name), root / name):
        if (path / "config.yaml").is_file() or (path / "metrics.jsonl").is_file():
            return RunFolder(path, stage="grpo")
    near = difflib.get_close_matches(name, known, n=1)
    raise UserError(f"--run {name}: no such run{f', did you mean {near[0]}?' if near else ''}{_listed(known)}")


def _listed(known: list[str]) -> str:
    return f" (runs in {runs_root()}: {', '.join(known)})" if known else f" (there are none in {runs_root()})"


def serve(folder: RunFolder, port: int) -> int:
    """Serve until Ctrl-C."""
    from srm_ray.report.server import ReportServer

    try:
        server = ReportServer(folder, port)
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}; --port 0 takes any free one") from None
    with server:
        say(f"{folder.path} is at {server.url} (Ctrl-C ends this)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("\nstopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
