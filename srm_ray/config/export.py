"""Options of `python -m srm_ray.export`."""

from pydantic import Field, field_validator

from srm_ray.config.base import CHAT_TEMPLATE, Section
from srm_ray.config.precision import DTYPE, Dtype


class MeasureConfig(Section):
    """The table of quantisations: what each loses and how fast it is. Needs llama.cpp (`make llamacpp`)."""

    enabled: bool = Field(True, description="false: sizes only")
    text: str = Field("", description="held-out text for perplexity: a file or folder; empty: held-out generated sums")
    tokens: int = Field(4096, ge=64, description="tokens of text that perplexity is taken over, at most")
    path: str = Field("", description="JSONL of held-out problems with answers; empty: held-out generated sums")
    problems: int = Field(100, ge=0, description="problems for task accuracy, greedy; 0: none")
    max_new_tokens: int = Field(256, ge=1, description="limit of one completion, tokens")
    speed_tokens: int = Field(128, ge=8, description="tokens generated to measure tokens/s")
    threads: int = Field(0, ge=0, description="compute threads; 0: all cores")
    dtype: Dtype = Field("auto", description=f"of the Hugging Face folder: {DTYPE}")


class ExportConfig(Section):
    """A trained model to what others can use."""

    model: str = Field(
        "", description="what to export: a Hugging Face folder, e.g. runs/x/final, or an adapter's folder"
    )
    chat_template: str = Field("", description=CHAT_TEMPLATE)
    run_dir: str = Field("", description="folder of the export; empty: runs/export")
    format: list[str] = Field(
        ["q8_0"], description="GGUF formats, with commas: f32, f16, bf16, q8_0, q4_0, q4_k_m; all; none"
    )
    name: str = Field("", description="name in the files, the card and for serving; empty: that of the model's run")
    evaluation: str = Field(
        "", description="evaluation whose results and capability tax go into the card; empty: found by the model's path"
    )
    price_per_hour: float = Field(0.0, ge=0, description="price of the measured machine, dollars an hour; 0: no costs")
    resume: str = Field(
        "auto",
        pattern="^(auto|never)$",
        description="auto: an export that is complete is left as it is; never: start over",
    )
    seed: int = Field(3407, ge=0, description="seed of what is generated for measuring")
    measure: MeasureConfig = MeasureConfig()

    @field_validator("format", mode="before")
    @classmethod
    def _known_formats(cls, value: object) -> object:
        from srm_ray.config.formats import parse_formats

        names = value.split(",") if isinstance(value, str) else value
        return parse_formats(names) if isinstance(names, list) else names
