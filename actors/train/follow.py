"""A Ray Train run as the driver waits for it: what its first rank writes to a file, shown."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from srm_ray.console.progress import Phase

Progress = Callable[[str], None]


class Follow:
    """Shows each record that is appended to a file of `TrainLogger.report`, from a thread, while the block runs."""

    def __init__(self, path: Path, bar: Phase, progress: Progress, every: float = 0.5) -> None:
        self._path, self._bar, self._progress, self._every = path, bar, progress, every
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)
        self._seen = path.stat().st_size if path.exists() else 0

    def __enter__(self) -> "Follow":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _follow(self) -> None:
        while True:
            last = self._done.wait(self._every)
            if self._path.exists():
                with self._path.open("rb") as file:
                    file.seek(self._seen)
                    text = file.read()
                whole = text[: text.rfind(b"\n") + 1]
                self._seen += len(whole)
                for line in whole.decode().splitlines():
                    self._show(json.loads(line))
            if last:
                return

    def _show(self, record: dict[str, Any]) -> None:
        if record["job"] != self._bar.what:
            self._bar.turn_to(record["job"], record["steps"], record["step"])
        self._bar.done, self._bar.note = record["step"], record["status"]
        if record["line"]:
            self._progress(record["line"])
