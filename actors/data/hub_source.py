"""A `datasets` name as a Ray dataset: one read task for each of its files, in order, streamed.

`ray.data.from_huggingface` asks the hub about every dataset by its name, a local folder's too, and
fails without a network.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from ray.data.block import BlockMetadata
from ray.data.datasource import Datasource, ReadTask

ROWS = 1024


class HubRows(Datasource):
    """Rows of a streaming `datasets.IterableDataset`."""

    def __init__(self, dataset: Any) -> None:
        super().__init__()
        self._dataset = dataset

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(
        self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
    ) -> list[ReadTask]:
        """One task a file, whatever the parallelism: the rows' order must not depend on it."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, exec_stats=None)
        shards = self._dataset.num_shards
        return [
            ReadTask(partial(read_shard, self._dataset, shards, index), unknown, per_task_row_limit=per_task_row_limit)
            for index in range(shards)
        ]


def read_shard(dataset: Any, shards: int, index: int) -> Iterator[Any]:
    """Arrow tables of one file's rows."""
    yield from dataset.shard(shards, index).with_format("arrow").iter(batch_size=ROWS)
