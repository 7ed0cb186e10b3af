"""Real workers (vLLM engine, DeepSpeed rank, reward worker) for all tests of this folder: it takes 40 s to start."""

import asyncio

import pytest

from srm_ray.config.grpo import GRPOConfig
from srm_ray.data.prompts import training_stream
from srm_ray.model.loading import open_model


class Loop:
    """An event loop that lives as long as the session, with the workers in it."""

    def __init__(self, config, model):
        from actors.worker_groups import WorkerGroups

        self.config = config
        self.events = asyncio.new_event_loop()
        info = open_model(str(model))
        self.info = info
        self.stream = training_stream(config.data, info.tokenizer, seed=config.seed, limit=100)
        self.told: list[dict] = []
        self.workers = WorkerGroups(
            config,
            info.path,
            context=160,
            stop_token_ids=info.stop_token_ids,
            on_event=lambda event, **known: self.told.append({"event": event, **known}),
        )
        self.run(self.workers.__aenter__())

    def run(self, coroutine):
        return self.events.run_until_complete(coroutine)

    def worker(self):
        """Name of the one that samples now."""
        [serving] = self.workers.rollouts.pool.serving()
        return serving.name

    def close(self):
        self.run(self.workers.close())
        self.events.close()


FP32 = {
    "seed": 5,
    "rollout": {"max_new_tokens": 24, "dtype": "float32", "cpus": 0.5, "kv_cache_gb": 0.25, "max_num_seqs": 64},
    "learner": {"precision": "float32", "lr": 1e-3, "micro_batch_tokens": 2048, "cpus": 0.5},
    "weights": {"mismatch_limit": 1e-3},
    "recovery": {"ping_every": 1.0, "hung_after": 10.0},
}


@pytest.fixture(scope="session")
def loop(ray_session, tiny_model):
    made = Loop(GRPOConfig(**FP32), tiny_model)
    yield made
    made.close()
