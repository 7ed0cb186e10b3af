"""Problems of a file, for tests."""

from pathlib import Path
from typing import Any

from srm_ray.data.problem_files import read_problems
from srm_ray.data.reading import RowSource
from srm_ray.data.tasks import Task


def read(path: Path, *, split: str = "train", columns: dict[str, str] | None = None, **options: Any) -> list[Task]:
    source = RowSource(path=str(path), split=split, columns=columns or {})
    return read_problems(source, path.name.split(".")[0], **options).tasks
