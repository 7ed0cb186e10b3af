"""`vllm.LLM.generate` alone on given prompts and lengths, for `srm_ray.bench`.

Prints `READY`, then for each round's number on its standard input `RATE` and that round's tokens/s.
"""

import json
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from actors.rollout.engine_env import prepare_environment
from actors.rollout.engine_spec import EngineSpec, engine_args

READY, RATE = "bare engine ready", "bare engine tokens/s"  # lines of vLLM's own may come between


def main(path: str) -> None:
    job = json.loads(Path(path).read_text())
    spec = EngineSpec(**{field.name: job["spec"][field.name] for field in fields(EngineSpec)})
    prepare_environment(spec)
    from vllm import LLM

    given = engine_args(spec)
    chosen = {
        name: getattr(given, name)
        for name in (
            "model", "skip_tokenizer_init", "dtype", "max_model_len", "max_num_seqs", "seed", "logprobs_mode",
            "enforce_eager", "distributed_executor_backend", "enable_chunked_prefill", "max_num_batched_tokens",
            "kv_cache_memory_bytes", "disable_log_stats",
        )
    }  # fmt: skip
    engine = LLM(**chosen)
    print(READY, flush=True)
    for line in sys.stdin:
        prompts, params = requests(job, int(line))
        began = time.perf_counter()
        outputs = engine.generate(prompts, params, use_tqdm=False)
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        print(RATE, tokens / (time.perf_counter() - began), flush=True)


def requests(job: dict[str, Any], round_: int) -> tuple[list[dict[str, Any]], list[Any]]:
    """A round's prompts and sampling parameters, one of each for a completion."""
    from vllm import SamplingParams

    prompts, params = [], []
    for index, length in enumerate(job["lengths"]):
        for sample in range(job["group_size"]):
            prompts.append({"prompt_token_ids": job["prompts"][index]})
            params.append(
                SamplingParams(
                    temperature=1.0,
                    max_tokens=length,
                    seed=1000 * round_ + 8 * index + sample,
                    ignore_eos=True,
                    logprobs=0,
                    flat_logprobs=True,
                    detokenize=False,
                )
            )
    return prompts, params


if __name__ == "__main__":
    main(sys.argv[1])
