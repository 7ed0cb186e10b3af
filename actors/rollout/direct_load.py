"""New weights straight into a running engine's layers, past vLLM's general reload.

    flat buffer --(plan: which tensors make up which parameter)--> copied in place, or packed anew

vLLM's layerwise reload rebuilds every layer and calls a loader per tensor: 40 ms for a model whose bytes
a copy moves in half a millisecond. A plan is made from the names (`packed_modules_mapping` says what vLLM
has fused) and used only where it was found to give, bit for bit, what vLLM's own loader gave.
"""

import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from srm_ray.weights.flat import TensorSpec, view


class Weights(Protocol):
    """Where tensors come from: `Buffer`, or `srm_ray.weights.lora.MergedBuffers`."""

    def one(self, spec: TensorSpec) -> torch.Tensor: ...

    def stacked(self, specs: Sequence[TensorSpec]) -> torch.Tensor:
        """Several one below the other."""
        ...


@dataclass(frozen=True, slots=True)
class Buffer:
    """A flat buffer."""

    memory: mmap.mmap

    def one(self, spec: TensorSpec) -> torch.Tensor:
        return view(self.memory, spec)

    def stacked(self, specs: Sequence[TensorSpec]) -> torch.Tensor:
        """No copy where they already lie so."""
        first, *others = specs
        end = first.offset + first.nbytes
        for spec in others:
            if spec.offset != end or spec.dtype != first.dtype:
                return torch.cat([self.one(source) for source in specs])
            end += spec.nbytes
        rows = sum(spec.shape[0] for spec in specs)
        shape = (rows, *first.shape[1:])
        return self.one(TensorSpec(first.name, first.dtype, shape, first.offset, end - first.offset))


@dataclass(frozen=True, slots=True)
class Target:
    """A parameter of the engine's model and the tensors of a checkpoint that lie in it, one below the other.

    module: vLLM's layer, with loaders of its own. packed: on a CPU vLLM multiplies by a repacked copy, and keeps no
    plain weight beside it.
    """

    module: Any
    name: str
    sources: tuple[TensorSpec, ...]
    packed: bool


def make_plan(model: torch.nn.Module, specs: Iterable[TensorSpec]) -> list[Target] | None:
    """Where each tensor goes; None where names or shapes do not say (tensor parallel, quantised, experts)."""
    left = {spec.name: spec for spec in specs}
    targets: list[Target] = []
    seen: set[int] = set()
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) in seen:
                continue
            seen.add(id(parameter))
            found = [left.pop(source, None) for source in _source_names(model, path, name)]
            sources = tuple(spec for spec in found if spec is not None)
            target = Target(module, name, sources, packed=parameter.numel() == 0 and hasattr(module, "cpu_linear"))
            if len(sources) < len(found) or not _fits(target, parameter):
                return None
            targets.append(target)
    return None if left else targets


def _source_names(model: torch.nn.Module, path: str, name: str) -> list[str]:
    """The checkpoint's names of a parameter: its own, or those of the projections that vLLM fused."""
    prefix, _, last = path.rpartition(".")
    parts = getattr(model, "packed_modules_mapping", {}).get(last, [last])
    return [".".join(filter(None, (prefix, part, name))) for part in parts]


def _fits(target: Target, parameter: torch.nn.Parameter) -> bool:
    from vllm.model_executor.layers.vocab_parallel_embedding import VocabParallelEmbedding

    rows = sum(spec.shape[0] for spec in target.sources)
    inner = {spec.shape[1:] for spec in target.sources}
    if target.packed:
        wanted = (getattr(target.module, "output_size", None), getattr(target.module, "input_size", None))
        return len(inner) == 1 and (rows, *inner.pop()) == wanted
    # vLLM pads the vocabulary with rows that no token has.
    padded = isinstance(target.module, VocabParallelEmbedding) and rows <= parameter.shape[0]
    return inner == {tuple(parameter.shape[1:])} and (rows == parameter.shape[0] or padded)


def agrees(plan: list[Target], weights: Weights, dtype: torch.dtype) -> bool:
    """Whether the plan leaves each layer as it is now, when `weights` are what vLLM's loader has just loaded."""
    return all(_agrees(target, weights, dtype) for target in plan)


def _agrees(target: Target, weights: Weights, dtype: torch.dtype) -> bool:
    if not target.packed:
        parameter = getattr(target.module, target.name).data
        return all(
            torch.equal(parameter[first : first + len(rows)], rows.to(parameter))
            for first, rows in _pieces(target, weights)
        )
    loaded = target.module.cpu_linear
    inputs = torch.randn(4, target.sources[0].shape[1], generator=torch.Generator().manual_seed(0)).to(dtype)
    expected = loaded(inputs, None, None)
    _pack(target, weights, dtype)
    if target.module.weight.numel() == 0 and torch.equal(target.module.cpu_linear(inputs, None, None), expected):
        return True
    target.module.cpu_linear = loaded
    return False


def load(plan: Iterable[Target], weights: Weights, dtype: torch.dtype) -> None:
    """The parameters of the plan, in place."""
    with torch.no_grad():
        for target in plan:
            if target.packed:
                _pack(target, weights, dtype)
                continue
            parameter = getattr(target.module, target.name).data
            for first, rows in _pieces(target, weights):
                parameter[first : first + len(rows)].copy_(rows)


def _pieces(target: Target, weights: Weights) -> Iterator[tuple[int, torch.Tensor]]:
    first = 0
    for spec in target.sources:
        yield first, weights.one(spec)
        first += spec.shape[0]


def _pack(target: Target, weights: Weights, dtype: torch.dtype) -> None:
    """Let vLLM pack the weight as it did when the model was loaded; it reads the tensor and keeps none of it."""
    weight = weights.stacked(target.sources).to(dtype)
    target.module.weight = torch.nn.Parameter(weight, requires_grad=False)
    target.module.quant_method.process_weights_after_loading(target.module)
