"""The GPU check, as far as a CPU goes: the same arithmetic at tiny shapes."""

import json
from pathlib import Path

from srm_ray.bench import gpu


def test_the_small_check_runs_without_a_gpu(tmp_path: Path) -> None:
    assert gpu.main(["--small", "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    errors = found["precision"]
    assert errors["float32"] < 1e-4 < errors["bfloat16"], "FP64 is the reference, and BF16 rounds"
    assert errors["float16"] < errors["bfloat16"]
    assert max(found["packing"].values()) < gpu.TOLERANCE
    if found["device"] == "CPU":
        assert found["ipc"] == {"not run": "no GPU"}
