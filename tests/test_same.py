"""Comparisons say where two runs differ."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from srm_ray.rl.types import Completion
from tests.same import same_completions, same_files, same_steps, same_weights


def test_steps_name_the_step_and_the_field() -> None:
    expected = [{"step": 1, "loss": 0.5, "norm": 1.0}, {"step": 2, "loss": 0.25, "norm": 1.0}]
    same_steps(expected, expected)
    found = [expected[0], {"step": 2, "loss": 0.125}]
    with pytest.raises(AssertionError, match=r"step 2: loss is 0\.125, expected 0\.25"):
        same_steps(found, expected)
    with pytest.raises(AssertionError, match=r"1 differences\nstep 2: norm is missing, expected 1\.0"):
        same_steps(found, expected, ["norm"])
    with pytest.raises(AssertionError, match="step 1: entropy is missing, expected missing"):
        same_steps(expected, expected, ["entropy"])
    with pytest.raises(AssertionError):
        same_steps(expected[:1], expected)


def test_files_name_the_line(tmp_path: Path) -> None:
    folders = tmp_path / "one", tmp_path / "other"
    for folder, text in zip(folders, ("a\nb\n", "a\nc\n"), strict=True):
        folder.mkdir()
        (folder / "x.jsonl").write_text(text)
    same_files(folders[0], folders[0], "*.jsonl")
    with pytest.raises(AssertionError, match=r"x\.jsonl:2:\n  b\n  expected\n  c"):
        same_files(*folders, "*.jsonl")
    with pytest.raises(AssertionError, match=r"no \*\.txt"):
        same_files(*folders, "*.txt")


def test_weights_name_the_tensor(tmp_path: Path) -> None:
    folders = tmp_path / "one", tmp_path / "other"
    for folder, value in zip(folders, (1.0, 1.5), strict=True):
        folder.mkdir()
        save_file({"w": torch.tensor([0.0, value]), "b": torch.zeros(2)}, folder / "model.safetensors")
    same_weights(folders[0], folders[0])
    with pytest.raises(AssertionError, match=r"1 differences\nw: 1 of 2 values differ, by at most 0\.5"):
        same_weights(*folders)


def test_completions_name_the_seed_and_the_field() -> None:
    def completion(*ids: int) -> Completion:
        zeros = np.zeros(len(ids), np.float32)
        return Completion(np.asarray(ids, np.int32), zeros, zeros.astype(np.int32), "stop", 7, "", "rollout-0")

    same_completions([completion(1, 2)], [completion(1, 2)], ["token_ids", "logprobs"])
    with pytest.raises(AssertionError, match=r"prompt 3 completion 0 \(seed 7\): token_ids"):
        same_completions([completion(1, 2)], [completion(1, 3)], ["logprobs", "token_ids"], "prompt 3")
