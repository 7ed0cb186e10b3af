"""Text files that are whole or not there."""

from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write beside `path` and rename, so that a reader sees the old file or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)
