"""An `adapter_config.json` from elsewhere, judged before PEFT believes it.

    folder --check--> nothing, or `UserError`

PEFT imports modules that a config names (`megatron_core`, `auto_mapping`), and matches the names of a model's modules
with regular expressions of it, without a limit.
"""

import json
import math
from pathlib import Path
from typing import Any

from srm_ray.errors import UserError, one_line, printable
from srm_ray.model.tokenizer_file import why_unbounded

MOST_RANK = 1 << 14
MOST_SCALE = 1e6
MOST_NAMES = 10_000
MOST_REPEATS = 6  # names of modules are short
EXPRESSIONS = ("target_modules", "exclude_modules", "modules_to_save", "layers_pattern", "target_parameters",
               "feedforward_modules", "rank_pattern", "alpha_pattern", "fan_in_fan_out_pattern")  # fmt: skip
LIBRARIES = ("transformers", "peft")


def check(folder: Path) -> dict[str, Any]:
    """The config. Raises `UserError` in one line."""
    path = folder / "adapter_config.json"
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(plain, dict):
            raise ValueError(f"an object is expected, got {type(plain).__name__}")
        judge(plain)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be used: {one_line(error)[:300]}") from None
    return plain


def judge(plain: dict[str, Any]) -> None:
    """Raises ValueError."""
    if plain.get("megatron_config"):
        raise ValueError("it asks for code of Megatron to be imported (megatron_config)")
    mapping = plain.get("auto_mapping") or {}
    library = mapping.get("parent_library") if isinstance(mapping, dict) else mapping
    if library and (not isinstance(library, str) or library.split(".")[0] not in LIBRARIES):
        raise ValueError(f"it asks for code to be imported (auto_mapping: {printable(str(library))[:60]!r})")
    ranks = plain.get("rank_pattern")
    for rank in (plain.get("r"), *(ranks.values() if isinstance(ranks, dict) else ())):
        if rank is not None and (isinstance(rank, bool) or not isinstance(rank, int) or not 0 < rank <= MOST_RANK):
            raise ValueError(f"a rank of {printable(str(rank))[:40]}, 1 to {MOST_RANK:,} can be")
    scales = plain.get("alpha_pattern")
    for scale in (plain.get("lora_alpha"), *(scales.values() if isinstance(scales, dict) else ())):
        if scale is not None and not (
            isinstance(scale, int | float) and math.isfinite(scale) and abs(scale) < MOST_SCALE
        ):
            raise ValueError(f"a lora_alpha of {printable(str(scale))[:40]}")
    for name in EXPRESSIONS:
        value = plain.get(name)
        found = [value] if isinstance(value, str) else list(value) if isinstance(value, list | dict) else []
        if len(found) > MOST_NAMES:
            raise ValueError(f"{name} has {len(found):,} entries")
        for expression in found:
            reason = why_unbounded(expression, MOST_REPEATS, True) if isinstance(expression, str) else "is no text"
            if reason:
                raise ValueError(f"{printable(str(expression))[:80]!r} in {name} {reason}")
