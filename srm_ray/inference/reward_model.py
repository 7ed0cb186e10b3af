"""A reward model as a reward function: a sequence classifier reads the conversation and gives it a number.

    prompt, completions of a group --tokens--> AutoModelForSequenceClassification (one label) --logit--> reward of each

It runs where rewards of the user's own run, in a process of the reward worker (`rewards.user`), on the CPU.
"""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.model import checks, tokenizer_file

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def reward(prompt: str, completions: list[str], answer: str | None, *, folder: str, max_length: int) -> list[float]:
    """One number for each completion: the classifier's logit of prompt and completion, of the last `max_length` tokens.

    prompt: as it was rendered for the policy, whose chat template the classifier should know.
    """
    import torch

    model, tokenizer = opened(folder)
    texts = [prompt + completion for completion in completions]
    batch = tokenizer(
        texts, padding=True, truncation=True, max_length=max_length, add_special_tokens=False, return_tensors="pt"
    )
    with torch.inference_mode():
        return [float(value) for value in model(**batch).logits[:, 0].double()]


@lru_cache(maxsize=1)
def opened(folder: str) -> "tuple[Any, PreTrainedTokenizerBase]":
    """Raises ValueError where the classifier has more labels than one, or its tokenizer cannot fill up a batch."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    if Path(folder).is_dir():
        checks.check_files(Path(folder))
    tokenizer_file.check(Path(folder))
    model = AutoModelForSequenceClassification.from_pretrained(folder, trust_remote_code=False).eval()
    if model.config.num_labels != 1:
        raise ValueError(f"{folder}: a reward model has one label (got {model.config.num_labels})")
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, truncation_side="left")
    if tokenizer.pad_token_id is None or model.config.pad_token_id is None:
        raise ValueError(f"{folder}: its tokenizer and its config must name a padding token")
    return model, tokenizer
