"""The flat weight buffer: what is written is read back, bit for bit, by another process too."""

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from srm_ray.weights.flat import ALIGNMENT, Publisher, SharedFile, digest, lay_out, view, views, write


def parameters(seed: int = 0) -> list[tuple[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [
        ("embed", torch.randn(7, 5, generator=generator)),
        ("norm", torch.randn(3, generator=generator).bfloat16()),
        ("scalar", torch.tensor(2.5)),
        ("half", torch.randn(2, 3, 4, generator=generator).half()),
    ]


def assert_bitwise(found: dict[str, torch.Tensor], expected: list[tuple[str, torch.Tensor]]) -> None:
    assert list(found) == [name for name, _ in expected]
    for name, tensor in expected:
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor)


def opened(path: str) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    finally:
        os.close(descriptor)


def test_tensors_start_on_cache_lines_and_do_not_overlap():
    specs, nbytes = lay_out(parameters())
    assert all(spec.offset % ALIGNMENT == 0 for spec in specs)
    assert [spec.nbytes for spec in specs] == [140, 6, 4, 48]
    ends = [spec.offset + spec.nbytes for spec in specs]
    assert all(end <= following.offset for end, following in zip(ends, specs[1:], strict=False))
    assert ends[-1] <= nbytes


def test_round_trip_is_bitwise():
    specs, nbytes = lay_out(parameters())
    buffer = bytearray(nbytes)
    assert write(buffer, specs, parameters()) == digest(buffer)
    assert_bitwise(dict(views(buffer, specs)), parameters())


def test_views_share_the_buffer():
    specs, nbytes = lay_out(parameters())
    buffer = bytearray(nbytes)
    view(buffer, specs[0]).fill_(1.0)
    assert digest(buffer) != digest(bytearray(nbytes))


def test_one_flipped_bit_changes_the_digest():
    specs, nbytes = lay_out(parameters())
    buffer = bytearray(nbytes)
    write(buffer, specs, parameters())
    before = digest(buffer)
    buffer[specs[-1].offset] ^= 1
    assert digest(buffer) != before


@pytest.mark.parametrize(
    "wrong",
    [
        [("other", torch.zeros(7, 5)), *parameters()[1:]],
        [("embed", torch.zeros(5, 7)), *parameters()[1:]],
        parameters()[:-1],
        [*parameters(), ("more", torch.zeros(1))],
    ],
    ids=["name", "shape", "one missing", "one too many"],
)
def test_other_parameters_than_laid_out_are_refused(wrong):
    specs, nbytes = lay_out(parameters())
    with pytest.raises(ValueError):
        write(bytearray(nbytes), specs, wrong)


def test_publisher_keeps_the_previous_version_whole():
    publisher = Publisher("node")
    first, _ = publisher.publish(0, parameters(0))
    reader = opened(first.path)
    second, _ = publisher.publish(1, parameters(1))
    assert first.path != second.path
    assert digest(reader) == first.digest
    assert_bitwise(dict(views(reader, first.specs)), parameters(0))
    assert_bitwise(dict(views(opened(second.path), second.specs)), parameters(1))
    third, _ = publisher.publish(2, parameters(2))
    assert third.path == first.path
    assert digest(opened(third.path)) == third.digest != first.digest
    publisher.close()


READ = """
import mmap, os, sys
from srm_ray.weights.flat import digest
descriptor = os.open(sys.argv[1], os.O_RDONLY)
print(digest(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ)))
"""


@pytest.mark.integration
def test_another_process_reads_the_same_bytes():
    publisher = Publisher("node")
    update, _ = publisher.publish(0, parameters())
    done = subprocess.run([sys.executable, "-c", READ, update.path], capture_output=True, text=True, check=True)
    publisher.close()
    assert done.stdout.strip() == update.digest


def test_closing_gives_memory_and_descriptors_back():
    before = set(os.listdir("/proc/self/fd"))
    publisher = Publisher("node")
    update, buffer = publisher.publish(0, parameters())
    del buffer
    publisher.close()
    assert not Path(update.path).exists()
    assert set(os.listdir("/proc/self/fd")) == before
    publisher.close()


def test_shared_file_has_the_size_asked_for():
    file = SharedFile("srm_ray-test", 5 * ALIGNMENT)
    assert os.fstat(file.descriptor).st_size == len(file.buffer) == 5 * ALIGNMENT
    file.close()


def test_weights_are_published_in_the_engines_type():
    publisher = Publisher("node", dtype="bfloat16")
    update, buffer = publisher.publish(0, parameters())
    assert {spec.dtype for spec in update.specs} == {"bfloat16"}
    assert_bitwise(dict(views(buffer, update.specs)), [(name, tensor.bfloat16()) for name, tensor in parameters()])
    publisher.close()
