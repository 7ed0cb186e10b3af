"""Training state on disk: data, never code.

Random states are JSON. DeepSpeed writes its own state with `torch.save`; it is read with `weights_only=True`, so that
a checkpoint from elsewhere can hold wrong numbers but runs nothing.
"""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from srm_ray.errors import RunError, one_line

VERSION = 1


def random_state() -> dict[str, Any]:
    """The state of Python's, NumPy's and torch's generators, those of GPUs included, as plain values."""
    import torch

    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "version": VERSION,
        "python": [version, list(words), gauss],
        "numpy": [name, [int(key) for key in keys], position, has_gauss, cached],
        "torch": bytes(torch.get_rng_state().tolist()).hex(),
        "cuda": [bytes(state.tolist()).hex() for state in gpus],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """What `random_state` returned. Raises ValueError, TypeError and their like for anything else."""
    import torch

    if state.get("version") != VERSION:
        raise ValueError(f"a random state of version {state.get('version')!r}, {VERSION} is read")
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    if not 0 <= position <= len(keys):  # which NumPy takes, to read behind its end
        raise ValueError(f"position {position} of {len(keys)} words")
    np.random.set_state((name, np.array(keys, np.uint32), position, has_gauss, cached))
    torch.set_rng_state(_bytes(state["torch"]))
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([_bytes(one) for one in state["cuda"]])


def _bytes(text: str) -> Any:
    import torch

    return torch.frombuffer(bytearray.fromhex(text), dtype=torch.uint8)


def write_random_state(path: Path) -> None:
    path.write_text(json.dumps(random_state()))


def read_random_state(path: Path) -> None:
    """Raises RunError where the file is none of `write_random_state`'s."""
    try:
        restore_random_state(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
        why = one_line(error)[:200]
        raise RunError(
            f"{path} holds no random state that can be restored ({type(error).__name__}: {why}): "
            f"remove the checkpoint {path.parent}, and the run goes on from the one before it"
        ) from None


def read_as_data(engine: Any) -> None:
    """Have a DeepSpeed engine read its checkpoints with `weights_only=True`. Call after `deepspeed.initialize`."""
    import torch
    from deepspeed.runtime.checkpoint_engine import TorchCheckpointEngine

    class DataOnly(TorchCheckpointEngine):
        def load(self, path: str, map_location: Any = None) -> Any:
            with torch.serialization.safe_globals(plain_classes()):
                return torch.load(path, map_location=map_location, weights_only=True)

    engine.checkpoint_engine = DataOnly(engine._config)


def plain_classes() -> list[Any]:
    """Classes without behaviour that DeepSpeed puts into its state, beside tensors and plain containers."""
    import argparse

    from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum
    from deepspeed.utils.tensor_fragment import fragment_address

    return [argparse.Namespace, DynamicLossScaler, LossScaler, ZeroStageEnum, fragment_address]
