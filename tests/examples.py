"""The conversations of a file, as SFT reads them."""

from pathlib import Path

from srm_ray.data.conversations import Example, to_example
from srm_ray.data.reading import RowSource, records


def examples_in(path: Path) -> list[Example]:
    return [to_example(record.fields) for record in records(RowSource(path=str(path)))]
