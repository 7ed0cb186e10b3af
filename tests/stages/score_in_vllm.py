"""Log-probabilities of token sequences by plain vLLM in FP32: JSON job in a file, JSON lists on stdout."""

import json
import sys
from pathlib import Path


def main(path: str) -> None:
    from actors.rollout.engine_env import prepare_environment
    from actors.rollout.engine_spec import EngineSpec

    job = json.loads(Path(path).read_text())
    spec = EngineSpec(job["model"], (), 128, 8, "float32", 0)
    prepare_environment(spec)
    from vllm import LLM, SamplingParams

    engine = LLM(
        model=spec.model,
        dtype=spec.dtype,
        max_model_len=spec.max_model_len,
        max_num_seqs=spec.max_num_seqs,
        enforce_eager=True,
        kv_cache_memory_bytes=1 << 26,
        enable_chunked_prefill=False,
        disable_log_stats=True,
    )
    prompts = [{"prompt_token_ids": ids} for ids in job["sequences"]]
    outputs = engine.generate(prompts, SamplingParams(max_tokens=1, prompt_logprobs=0), use_tqdm=False)
    scored = [
        [position[token].logprob for token, position in zip(ids[1:], output.prompt_logprobs[1:], strict=True)]
        for ids, output in zip(job["sequences"], outputs, strict=True)
    ]
    print(json.dumps(scored))


if __name__ == "__main__":
    main(sys.argv[1])
