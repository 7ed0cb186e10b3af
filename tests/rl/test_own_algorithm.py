"""docs/algorithms.md, "Your own, in ten minutes": the module that it prints, step by step."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from srm_ray.config.grpo import GRPOConfig
from srm_ray.rl.algorithms import loading
from srm_ray.rl.algorithms.contract import Options, TokenInputs
from srm_ray.training.algorithm import described, settled
from tests.doc_commands import ROOT

DOC = (ROOT / "docs" / "algorithms.md").read_text()


@pytest.fixture
def ranked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> loading.Chosen:
    """The printed module, where Python finds it; as the command of step 2 names it."""
    found = re.search(r"```python\n(   # (\w+)\.py\n.*?)```", DOC, re.DOTALL)
    assert found and f"--algorithm {found[2]} --steps" in DOC
    text = "\n".join(line.removeprefix("   ") for line in found[1].splitlines())
    (tmp_path / f"{found[2]}.py").write_text(text + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return loading.Chosen(found[2])


def test_the_walk(ranked: loading.Chosen) -> None:
    config = settled(GRPOConfig(algorithm={"name": ranked.name}))
    assert set(described(config)) == {"name", "advantage", "loss", "choice"}
    mine = loading.load(ranked, Options())
    assert mine.advantage(np.array([1.1, 0.0, 0.1, 0.0]), loading.probe_group()) == pytest.approx(
        [1, -2 / 3, 1 / 3, -2 / 3]
    )
    old = torch.zeros(3, dtype=torch.float64)
    logprobs = torch.tensor([0.0, 1.0, -9.0], dtype=torch.float64, requires_grad=True)
    tokens = TokenInputs(logprobs, old, torch.ones_like(old), torch.ones_like(old), torch.tensor([0, 0, 0]))
    terms = mine.loss(tokens).token_C
    assert terms.tolist() == pytest.approx([0.0, -np.tanh(1), 1.0])
    terms.sum().backward()
    assert logprobs.grad is not None and logprobs.grad.tolist() == pytest.approx(
        [-1.0, -1 / np.cosh(1) ** 2, 0.0], abs=1e-6
    )


def test_every_algorithm_is_in_the_table_with_what_it_is_divided_by() -> None:
    words = {"tokens": "tokens of the step", "constant": "a constant length", "sequences": "completion"}
    for name in loading.NAMES:
        row = re.search(rf"^\| `{name}`.*$", DOC, re.MULTILINE)
        assert row, name
        cells = [cell.strip() for cell in row[0].strip("|").split("|")]
        algorithm = loading.load(loading.Chosen(name), Options(), ("normalisation", "normalise_std"))
        assert words[algorithm.options.normalisation] in cells[3], name
        same = algorithm.choice(loading.replace(loading.probe_group(), rewards=loading.probe_group().rewards[:1]))
        assert ("every" in cells[4]) is same, name
