"""An append-only file of JSON lines that a killed run may have left with half a line at its end."""

import json
import os
from pathlib import Path
from typing import Any, TextIO

from srm_ray.errors import UserError


class Journal:
    """What a run has paid for. A line is on disk when `add` returns; `lines` leaves out one that a kill cut short."""

    def __init__(self, path: Path):
        self.path = path
        self._file: TextIO | None = None

    def lines(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        whole = self.path.read_bytes()
        found = []
        for number, line in enumerate(whole.split(b"\n")[:-1], 1):
            try:
                found.append(json.loads(line))
            except ValueError:
                raise UserError(f"{self.path}:{number} is not a line that this program wrote") from None
        return found

    def add(self, line: dict[str, Any]) -> None:
        if self._file is None:
            self._cut()
            self._file = self.path.open("a", encoding="utf-8")
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def _cut(self) -> None:
        """Drop half a line at the end, so that the next one does not join it."""
        if self.path.is_file():
            whole = self.path.read_bytes()
            with self.path.open("r+b") as file:
                file.truncate(whole.rfind(b"\n") + 1)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
