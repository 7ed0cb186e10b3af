"""A hub on this machine: repositories in a folder, served as huggingface.co serves its own.

<root>/datasets/<owner>/<name>/..., <root>/models/<owner>/<name>/...
"""

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0" * 39 + "1"
KIND = r"/api/(datasets|models)/([^/]+/[^/]+)"


class Handler(BaseHTTPRequestHandler):
    root: Path
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path)
        if found := re.fullmatch(rf"{KIND}(?:/revision/[^/]+)?", path):
            self.about(self.root / found[1] / found[2], found[2])
        elif found := re.fullmatch(rf"{KIND}/tree/[^/]+/?(.*)", path):
            folder = self.root / found[1] / found[2]
            deep = "recursive=true" in address.query.lower()
            at = folder / found[3]
            if not at.is_dir():
                return self.missing("EntryNotFound")
            self.reply([entry(folder, one) for one in sorted(at.rglob("*") if deep else at.iterdir())])
        elif found := re.fullmatch(r"/(datasets/)?([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            self.file(self.root / ("datasets" if found[1] else "models") / found[2], found[3])
        else:
            self.missing("EntryNotFound")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        found = re.fullmatch(rf"{KIND}/paths-info/[^/]+", unquote(urlsplit(self.path).path))
        if found is None:
            return self.missing("EntryNotFound")
        folder = self.root / found[1] / found[2]
        wanted = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body).get("paths", [])
        self.reply([entry(folder, folder / name) for name in wanted if (folder / name).exists()])

    def about(self, folder: Path, name: str) -> None:
        if not folder.is_dir():
            return self.missing("RepoNotFound")
        files = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path.is_file()]
        siblings = [{"rfilename": file} for file in files]
        flags = {"private": False, "gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": []}
        self.reply({"id": name, "sha": COMMIT, "siblings": siblings, **flags})

    def file(self, folder: Path, name: str) -> None:
        if not (folder / name).is_file():
            return self.missing("EntryNotFound" if folder.is_dir() else "RepoNotFound")
        body = (folder / name).read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if part is None:
            return self.send(200, body, headers)
        start, end = int(part[1]), int(part[2] or len(body) - 1) + 1
        told = f"bytes {start}-{min(end, len(body)) - 1}/{len(body)}"
        self.send(206, body[start:end], {**headers, "Content-Range": told})

    def reply(self, value: Any) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def missing(self, code: str) -> None:
        self.send(404, b"{}", {"X-Error-Code": code, "X-Error-Message": "not found"})

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def entry(folder: Path, path: Path) -> dict[str, Any]:
    name = str(path.relative_to(folder))
    if path.is_dir():
        return {"type": "directory", "oid": COMMIT, "size": 0, "path": name}
    return {
        "type": "file",
        "oid": hashlib.sha1(path.read_bytes()).hexdigest(),
        "size": path.stat().st_size,
        "path": name,
    }


@contextlib.contextmanager
def serving(root: Path) -> Iterator[str]:
    """The address, for HF_ENDPOINT."""
    handler = type("Hub", (Handler,), {"root": root})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
