"""The tutorials' form, and the notebooks that are made of them."""

import ast
import json
import re
from pathlib import Path

import pytest

from tests import notebooks
from tests.tutorials import PAGES, ROOT, blocks

KINDS = {"", "sh", "python", "text"}


@pytest.fixture(params=PAGES, ids=[page.stem for page in PAGES])
def page(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_pages_are_numbered_and_linked() -> None:
    assert [page.name[:2] for page in PAGES] == [f"{number:02}" for number in range(1, len(PAGES) + 1)]
    index = (ROOT / "docs" / "tutorials" / "README.md").read_text()
    assert re.findall(r"\]\((\d\d-[\w-]+\.md)\)", index) == [page.name for page in PAGES]
    assert "(docs/tutorials/README.md)" in (ROOT / "README.md").read_text()


def test_a_page_says_what_one_needs(page: Path) -> None:
    text = page.read_text()
    assert 60 <= len(text.splitlines()) <= 150
    assert {block.kind for block in blocks(text)} <= KINDS
    for said in ("**At the end you have**", "**It takes**", "## When it goes wrong"):
        assert said in text, said
    shown = [block.kind for block in blocks(text) if block.kind in ("sh", "text")]
    assert "sh" in shown and "text" in shown, "commands, and what they show"


def test_no_line_of_a_page_is_lost(page: Path) -> None:
    taken = [line for block in blocks(page.read_text()) for line in block.body.splitlines() if line]
    written = [line for line in page.read_text().splitlines() if line and not line.startswith(("```", "<!-- test:"))]
    assert taken == written


def test_the_tests_words_are_appended_to_commands_of_the_project_alone() -> None:
    made = "pip download x\n.venv/bin/python -m srm_ray.sft \\\n  --steps 2\n# .venv/bin/python -m srm_ray.sft\n"
    [block] = blocks(f"<!-- test: --steps 1 -->\n```sh\n{made}```\n")
    assert block.in_small().splitlines() == [
        "pip download x",
        ".venv/bin/python -m srm_ray.sft    --steps 2 --steps 1",
        "# .venv/bin/python -m srm_ray.sft",
    ]


def test_notebooks_are_of_the_format_and_lose_no_block(tmp_path: Path) -> None:
    made = notebooks.write(tmp_path / "made")
    assert [path.stem for path in made] == [page.stem for page in PAGES]
    for page, path in zip(PAGES, made, strict=True):
        book = json.loads(path.read_text())
        assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
        assert set(book) == {"nbformat", "nbformat_minor", "metadata", "cells"}
        names = [cell["id"] for cell in book["cells"]]
        assert len(set(names)) == len(names) and all(re.fullmatch(r"[\w-]{1,64}", name) for name in names)
        for cell in book["cells"]:
            code = {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
            assert cell["cell_type"] in ("code", "markdown")
            assert set(cell) == {"cell_type", "id", "metadata", "source"} | code
        sources = ["".join(cell["source"]) for cell in book["cells"]]
        assert not any("<!-- test:" in source for source in sources)
        for block, source in zip(blocks(page.read_text()), sources[:1] + sources[2:], strict=True):
            assert block.body in source
            if block.kind == "python":
                assert source.startswith(f"%%writefile {block.file}\n")
                ast.parse(block.body)
            if block.kind == "sh":
                assert source.startswith("%%bash\n")


def test_a_notebook_finds_the_projects_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "build" / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "build" / "notebooks")
    for _ in range(2):  # a cell may be run again
        exec(notebooks.HERE, {})
        assert Path.cwd() == tmp_path
