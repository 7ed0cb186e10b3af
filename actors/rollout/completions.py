"""Completions that more than one worker sampled, and the weight version of each token."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from srm_ray.rl.types import Completion

if TYPE_CHECKING:
    from vllm import CompletionOutput


def nothing_yet(seed: int, worker: str) -> Completion:
    """A completion handed back before its first token."""
    empty = np.zeros(0, np.int32)
    return Completion(empty, np.zeros(0, np.float32), empty, "abort", seed, "", worker)


def join(begun: Completion, rest: Completion) -> Completion:
    """A completion that two workers sampled, one after the other; its seed is the first one's."""
    return replace(
        rest,
        token_ids=np.concatenate([begun.token_ids, rest.token_ids]),
        logprobs=np.concatenate([begun.logprobs, rest.logprobs]),
        versions=np.concatenate([begun.versions, rest.versions]),
        text=begun.text + rest.text,
        seed=begun.seed,
    )


def token_versions(output: "CompletionOutput", length: int, current: int) -> np.ndarray:
    """vLLM's spans (start, version) to one version per token. [length] int32."""
    versions = np.full(length, current, np.int32)
    for span in output.weight_versions or ():
        versions[span.start : span.end] = int(span.version)
    return versions
