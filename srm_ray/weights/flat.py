"""All weights of a model in one flat buffer: how they are laid out, published and read back.

The learner writes the buffer into shared memory, which every engine process of the same node maps;
other nodes get the same bytes through Ray's object store. A digest (xxh3, 64 bit) travels beside the
buffer, so that an engine never loads bytes that are not what the learner wrote.
"""

import mmap
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

Buffer = mmap.mmap | bytearray | memoryview
SMALL = 32 << 20  # bytes
ALIGNMENT = 64  # bytes; every tensor starts on a cache line


class TensorSpec(NamedTuple):
    """One tensor in the buffer. dtype: torch's name, e.g. "float32". offset, nbytes: bytes.

    A tuple, since every push pickles one for each tensor of the model.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class WeightUpdate:
    """What a rollout worker needs to pull one version.

    version: 0, 1, ... path: where processes of `node` open the buffer. digest: xxh3 of the buffer, hex.
    specs: layout. data: reference to the same bytes in the object store, for other nodes; or None.
    handles: where the tensors lie on a GPU, pickled; then path is empty, and digest `srm_ray.weights.ipc.checksum`'s.
    base: of an adapter alone, the weights that it is added to (`srm_ray.weights.lora`), which never change. scale: of
    the adapter, alpha / rank.
    """

    version: int
    path: str
    node: str
    digest: str
    specs: tuple[TensorSpec, ...]
    data: Any = None
    handles: bytes = b""
    base: "WeightUpdate | None" = None
    scale: float = 0.0


def lay_out(parameters: "Iterable[tuple[str, Tensor]]", dtype: str = "") -> tuple[tuple[TensorSpec, ...], int]:
    """Specs of named tensors laid end to end, each as `dtype` (empty: its own), and the buffer's size in bytes."""
    import torch

    specs, offset = [], 0
    for name, tensor in parameters:
        stored = getattr(torch, dtype) if dtype else tensor.dtype
        nbytes = tensor.numel() * stored.itemsize
        specs.append(TensorSpec(name, str(stored).removeprefix("torch."), tuple(tensor.shape), offset, nbytes))
        offset += -(-nbytes // ALIGNMENT) * ALIGNMENT
    return tuple(specs), offset


def write(buffer: Buffer, specs: tuple[TensorSpec, ...], parameters: "Iterable[tuple[str, Tensor]]") -> str:
    """Copy named tensors into `buffer` (writable, at least as large as `lay_out` returned). Returns its digest."""
    import xxhash

    summed, done = xxhash.xxh3_64(), 0
    with few_threads(len(buffer)), memoryview(buffer) as whole:
        for (name, tensor), spec in zip(parameters, specs, strict=True):
            if name != spec.name or tuple(tensor.shape) != spec.shape:
                raise ValueError(f"expected {spec.name} {spec.shape}, got {name} {tuple(tensor.shape)}")
            view(buffer, spec).copy_(tensor)
            end = spec.offset + spec.nbytes
            summed.update(whole[done:end])  # while the cache still has it
            done = end
        summed.update(whole[done:])
    return summed.hexdigest()


@contextmanager
def few_threads(nbytes: int) -> Iterator[None]:
    """One compute thread for what one copies in a few milliseconds: to wake others takes longer than they save."""
    import torch

    threads = torch.get_num_threads()
    if nbytes < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if nbytes < SMALL:
            torch.set_num_threads(threads)


def view(buffer: Buffer, spec: TensorSpec) -> "Tensor":
    """The tensor that `spec` describes, sharing the buffer's memory."""
    import torch

    count = 1
    for size in spec.shape:
        count *= size
    return torch.frombuffer(buffer, dtype=getattr(torch, spec.dtype), count=count, offset=spec.offset).view(spec.shape)


def views(buffer: Buffer, specs: Iterable[TensorSpec]) -> "Iterator[tuple[str, Tensor]]":
    for spec in specs:
        yield spec.name, view(buffer, spec)


def plain(specs: Iterable[TensorSpec]) -> list[dict[str, Any]]:
    """As mappings, which pass to vLLM's engine."""
    return [spec._asdict() for spec in specs]


def digest(buffer: Buffer) -> str:
    import xxhash

    return xxhash.xxh3_64_hexdigest(buffer)


class SharedFile:
    """Anonymous shared memory that other processes of this node open by `path`.

    The path leads through this process's descriptor table, so the memory is gone with the last
    process that uses it, however that process ends: nothing can be left behind.
    """

    def __init__(self, name: str, nbytes: int):
        self.descriptor = os.memfd_create(name)
        os.posix_fallocate(self.descriptor, 0, nbytes)
        self.buffer = mmap.mmap(self.descriptor, nbytes)
        self.path = f"/proc/{os.getpid()}/fd/{self.descriptor}"

    def close(self) -> None:
        os.close(self.descriptor)


class Publisher:
    """Writes successive versions into two shared files in turn, so that the one being read stays whole.

    files: 1 for what is written once.
    """

    def __init__(self, node: str, *, dtype: str = "", files: int = 2):
        self.node, self.dtype, self.count = node, dtype, files
        self.files: list[SharedFile] = []
        self.specs: tuple[TensorSpec, ...] = ()
        self.held = [-1] * files  # version in each file

    def publish(self, version: int, parameters: "Iterable[tuple[str, Tensor]]") -> tuple[WeightUpdate, mmap.mmap]:
        """Returns the update (without `data`) and the buffer that holds it. parameters: gone through twice, the first
        time."""
        if not self.files:
            self.specs, nbytes = lay_out(parameters, self.dtype)
            self.files = [SharedFile(f"srm_ray-weights-{side}", nbytes) for side in "ab"[: self.count]]
        file = self.files[version % self.count]
        self.held[version % self.count] = version
        written = write(file.buffer, self.specs, parameters)
        update = WeightUpdate(version, file.path, self.node, written, self.specs)
        return update, file.buffer

    def holding(self, version: int) -> SharedFile | None:
        """The file with that version's weights, unless later ones have overwritten them."""
        return self.files[version % self.count] if self.held[version % self.count] == version else None

    def close(self) -> None:
        for file in self.files:
            file.close()
        self.files = []
