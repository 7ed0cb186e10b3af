"""A GGUF file's header, gone through once before any reader trusts it: every length lies within the file.

    magic, version, counts -> keys and values -> names, shapes, types and places of the tensors

Readers allocate what a header names, or loop over it. Source: the specification of GGUF, versions 2 and 3.
"""

import mmap
import struct
from pathlib import Path

from srm_ray.errors import UserError, printable

MAGIC = b"GGUF"
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes by the number of a type
STRING, ARRAY, UINT32 = 8, 9, 4
MOST_ITEMS = 1 << 22  # of an array: that of a vocabulary of 4 million
MOST_DIMENSIONS = 4
MOST_ELEMENTS = 1 << 48
ALIGNMENT = 32  # bytes, where the header names no other


class Broken(Exception):
    """What is wrong, for the message."""


def check(path: Path) -> None:
    """Raises `UserError` where the file is no GGUF file, or is not whole."""
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                raise Broken("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                Header(content).check()
    except Broken as error:
        raise UserError(f"{path}: not a whole GGUF file ({error})") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


class Header:
    def __init__(self, content: mmap.mmap) -> None:
        self.content, self.place, self.size, self.order = content, 0, len(content), "<"
        self.alignment = ALIGNMENT

    def check(self) -> None:
        if self.take(4) != MAGIC:
            raise Broken("it does not begin with GGUF")
        version = self.number("I")
        if version & 0xFFFF == 0:
            self.order, self.place = ">", 4
            version = self.number("I")
        if version not in (2, 3):
            raise Broken(f"version {version}, 2 and 3 are read")
        tensors, keys = self.number("Q"), self.number("Q")
        self.allow(tensors, 24, "tensors")
        self.allow(keys, 13, "keys")
        for _ in range(keys):
            name = self.text()
            kind = self.number("I")
            if name == b"general.alignment" and kind == UINT32:
                self.alignment = self.number("I")
                if not self.alignment or self.alignment & (self.alignment - 1):
                    raise Broken(f"an alignment of {self.alignment}")
            else:
                self.value(kind, name)
        self.check_places([self.tensor() for _ in range(tensors)])

    def value(self, kind: int, name: bytes) -> None:
        if kind in SCALARS:
            self.take(SCALARS[kind])
        elif kind == STRING:
            self.text()
        elif kind == ARRAY:
            item, count = self.number("I"), self.number("Q")
            if count > MOST_ITEMS:
                raise Broken(f"{shown(name)} has {count:,} items")
            if item == STRING:
                for _ in range(count):
                    self.text()
            elif item in SCALARS:
                self.take(count * SCALARS[item])
            else:
                raise Broken(f"{shown(name)} has items of type {item}")
        else:
            raise Broken(f"{shown(name)} has the unknown type {kind}")

    def tensor(self) -> tuple[int, int, str]:
        """(place in the data, bytes, name) of the next one."""
        import gguf

        name, dimensions = shown(self.text()), self.number("I")
        if dimensions > MOST_DIMENSIONS:
            raise Broken(f"tensor {name} has {dimensions:,} dimensions")
        elements = 1
        for _ in range(dimensions):
            elements *= self.number("Q")
        if elements > MOST_ELEMENTS:
            raise Broken(f"tensor {name} has {elements:,} elements")
        kind, place = self.number("I"), self.number("Q")
        try:
            block, nbytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
        except (ValueError, KeyError):
            raise Broken(f"tensor {name} has the unknown type {kind}") from None
        return place, -(-elements // block) * nbytes, name

    def check_places(self, tensors: list[tuple[int, int, str]]) -> None:
        """Each within the file, and none within another."""
        data = -(-self.place // self.alignment) * self.alignment
        end = 0
        for place, nbytes, name in sorted(tensors):
            if data + place + nbytes > self.size:
                raise Broken(f"tensor {name} ends behind its end")
            if place < end:
                raise Broken(f"tensor {name} begins within another")
            end = place + nbytes

    def text(self) -> bytes:
        return self.take(self.number("Q"))

    def number(self, form: str) -> int:
        return int(struct.unpack(self.order + form, self.take(struct.calcsize(form)))[0])

    def take(self, count: int) -> bytes:
        if count > self.size - self.place:
            raise Broken("its header goes on behind its end")
        self.place += count
        return self.content[self.place - count : self.place]

    def allow(self, count: int, least: int, what: str) -> None:
        """least: bytes that each takes."""
        if count > (self.size - self.place) // least:
            raise Broken(f"it is too short for {count:,} {what}")


def shown(name: bytes) -> str:
    return printable(name[:60].decode(errors="replace"))
