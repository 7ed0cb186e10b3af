"""How the own parser reads one text by itself, for pairs that could not be compared."""

from typing import Literal

from rewards.math import compare, families, latex, spoken, words
from rewards.math.forms import is_plain, leaves
from rewards.math.readings import readings
from rewards.math.tree import Node, TooBig, Undefined, Unreadable, walk

Kind = Literal["none", "words", "big", "number", "formula"]


def kind(text: str) -> Kind:
    """ "none": not read; "big": a sum, product, integral or limit, which is not evaluated; "number": plain ones."""
    found: list[Node] = []
    for reading in readings(families.split(spoken.scaled(text)).text):
        try:
            found.append(latex.parse(reading))
        except Unreadable:
            continue
        except TooBig:
            return "formula"
    if any(node.head == "big" for tree in found for node in walk(tree)):
        return "big"
    if any((parts := list(leaves(tree))) and all(map(is_plain, parts)) for tree in found):
        return "number"
    if words.is_words(text):
        return "words"
    return "formula" if found else "none"


def outline(text: str) -> str:
    """What kind of thing a text is at the top: "list", "set", "tuple", or "" for a formula."""
    for reading in readings(families.split(text).text):
        try:
            head = compare.simplified(latex.parse(reading)).head
        except (Unreadable, Undefined, TooBig):
            continue
        return head if head in ("list", "set", "tuple") else ""
    return ""


def is_too_big(text: str) -> bool:
    """Whether `text` is too large to evaluate by itself."""
    try:
        compare.same_answer(text, text)
    except TooBig:
        return True
    except (Unreadable, Undefined):
        return False
    return False
