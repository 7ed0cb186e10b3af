"""YAML files of options, from wherever: never more than a config can be, and plain values alone."""

from pathlib import Path
from typing import Any

import yaml

from srm_ray.errors import UserError

LONGEST = 4 << 20  # bytes
MOST = 200_000  # values, each as often as it is named: an alias of an alias of an alias is not unfolded for ever


def read(path: Path, option: str = "") -> dict[str, Any]:
    """The mapping in a file, {} of an empty one. option: what named the file, for messages.

    Raises `UserError` where it cannot be read, is not YAML or no mapping, or is larger than any config.
    """
    where = f"{option} {path}".strip()
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise UserError(f"{where}: {error.strerror}") from None
    if len(content) > LONGEST:
        raise UserError(f"{where}: longer than {LONGEST >> 20} MiB, which no config is")
    try:
        values = parse(content.decode())
    except UnicodeDecodeError:
        raise UserError(f"{where}: not UTF-8 text") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{where}: not YAML: {str(error) or type(error).__name__}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{where}: a mapping of options is expected, got {type(values).__name__}")
    return values


def parse(text: str) -> Any:
    """Plain values. Raises yaml.YAMLError, ValueError, RecursionError."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        check(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def check(root: yaml.Node) -> None:
    """Raises ValueError where the document, its aliases unfolded, has more values than `MOST`."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, within: frozenset[int]) -> int:
        if id(node) in within:
            raise ValueError("an alias names what it is part of")
        if id(node) not in sizes:
            children: list[yaml.Node] = []
            if isinstance(node, yaml.SequenceNode):
                children = node.value
            elif isinstance(node, yaml.MappingNode):
                children = [one for pair in node.value for one in pair]
            sizes[id(node)] = 1 + sum(size(child, within | {id(node)}) for child in children)
            if sizes[id(node)] > MOST:
                raise ValueError(f"more than {MOST:,} values")
        return sizes[id(node)]

    size(root, frozenset())
