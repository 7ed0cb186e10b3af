"""What every Ray dataset of the project shares: rows in order, the hub's data sets, a worker's tokenizer."""

import logging
from functools import lru_cache
from typing import TYPE_CHECKING

from srm_ray.data import reading

if TYPE_CHECKING:
    from ray.data import Dataset
    from transformers import PreTrainedTokenizerFast

BATCH = 256


def ordered() -> None:
    """Ray Data keeps the rows' order, and prints nothing of its own."""
    import ray

    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)  # that there are no bars
    logging.getLogger("ray.data._internal.execution.streaming_executor").setLevel(logging.WARNING)  # that it is done


def read_hub(name: str, subset: str, split: str, *, option: str) -> "Dataset":
    """Rows of a `datasets` name, streamed."""
    import ray

    from actors.data.hub_source import HubRows

    ordered()
    return ray.data.read_datasource(HubRows(reading.hub_dataset(name, subset, split, option=option, streaming=True)))


@lru_cache(maxsize=8)
def cached_tokenizer(folder: str, chat_template: str = "") -> "PreTrainedTokenizerFast":
    """The tokenizer of a folder, loaded once in each worker process. chat_template: in place of its own."""
    from srm_ray.model import tokenization

    return tokenization.load(folder, chat_template=chat_template)
