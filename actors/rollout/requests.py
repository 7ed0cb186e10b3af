"""What vLLM is asked for: parameters of a request that samples, and of one that scores its own prompt.

Neither detokenizes (the worker does, by id), and each is answered once, when it is done.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from srm_ray.inference.completers import Sampling

if TYPE_CHECKING:
    from vllm import SamplingParams


def sampling_params(sampling: Sampling, stop_token_ids: Sequence[int], seed: int) -> "SamplingParams":
    """One completion, with the log-probability of each sampled token."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_new_tokens,
        seed=seed if sampling.temperature > 0 else None,
        stop_token_ids=None if sampling.ignore_stop else list(stop_token_ids),
        ignore_eos=sampling.ignore_stop,
        logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def scoring_params(top: int = 0) -> "SamplingParams":
    """The log-probabilities of the prompt's own tokens, each with those of the `top` likeliest in its place; the one
    token that has to be sampled is thrown away."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=0.0,
        max_tokens=1,
        prompt_logprobs=top,
        flat_logprobs=True,
        detokenize=False,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )
