"""Look at a run: a live page while it goes on, or `report.html` as a file.

python -m srm_ray.view --run NAME_OR_PATH [--port N]     serves the page on this machine, until Ctrl-C
python -m srm_ray.view --run NAME_OR_PATH --write        writes the run folder's report.html and ends
"""

import sys

from pydantic import Field

from srm_ray.config.base import Section
from srm_ray.config.command_line import parse
from srm_ray.console.command import interactive
from srm_ray.console.progress import echo
from srm_ray.errors import UserError
from srm_ray.runs.folder import RunFolder, find_run


class ViewConfig(Section):
    """Which run to look at, and how."""

    run: str = Field("", description="name of a run under runs/, or the path of its folder")
    port: int = Field(8700, ge=0, le=65535, description="port on this machine; 0: any free one")
    write: bool = Field(False, description="write report.html into the run folder and end, instead of serving")


@interactive
def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    config = parse(ViewConfig, arguments, stage="view", about=__doc__)
    from srm_ray.report.server import foreign

    folder = find_run(config.run)
    if reason := foreign(folder):
        raise UserError(reason)
    if config.write:
        from srm_ray.report.page import write_report

        echo(f"report {write_report(folder)}")
        return 0
    return serve(folder, config.port)


def serve(folder: RunFolder, port: int) -> int:
    """Serve until Ctrl-C."""
    from srm_ray.report.server import ReportServer

    try:
        server = ReportServer(folder, port)
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}; --port 0 takes any free one") from None
    with server:
        echo(f"{folder.path} is at {server.url} (Ctrl-C ends this)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            echo("\nstopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
