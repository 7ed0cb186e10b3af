"""An append-only file of JSON lines that a killed run may have left with half a line at its end."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from srm_ray.errors import UserError
from srm_ray.files.atomic import cut_half_line
from srm_ray.files.faults import writing_to


def encoded(row: Any) -> str:
    r"""A row as one line of JSON in UTF-8. Half a surrogate pair, which JSON may name and UTF-8 may not, as it is."""
    line = json.dumps(row, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:
        line = json.dumps(row)
    return line + "\n"


class Journal:
    """What a run has paid for. A line is on disk when `add` returns; `lines` leaves out one that a kill cut short."""

    def __init__(self, path: Path):
        self.path = path
        self._file: BinaryIO | None = None

    def lines(self) -> list[dict[str, Any]]:
        if not self.path.is_file():
            return []
        whole = self.path.read_bytes()
        found = []
        for number, line in enumerate(whole.split(b"\n")[:-1], 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict):
                raise UserError(f"{self.path}:{number} is not a line that this program wrote")
            found.append(row)
        return found

    def add(self, line: dict[str, Any]) -> None:
        """Raises WriteFailed; the file then ends with the line before."""
        with writing_to(self.path):
            if self._file is None:
                self._file = self.path.open("ab", buffering=0)
                end = cut_half_line(self.path, self._file.tell())
                if end != self._file.tell():
                    self._file.truncate(end)
            end = self._file.seek(0, os.SEEK_END)
            try:
                write_all(self._file, encoded(line).encode())
                os.fsync(self._file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    self._file.truncate(end)
                raise

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def write_all(file: BinaryIO, content: bytes) -> None:
    """All of it: an unbuffered file may take a part, and refuse the rest with its next call."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
