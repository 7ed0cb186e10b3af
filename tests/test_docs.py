"""What the documents show runs as printed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def code_of(document: str) -> str:
    """The first Python block of a document."""
    found = re.search(r"```python\n(.*?)```", (ROOT / "docs" / document).read_text(), re.DOTALL)
    assert found, document
    return found[1]


def test_the_loop_of_ones_own_is_short() -> None:
    assert len(code_of("library.md").splitlines()) <= 60


@pytest.mark.integration
def test_a_loop_of_ones_own(trained_model: Path, tmp_path: Path) -> None:
    script = tmp_path / "my_loop.py"
    script.write_text(code_of("library.md"))
    made = tmp_path / "made"
    words = [sys.executable, str(script), str(trained_model), "2", str(made)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=280, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"step 2: \d+\.\d% right, \d groups with signal", done.stdout), done.stdout
    assert json.loads((made / "lineage.json").read_text())["parent"] == str(trained_model)
    assert (made / "model.safetensors").is_file() and (made / "tokenizer.json").is_file()


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": "local"}
