"""What every stage's config is made of: pydantic models that refuse unknown keys.

A field's `description` is its documentation (`--help` prints it with type, default and unit), so a
config class is the one place where an option is defined.
"""

from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

CHAT_TEMPLATE = (
    "chat template in place of the tokenizer's own: chatml, or a file (Jinja, or a tokenizer_config.json); it is saved "
    "with what is trained; empty: the tokenizer's own"
)
COMMAND_LINE = "command line"  # as an origin of values
CONFIGS = Path(__file__).resolve().parents[2] / "configs"


class Section(BaseModel):
    """A group of options. Frozen: a config does not change while a run uses it.

    `shorthand` names the field that receives a bare value given for the whole section:
    `--reward pkg.mod:fn` is `--reward.function pkg.mod:fn`.

    `subject` names the options that say what a command works on: a model, data. The demo's recipe
    is for commands that give none of them.

    `scaled` names options of a file that another one multiplies, by so much, where the command line turns it on and
    the file was written without it: a recipe's learning rate is meant for all weights, adapters take another.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
    shorthand: ClassVar[str | None] = None
    subject: ClassVar[tuple[str, ...]] = ()
    scaled: ClassVar[dict[str, tuple[str, float]]] = {}

    @cached_property
    def origins(self) -> dict[str, str]:
        """Where the values of a command's config come from, by dotted option: `COMMAND_LINE` or a file; those that
        are not here are defaults. No part of the config: neither compared nor saved."""
        return {}

    def settle(self, **values: Any) -> None:
        """Give options that were left open the values that follow from others. For validators: frozen afterwards."""
        self.__dict__.update(values)


class StageConfig(Section):
    """The options that every stage shares."""

    model: str = Field("", description="model to start from: a Hugging Face folder, e.g. runs/x/final, or a hub name")
    run_dir: str = Field("", description="folder of this run; empty: runs/<stage>")
    steps: int = Field(0, ge=0, description="optimizer steps; 0: as the recipe derives them from the data")
    seed: int = Field(3407, ge=0, description="one seed for Python, NumPy, torch and the samplers")
    resume: str = Field(
        "auto",
        pattern="^(auto|never)$",
        description="auto: continue from the run folder's newest complete checkpoint; never: start over",
    )
    workers: int = Field(1, ge=1, description="processes (Ray actors) that do the stage's work")


def comma_separated(value: object) -> object:
    """`a,b` of a command line as the list that a config file has; nothing as an empty one."""
    if value is None:
        return []
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def to_plain(config: BaseModel) -> dict[str, Any]:
    """The resolved config as plain YAML-able values."""
    return config.model_dump(mode="json")


def shipped(name: str) -> Path:
    """Path of a config that ships with the project, `grpo/tiny` or `grpo/tiny.yaml`."""
    return CONFIGS / f"{name.removesuffix('.yaml')}.yaml"


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings to dotted keys: {"a": {"b": 1}} to {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
