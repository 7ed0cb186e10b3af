"""The pages of docs/tutorials, taken apart into text and blocks.

A block of `sh` is given to bash as it stands. One of `python` names a file in its first line (`# till.py`) and is
written there. One of `text` shows what is seen. A comment in front of a block, `<!-- test: --steps 1 -->`, adds its
words to each of the block's commands where the tests run it: what makes it small.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs" / "tutorials").glob("[0-9]*.md"))
FENCE = re.compile(
    r"^(?:<!-- test: (?P<small>[^\n]*) -->\n)?```(?P<kind>\w+)\n(?P<body>.*?)^```\n?", re.DOTALL | re.MULTILINE
)
NAMED = re.compile(r"# (?P<file>\w+\.py)\n")


@dataclass(frozen=True)
class Block:
    """kind: "sh", "python", "text", or "" for what stands between fences. small: words for the tests."""

    kind: str
    body: str
    small: str = ""

    @property
    def file(self) -> str:
        """Where a block of `python` is written."""
        named = NAMED.match(self.body)
        assert self.kind == "python" and named, f"the first line names no file: {self.body[:60]!r}"
        return named["file"]

    def in_small(self) -> str:
        """The shell's block with the tests' words behind each command of the project."""
        lines = []
        for line in self.body.replace("\\\n", " ").splitlines():
            ours = " -m srm_ray." in line and not line.startswith("#")
            lines.append(f"{line} {self.small}".rstrip() if ours else line)
        return "\n".join(lines) + "\n"


def blocks(page: str) -> Iterator[Block]:
    """All of a page, in order."""
    end = 0
    for found in FENCE.finditer(page):
        if between := page[end : found.start()].strip("\n"):
            yield Block("", between)
        yield Block(found["kind"], found["body"], found["small"] or "")
        end = found.end()
    if rest := page[end:].strip("\n"):
        yield Block("", rest)
