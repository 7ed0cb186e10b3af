"""Commands and options as the documents print them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"-m ((?:srm_ray|rewards)[\w.]*)(.*)")
OPTION = re.compile(r"(?<![\w-])--([a-z][\w.-]*)")
PLACEHOLDERS = {"N": "4"}  # numbers; other capital words stand for names


@dataclass(frozen=True)
class Command:
    """module: what `python -m` runs. words: what it is given. where: "docs/tasks.md"."""

    module: str
    words: tuple[str, ...]
    where: str

    def __str__(self) -> str:
        return " ".join((self.module, *self.words))


def commands() -> list[Command]:
    """Every `python -m srm_ray...` of the documents, in fences and in running text, each once."""
    found: dict[str, Command] = {}
    for path in DOCUMENTS:
        for command in commands_of(path.read_text(), str(path.relative_to(ROOT))):
            found.setdefault(str(command), command)
    return list(found.values())


def commands_of(text: str, where: str) -> list[Command]:
    """Those of a text, in order."""
    found = []
    for line in code_of(text):
        if match := COMMAND.search(line):
            words = [PLACEHOLDERS.get(word, word) for word in shlex.split(match[2], comments=True)]
            found.append(Command(match[1], tuple(words), where))
    return found


def options() -> list[tuple[str, str]]:
    """Every option that running text names by itself (`--lora.rank 16`), with the document."""
    found: dict[str, str] = {}
    for path in DOCUMENTS:
        for line in code_of(path.read_text()):
            for name in OPTION.findall(line) if line.startswith("--") else ():
                found.setdefault(name, str(path.relative_to(ROOT)))
    return list(found.items())


def code_of(text: str) -> list[str]:
    """Lines of shell fences, continued ones joined, and inline code."""
    lines = []
    for kind, body in FENCE.findall(text):
        if kind in ("sh", "bash", "console"):
            lines += body.replace("\\\n", " ").splitlines()
    return [*lines, *INLINE.findall(FENCE.sub("", text))]
