"""Options of `python -m srm_ray.import`."""

from typing import Literal

from pydantic import Field

from srm_ray.config.base import CHAT_TEMPLATE, Section


class ImportConfig(Section):
    """A GGUF file to the folder that every stage takes."""

    file: str = Field("", description="the GGUF file")
    chat_template: str = Field("", description=CHAT_TEMPLATE.replace("tokenizer's", "file's"))
    run_dir: str = Field("", description="folder of the import; empty: runs/import")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="of the folder's weights; float32 holds what any file holds, bit for bit"
    )
    resume: str = Field(
        "auto",
        pattern="^(auto|never)$",
        description="auto: an import that is complete is left as it is; never: start over",
    )
