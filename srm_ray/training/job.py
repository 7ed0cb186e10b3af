"""What a rank of a supervised or preference stage is given."""

from dataclasses import dataclass, field
from typing import Any

from srm_ray.config.stages import OptimConfig
from srm_ray.model.lora import Adapter
from srm_ray.training.schedule import Schedule


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """All that a rank needs to know; plain values, so that it travels to any node.

    name: shown on progress lines. Example: "pretrain".
    model: Hugging Face folder to start from, tokenizer included.
    rows: folder of packed rows (see `srm_ray.data.packing.save_rows`); for preference losses rows
        2i and 2i + 1 are the chosen and the rejected completion of pair i.
    eval_rows: rows whose loss is measured and never trained on; "": none.
    destination: where the trained Hugging Face folder goes.
    run_dir: run folder for metrics and checkpoints; "": none are kept.
    optim: with its precision settled; `schedule` has the rates of every step.
    shuffle: whether (seed, epoch) permutes the rows; rows of a curriculum are read in their order.
    loss: a name in `TOKEN_LOSSES` or `PAIR_LOSSES`. beta: of the preference losses.
    chat_template: Jinja, saved with the model in place of its tokenizer's own; "": that.
    log_every: steps between progress lines. neftune: NEFTune's alpha.
    """

    name: str
    model: str
    rows: str
    destination: str
    schedule: Schedule
    optim: OptimConfig
    seed: int
    run_dir: str = ""
    eval_rows: str = ""
    eval_every: int = 100
    best: bool = True
    checkpoint_every: int = 100
    keep: int = 3
    log_every: int = 1
    shuffle: bool = True
    loss: str = "nll"
    beta: float = 0.1
    neftune: float = 0.0
    chat_template: str = ""
    adapter: Adapter | None = None
    lineage: dict[str, Any] = field(default_factory=dict)

    @property
    def pairs(self) -> bool:
        return self.loss in ("dpo", "apo_zero")
