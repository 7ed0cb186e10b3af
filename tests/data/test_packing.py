"""Packed rows give the losses of the documents alone; reading them needs only (seed, step)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from srm_ray.data.packing import batch_rows, documents, open_rows, pack, rows_fingerprint, save_rows
from srm_ray.model.shapes import build, shape
from srm_ray.training.losses import target_logprobs


def sequences(count: int = 12, seed: int = 0) -> list[tuple[list[int], list[bool]]]:
    draw = np.random.default_rng(seed)
    return [
        (draw.integers(8, 384, size).tolist(), (draw.random(size) > 0.4).tolist())
        for size in draw.integers(3, 30, count)
    ]


def test_packing_keeps_every_document_whole() -> None:
    given = sequences()
    packed = sorted((ids.tolist(), mask[1:].tolist()) for ids, mask in documents(pack(given, 40)))
    assert packed == sorted((ids, mask[1:]) for ids, mask in given)


def test_a_sequence_longer_than_a_row_is_never_cut() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        pack([([1] * 50, [True] * 50)], 40)


def test_packed_documents_do_not_attend_to_each_other() -> None:
    model = build(shape("tiny", vocab_size=384), seed=1)
    for name, weight in model.named_parameters():
        if weight.ndim > 1 and "embed" not in name:
            weight.data *= 5  # large enough that attending to another document would show
    given = sequences()

    def loss(rows) -> torch.Tensor:
        tensors = (
            torch.from_numpy(np.asarray(x))
            for x in (rows.tokens.astype(np.int64), rows.positions.astype(np.int64), rows.mask)
        )
        return -target_logprobs(model, *tensors).sum()

    packed = pack(given, 64)
    assert len(packed) < len(given)
    loss(packed).backward()
    gradient = model.model.layers[0].self_attn.q_proj.weight.grad.clone()
    model.zero_grad()
    alone = sum(loss(pack([one], len(one[0]))) for one in given)
    alone.backward()
    torch.testing.assert_close(loss(packed), alone, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(gradient, model.model.layers[0].self_attn.q_proj.weight.grad, rtol=1e-3, atol=1e-4)


def test_every_epoch_reads_every_row_once() -> None:
    read = np.concatenate([batch_rows(10, step, 4, seed=3) for step in range(5)])
    assert sorted(read[:10]) == sorted(read[10:]) == list(range(10))
    assert list(read[:10]) != list(read[10:])


def test_step_alone_names_its_rows() -> None:
    assert (batch_rows(100, 7, 8, seed=1) == batch_rows(100, 7, 8, seed=1)).all()
    assert (batch_rows(100, 7, 8, seed=1) != batch_rows(100, 7, 8, seed=2)).any()
    assert batch_rows(5, 1, 4, seed=1, shuffle=False).tolist() == [4, 0, 1, 2]


def test_rows_on_disk_are_the_same(tmp_path: Path) -> None:
    rows = pack(sequences(), 64)
    save_rows(rows, tmp_path)
    assert rows_fingerprint(open_rows(tmp_path)) == rows_fingerprint(rows)
