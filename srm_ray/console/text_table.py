"""Tables of text for a terminal."""

from collections.abc import Sequence


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table. rows: the header first, all of one length.

    Columns are as wide as their widest cell, the first to the left, the others to the right; a rule under the header.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    header, *rest = (
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )
    return [header.rstrip(), "-" * len(header), *(line.rstrip() for line in rest)]
