"""Notebooks of the tutorials: `python -m tests.notebooks [FOLDER]` (`make notebooks`). They are made, never edited.

page -> text and what is seen: Markdown cells; commands: %%bash cells; files: %%writefile cells -> FOLDER/<page>.ipynb
"""

import json
import sys
from pathlib import Path
from typing import Any

from tests.tutorials import PAGES, ROOT, Block, blocks

# The commands are those of the project's folder, wherever the notebook lies in it.
HERE = """import os
from pathlib import Path

os.chdir(next(folder for folder in Path(os.path.abspath("x")).parents if (folder / "pyproject.toml").is_file()))
"""


def notebook(page: str) -> dict[str, Any]:
    """Of format 4.5."""
    sources = [source_of(block) for block in blocks(page)]
    sources.insert(1, ("code", HERE))
    cells = [cell(kind, source, f"cell-{number}") for number, (kind, source) in enumerate(sources)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": cells}


def source_of(block: Block) -> tuple[str, str]:
    if block.kind == "sh":
        return "code", f"%%bash\n{block.body}"
    if block.kind == "python":
        return "code", f"%%writefile {block.file}\n{block.body}"
    return "markdown", block.body if not block.kind else f"```{block.kind}\n{block.body}```\n"


def cell(kind: str, source: str, name: str) -> dict[str, Any]:
    made = {"cell_type": kind, "id": name, "metadata": {}, "source": source.splitlines(keepends=True)}
    return made | ({"execution_count": None, "outputs": []} if kind == "code" else {})


def write(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for page in PAGES:
        path = folder / f"{page.stem}.ipynb"
        path.write_text(json.dumps(notebook(page.read_text()), indent=1, ensure_ascii=False) + "\n")
        made.append(path)
    return made


if __name__ == "__main__":
    for path in write(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "notebooks"):
        print(path)
