"""A safetensors file written tensor by tensor, so that a tensor is in memory at a time.

    with writing(path, shapes, dtype) as write:    shapes: name -> rows first, in the order of writing
        write(name, tensor)

The format: the length of the header (8 bytes, little-endian), the header (JSON: dtype, shape and place of each
tensor), the values one after the other. Source: the format's description in safetensors' README.
"""

import contextlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

NAMES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
ALIGNMENT = 8


@contextlib.contextmanager
def writing(path: Path, shapes: Mapping[str, tuple[int, ...]], dtype: str) -> Iterator[Callable[[str, Any], None]]:
    """Yields what writes one tensor (PyTorch, any float dtype, on the CPU) as `dtype`. Raises ValueError where a tensor
    is not the next of `shapes`, or one is left out."""
    import torch

    kind = getattr(torch, dtype)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, shape in shapes.items():
        end = place + math.prod(shape) * kind.itemsize
        header[name] = {"dtype": NAMES[dtype], "shape": list(shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    left = iter(shapes.items())
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)

        def write(name: str, tensor: Any) -> None:
            wanted = next(left, None)
            if wanted != (name, tuple(tensor.shape)):
                raise ValueError(f"{name} {tuple(tensor.shape)} is written where {wanted} belongs")
            file.write(tensor.to(kind).contiguous().view(torch.uint8).numpy().data)

        yield write
        if (forgotten := next(left, None)) is not None:
            raise ValueError(f"{forgotten[0]} was not written")
