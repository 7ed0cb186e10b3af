"""Options of where problems come from, and in what order."""

from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from srm_ray.config.base import Section

GYM = "reasoning_gym/"  # names of Reasoning Gym's families begin so


def _scalar(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


class SourceConfig(Section):
    """One source of problems."""

    path: str = Field(
        "",
        description="files, folders or globs, separated by commas: JSONL, JSON, Parquet, Arrow, CSV, also compressed; "
        "a problem and its answer, choices or tests, in the columns of the usual data sets or as `columns` says",
    )
    name: str = Field("", description="`datasets` name, e.g. openai/gsm8k, or reasoning_gym/<family>")
    subset: str = Field("", description="configuration of the `datasets` name; empty: its default, or main")
    split: str = Field("train", description="split of the `datasets` name")
    columns: dict[str, str] = Field(
        {},
        description="which columns hold what, where it is not as usual, e.g. {prompt: task, answer: info.final}; also "
        "messages, system, context, choices, tests, entry_point, source; '' leaves a column out",
    )
    grader: Literal["", "math", "text", "choice", "code"] = Field(
        "", description="who grades rows of a file or data set; empty: by the row: its tests, its choices, else math"
    )
    max_dropped: float = Field(
        0.05, ge=0, le=1, description="largest share of rows that may be dropped because they cannot be used"
    )
    drop_duplicates: bool = Field(True, description="drop problems that were there before, with the same answer")
    eval_path: str = Field("", description="files of held-out problems, as path; empty: the generator's held-out split")
    eval_split: str = Field("test", description="held-out split of the `datasets` name, and of an MBPP file")
    generator: str = Field(
        "arithmetic", description="built-in, arithmetic or word_problems, used when neither path nor name is given"
    )
    options: dict[str, Any] = Field(
        {},
        description="settings of a generator or a Reasoning Gym family, e.g. {min_terms: 2}; arithmetic: terms, digits",
    )
    levels: list[dict[str, Any]] = Field(
        [], description="rising difficulty: the options that each level changes; the curriculum moves through them"
    )

    @field_validator("options", "levels", mode="before")
    @classmethod
    def _values_as_yaml(cls, value: Any) -> Any:
        """On the command line `--data.options.min_terms 2` gives text."""
        if isinstance(value, list):
            return [cls._values_as_yaml(one) for one in value]
        if isinstance(value, dict):
            return {name: _scalar(one) if isinstance(one, str) else one for name, one in value.items()}
        return value

    @property
    def generated(self) -> bool:
        return not self.path and (not self.name or self.name.startswith(GYM))

    @model_validator(mode="after")
    def _one_origin(self):
        if self.path and self.name:
            raise ValueError(f"data.path and data.name exclude each other (got {self.path!r} and {self.name!r})")
        if (self.options or self.levels) and not self.generated:
            raise ValueError(f"options and levels belong to generated problems (got {self.path or self.name!r})")
        return self


class MixtureSource(SourceConfig):
    """One source among several."""

    weight: float = Field(1.0, gt=0, description="share of the prompts, beside the other sources' weights")


class DataConfig(SourceConfig):
    """Where prompts come from: a built-in generator, a JSONL file, a dataset of the hub, Reasoning Gym, several."""

    system: str = Field("", description="system message put before every prompt; empty: none")
    mixture: dict[str, MixtureSource] = Field(
        {}, description="several sources by name, each with a weight and the options above; in place of them"
    )

    @model_validator(mode="after")
    def _mixture_or_one(self):
        if self.mixture and (self.path or self.name or self.options or self.levels):
            given = next(key for key in ("path", "name", "options", "levels") if getattr(self, key))
            raise ValueError(f"data.mixture and data.{given} exclude each other (got {getattr(self, given)!r})")
        return self


class CurriculumConfig(Section):
    """Difficulty that rises with accuracy, for sources with `levels`."""

    raise_at: float = Field(0.8, gt=0, le=1, description="accuracy of sampled completions at which a source moves on")
    window: int = Field(256, ge=1, description="completions of a level, at least, over which accuracy is taken")


class DifficultyConfig(Section):
    """Problems drawn by how often the policy solves them (srm_ray.data.difficulty); rates are kept in checkpoints."""

    follow: bool = Field(
        False, description="draw by success rates: what is solved seldom, what failed now and then again"
    )
    everything: float = Field(
        0.1, ge=0, le=1, description="share of the draws in the usual order, whatever is known of the problems"
    )
    forget: float = Field(0.1, ge=0, lt=1, description="share of all problems' grades that each step forgets")
    pool: int = Field(
        0, ge=0, description="problems of a generator that are drawn from, since without an end none comes again"
    )
