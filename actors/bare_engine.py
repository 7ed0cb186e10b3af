"""`vllm.LLM.generate` alone on given prompts and lengths, for `srm_ray.bench`: prints tokens/s of each round."""

import json
import sys
import time
from dataclasses import fields
from pathlib import Path

from actors.rollout import EngineSpec, engine_args, prepare_environment


def main(path: str) -> None:
    job = json.loads(Path(path).read_text())
    spec = EngineSpec(**{field.name: job["spec"][field.name] for field in fields(EngineSpec)})
    prepare_environment(spec)
    from vllm import LLM, SamplingParams

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
    rates = []
    for round_ in range(job["rounds"]):
        prompts, params = [], []
        for index, length in enumerate(job["lengths"]):
            for sample in range(job["group_size"]):
                prompts.append({"prompt_token_ids": job["prompts"][index]})
                seed = 1000 * round_ + 8 * index + sample
                params.append(
                    SamplingParams(
                        temperature=1.0,
                        max_tokens=length,
                        seed=seed,
                        ignore_eos=True,
                        logprobs=0,
                        flat_logprobs=True,
                        detokenize=False,
                    )
                )
        began = time.perf_counter()
        outputs = engine.generate(prompts, params, use_tqdm=False)
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        rates.append(tokens / (time.perf_counter() - began))
    print(json.dumps(rates))


if __name__ == "__main__":
    main(sys.argv[1])
