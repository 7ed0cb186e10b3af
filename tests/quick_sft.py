"""A few seconds of supervised training in plain PyTorch: enough for a tiny model to learn a conversation's form."""

from pathlib import Path

import torch
import torch.nn.functional as F

from srm_ray.data import arithmetic
from srm_ray.data.rendering import render_conversation
from srm_ray.model import tokenization
from srm_ray.model.folder import save_model
from srm_ray.model.lora import load_policy
from srm_ray.model.precision import probe

STEPS, BATCH = 100, 16


def speak(start: Path, folder: Path, *, seed: int = 0) -> Path:
    """Train `start` on generated sums, all with reasoning; write the Hugging Face folder."""
    tokenizer, model = tokenization.load(start), load_policy(str(start))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, betas=(0.9, 0.95))
    reduced = probe(gpu=False).bf16
    for step in range(STEPS):
        made = [arithmetic.conversation(seed, BATCH * step + n, thinking_share=1.0) for n in range(BATCH)]
        rows = [render_conversation(tokenizer, messages) for messages in made]
        width = max(len(ids) for ids, _ in rows)
        tokens_BT = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in rows])
        mask_BT = torch.tensor([mask + [False] * (width - len(mask)) for _, mask in rows])
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            logits_BTV = model(input_ids=tokens_BT, use_cache=False).logits
        wanted = mask_BT[:, 1:]
        loss = F.cross_entropy(logits_BTV[:, :-1][wanted].float(), tokens_BT[:, 1:][wanted])
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 10, (STEPS - step) / 40)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    lineage = {"stage": "sft", "parent": str(start), "data": {"arithmetic": str(seed)}}
    save_model(model, dict(model.named_parameters()), folder, tokenizer_from=start, lineage=lineage)
    return folder
