"""A Hugging Face folder, a hub name or an adapter, through transformers with a key-value cache."""

from collections.abc import Iterator, Sequence
from typing import Any

from srm_ray.config.precision import AUTO
from srm_ray.console.progress import echo
from srm_ray.errors import UserError
from srm_ray.inference.completers import Sampling
from srm_ray.inference.sampling import choose
from srm_ray.model import lora, precision
from srm_ray.model.loading import open_model


class TransformersEngine:
    """dtype: of weights and compute (`srm_ray.model.precision`). An adapter is merged into its base first."""

    def __init__(self, model: str, *, threads: int = 0, dtype: str = AUTO, chat_template: str = "") -> None:
        import torch
        from transformers.utils import logging

        logging.disable_progress_bar()
        if threads:
            torch.set_num_threads(threads)
        self.info = open_model(model, chat_template)
        self.tokenizer, self.context = self.info.tokenizer, self.info.context
        self.stop_ids = self.info.stop_token_ids
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            loaded = lora.load_policy(self.info.path)
        except (OSError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"--model {model}: its weights cannot be loaded: {reason}") from None
        parameters = sum(weight.numel() for weight in loaded.parameters())
        self.dtype = precision.here(dtype, parameters, echo)
        self.model = loaded.to(self.device, getattr(torch, self.dtype)).eval()
        self.about = f"{model} ({parameters / 1e6:,.1f}M, {self.dtype}, {self.device})"

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, seed: int = 3407) -> Iterator[int]:
        import torch

        generator = torch.Generator(self.device).manual_seed(seed)
        tokens_1T = torch.tensor([list(prompt_ids)], device=self.device)
        limit = min(sampling.max_new_tokens, self.context - len(prompt_ids))
        cache: Any = None
        for _ in range(limit):
            with torch.inference_mode():
                out = self.model(input_ids=tokens_1T, past_key_values=cache, use_cache=True, logits_to_keep=1)
                tokens_1T = choose(out.logits[:, -1].float(), sampling.temperature, generator)[:, None]
            cache = out.past_key_values
            token = int(tokens_1T[0, 0])
            if token in self.stop_ids and not sampling.ignore_stop:
                return
            yield token

    def logits(self, ids: Sequence[int]) -> Any:
        import torch

        with torch.inference_mode():
            out = self.model(input_ids=torch.tensor([list(ids)], device=self.device), use_cache=False)
        return out.logits[0].float().cpu().numpy()
