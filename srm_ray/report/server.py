"""The page, live: a local server that reads the run folder anew for every request.

/               the page, without data
/run            curves, summary, config, events, steps; 304 while nothing has changed
/texts/<step>   completions of a step        /tokens/<step>   their tokens
"""

import http.server
import os
import re
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

from srm_ray.console.output import show_defect
from srm_ray.console.progress import echo
from srm_ray.report import page, rollout_data, run_data
from srm_ray.report.plain import packed
from srm_ray.runs.folder import RunFolder

LOCAL = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")  # a Host header of this machine


def foreign(folder: RunFolder) -> str:
    """Why nothing is shown of a run folder: a link that leads out of it, or a pipe or device that would be waited for;
    "" where there is none."""
    root = folder.path.resolve()
    found = [folder.final / "tokenizer.json"]
    for place in (folder.path, folder.rollouts, folder.path / "samples"):
        if place.is_dir():
            for entry in os.scandir(place):
                if entry.is_symlink():
                    found.append(Path(entry.path))
                elif not entry.is_file() and not entry.is_dir():
                    return f"{entry.path} is a pipe or a device: nothing is shown of a run that has such files"
    found = [path for path in found if path != folder.checkpoints]  # which may lie on a larger disk, and is not shown
    link = next((path for path in found if not path.resolve().is_relative_to(root)), None)
    return f"{link} leads out of the run folder: nothing is shown of a run that has such links" if link else ""


class ReportServer(http.server.ThreadingHTTPServer):
    """Serves one run on this machine alone. port 0: any free one, see `url`."""

    daemon_threads = True

    def __init__(self, folder: RunFolder, port: int):
        self.folder = folder
        self.shown: set[str] = set()
        super().__init__(("127.0.0.1", port), Handler)

    def echo_once(self, line: str) -> None:
        if line not in self.shown and len(self.shown) < 100:
            self.shown.add(line)
            echo(line)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in mid-answer is not an error; anything else is, and keeps its traceback."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError | TimeoutError):
            show_defect(type(error), error, error.__traceback__)


class Handler(http.server.BaseHTTPRequestHandler):
    server: ReportServer
    timeout = 60.0  # seconds that a connection may wait for more of a request, or for its answer to be taken

    def do_GET(self) -> None:
        """A page of another site must not read a run through a name that it points here: the host is checked."""
        hosts = self.headers.get_all("Host", [])
        if len(hosts) != 1 or not LOCAL.fullmatch(hosts[0]):
            return self._refuse(HTTPStatus.FORBIDDEN)
        if foreign(self.server.folder):
            return self._refuse(HTTPStatus.FORBIDDEN)
        try:
            self._answer(re.split("[?#]", self.path)[0].strip("/").split("/"))
        except run_data.MALFORMED as error:  # the run's files hold what no run writes
            self.server.echo_once(run_data.why(self.server.folder, error))
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY)
        except OSError as error:
            if isinstance(error, ConnectionError | TimeoutError):
                raise  # the browser went away
            self.server.echo_once(run_data.why(self.server.folder, error))
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY)

    def _answer(self, parts: list[str]) -> None:
        if parts == [""]:
            return self._page()
        if parts == ["run"]:
            return self._run()
        if len(parts) == 2 and parts[0] in ("texts", "tokens") and parts[1].isdecimal() and len(parts[1]) < 16:
            return self._step(parts[0], int(parts[1]))
        return self._refuse(HTTPStatus.NOT_FOUND)

    def _page(self) -> None:
        run = run_data.load(self.server.folder) | {"steps": []}
        self._send(page.render(run, [], live=True).encode(), "text/html; charset=utf-8")

    def _run(self) -> None:
        tag = f'"{run_data.stamp(self.server.folder)}"'
        if self.headers.get("If-None-Match") == tag:
            self._refuse(HTTPStatus.NOT_MODIFIED)
            return
        self._send(packed(run_data.load(self.server.folder)), "application/json", gzipped=True, tag=tag)

    def _step(self, what: str, step: int) -> None:
        try:
            groups = rollout_data.read(self.server.folder, step)
        except FileNotFoundError:
            return self._refuse(HTTPStatus.NOT_FOUND)
        if what == "texts":
            content = rollout_data.text_block(step, groups)
        else:
            content = rollout_data.token_block(groups, rollout_data.tokenizer_of(self.server.folder, groups))
        self._send(packed(content), "application/json", gzipped=True)

    def _send(self, content: bytes, kind: str, *, gzipped: bool = False, tag: str = "") -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-cache" if tag else "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Content-Security-Policy", "frame-ancestors 'none'")
        if gzipped:
            self.send_header("Content-Encoding", "gzip")
        if tag:
            self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.write(content)

    def _refuse(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not news."""
