"""The code in a completion: fenced blocks of Markdown, found line by line, in one linear pass.

What follows the last `</think>` counts. Of its Python blocks the last that defines what is asked for is the answer,
with the other blocks that define what it uses; without a fence the whole text, if it defines what is asked for.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rewards import extract

LIST_MARK = re.compile(r"(?:[-*+]|\d{1,9}[.)])[ \t]+(?=```|~~~)")
WORD = re.compile(r"[^\W\d]\w*")
DEFINED = re.compile(r"^(?:async[ \t]+)?(?:def|class)[ \t]+([^\W\d]\w*)|^([A-Z][A-Z0-9_]*)[ \t]*(?::[^=\n]*)?=", re.M)
IMPORTED = re.compile(r"^(?:from[ \t]+[\w.]+[ \t]+)?import[ \t]+([^\n#]+)", re.M)
WORD_OF_INFO = re.compile(r"[A-Za-z][\w+-]*")
LEAST = 3  # characters of a fence
CLOSING_TAG = re.compile(r"</[A-Za-z_]{1,20}>")  # ```</answer>
TAGS = tuple(  # in which models put code, without a fence
    re.compile(rf"{re.escape(begin)}[ \t]*\n(.*?)(?:{re.escape(end)}|\Z)", re.DOTALL | re.I)
    for begin, end in (("[PYTHON]", "[/PYTHON]"), ("<python>", "</python>"), ("<code>", "</code>"))
)
TRIPLE = ('"""', "'''")


@dataclass(frozen=True, slots=True)
class Block:
    """language: the first word of the fence's line, e.g. "Python3"."""

    language: str
    code: str

    @property
    def python(self) -> bool:
        name = self.language.lower()
        return "py" in name and not name.startswith("pycon")

    @property
    def plain(self) -> bool:
        return not self.language


def blocks(text: str) -> Iterator[Block]:
    """Fenced blocks, of backticks or tildes, indented, in lists and in quotations; one that is never closed too.

    A fence that stands deeper than the block's own, in a string of the block (a docstring's example), ends nothing.
    """
    fence, prefix, language, body = "", "", "", list[str]()
    odd: set[str] = set()  # triple quotes of which the block has begun a string
    for line in text.split("\n"):
        bare, before = unquoted(line, prefix if fence else None)
        if fence:
            run = leading(bare, fence[0])
            ends = run >= len(fence) and not CLOSING_TAG.sub("", bare[run:]).strip()
            if ends and not (odd and len(line) - len(bare) > len(prefix)):
                yield Block(language, without_prompts(dedented(body)))
                fence = ""
            else:
                odd ^= {quotes for quotes in TRIPLE if line.count(quotes) % 2}
                body.append(line.rstrip("\r"))
                if ">" in prefix:
                    body[-1] = bare_quote(body[-1])
            continue
        mark = LIST_MARK.match(bare)
        bare = bare[mark.end() :] if mark else bare
        bare = bare if bare[:1] in ("`", "~") else after_text(bare)
        run = max(leading(bare, "`"), leading(bare, "~"))
        info = bare[run:].strip()
        if run >= LEAST and not (bare[0] == "`" and "`" in info):
            fence, prefix, body, odd = bare[:run], before, [], set()
            language = next(iter(WORD_OF_INFO.findall(info[:200])), "")
    if fence:
        yield Block(language, without_prompts(dedented(closed_at_a_line_s_end(body, fence))))


def after_text(line: str) -> str:
    """The fence at the end of a line of text ("Answer: ```python"), where it is marked as Python; else the line."""
    place = line.find("```")
    info = line[place:].lstrip("`").strip() if place > 0 else ""
    return line[place:] if info.isalnum() and "py" in info.lower() else line


def closed_at_a_line_s_end(body: list[str], fence: str) -> list[str]:
    """The lines up to the first that ends with the fence, which then belongs to no line of its own."""
    for place, line in enumerate(body):
        if line.rstrip().endswith(fence):
            return [*body[:place], line.rstrip().removesuffix(fence)]
    return body


def unquoted(line: str, prefix: str | None) -> tuple[str, str]:
    """The line without its indentation, and what that was; "> " counts, within a block only where it began with it."""
    marks = " \t>" if prefix is None or ">" in prefix else " \t"
    bare = line.lstrip(marks)
    return bare, line[: len(line) - len(bare)]


def bare_quote(line: str) -> str:
    head = line.lstrip(" \t")
    return head[1:].removeprefix(" ") if head.startswith(">") else line


def leading(text: str, character: str) -> int:
    return len(text) - len(text.lstrip(character))


def dedented(lines: list[str]) -> str:
    """The lines without the indentation that all of them have."""
    margins = [len(line) - len(line.lstrip(" \t")) for line in lines if line.strip()]
    margin = min(margins, default=0)
    return "\n".join(line[margin:] if line.strip() else "" for line in lines)


def without_prompts(code: str) -> str:
    """What was typed, of an interpreter's session (`>>> def f(x):` and on); any other code as it is."""
    if not code.lstrip().startswith(">>>"):
        return code
    typed = (line for line in code.split("\n") if line.startswith((">>>", "...")))
    return "\n".join(line[3:].removeprefix(" ") for line in typed)


def code_of(completion: str, asked: frozenset[str]) -> str | None:
    """The code that is meant to be the answer, or None where there is none. asked: names, of which one is wanted."""
    text = extract.after_thinking(completion)
    if text is None:
        return None
    found = list(blocks(text))
    ours = [block.code for block in found if block.python] or [block.code for block in found if block.plain]
    likely = [block.code for block in found if block.python or block.plain]
    ways = ((likely, declares), (ours, defines), (likely, defines), ([block.code for block in found], defines))
    for codes, defining in ways:
        for place in range(len(codes) - 1, -1, -1):
            if asked and defining(codes[place], asked):
                return with_helpers(codes, place, asked)
    if ours:
        return with_helpers(ours, len(ours) - 1, asked)
    if found or not text.strip():
        return None
    text = next(iter(extract.in_tags(text)[-1:]), text)
    tagged = [code for tag in TAGS for code in tag.findall(text)]
    text = next((code for code in reversed(tagged) if not asked or defines(code, asked)), text)
    return text if not asked or defines(text, asked) else None


def declares(code: str, names: frozenset[str]) -> bool:
    """Whether one of `names` is a function or class of the code's top level."""
    return any(re.search(rf"^(?:async[ \t]+)?(?:def|class)[ \t]+{re.escape(n)}\b", code, re.M) for n in names)


def defines(code: str, names: frozenset[str]) -> bool:
    """Whether it declares or assigns one of them."""
    return declares(code, names) or any(re.search(rf"^{re.escape(n)}[ \t]*(?::[^=\n]*)?=", code, re.M) for n in names)


def with_helpers(codes: list[str], place: int, asked: frozenset[str]) -> str:
    """The block at `place`, with those of the others that define what it uses and does not define itself."""
    chosen = {place}
    names = [defined_in(code) for code in codes]
    have = set(names[place])
    words = set(WORD.findall(codes[place]))
    for other in [*range(place - 1, -1, -1), *range(place + 1, len(codes))]:
        new = names[other] - have
        if new & words and not (asked and defines(codes[other], asked)):
            chosen.add(other)
            have |= new
            words |= set(WORD.findall(codes[other]))
    return "\n\n".join(codes[n] for n in sorted(chosen))


def defined_in(code: str) -> set[str]:
    """Functions, classes, constants and imported names at the top of a block."""
    names = {name for pair in DEFINED.findall(code) for name in pair if name}
    for group in IMPORTED.findall(code):
        names |= {WORD.findall(part)[-1] for part in group.split(",") if WORD.search(part)}
    return names
