"""What `optim.compile` compiles is what the losses call."""

from pathlib import Path

import pytest
import torch

from srm_ray.model.lora import Adapter, load_policy
from srm_ray.training import losses


@pytest.mark.integration  # importing PEFT starts a process
@pytest.mark.parametrize("adapter", [None, Adapter(2, 4, 0.0, ("q_proj",))])
def test_the_losses_call_the_module_that_is_compiled(tiny_model: Path, adapter: Adapter | None) -> None:
    model, called = load_policy(str(tiny_model), adapter), []
    # A compiled module is entered where its hooks are: by a call of the module itself.
    losses.backbone_of(model).register_forward_pre_hook(lambda module, given: called.append(module))
    tokens, positions = torch.arange(16).view(1, 16) + 20, torch.arange(16).view(1, 16)
    losses.target_logprobs(model, tokens, positions, torch.ones(1, 16, dtype=torch.bool))
    assert called == [losses.backbone_of(model)]
    assert {id(weight) for weight in model.parameters()} >= {id(weight) for weight in called[0].parameters()}
