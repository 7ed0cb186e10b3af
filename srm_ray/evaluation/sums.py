"""How a model does at generated sums that no training ever sees: one greedy completion each."""

from srm_ray.data.tasks import HELD_OUT_SEED
from srm_ray.intervals import Share, wilson

NEW_TOKENS = 96
AT_ONCE = 250


def accuracy(model_folder: str, count: int) -> Share:
    """Share of `count` held-out sums that the model of a Hugging Face folder answers right."""
    import torch
    from transformers import AutoModelForCausalLM

    from rewards.math.grader import score
    from srm_ray.data import arithmetic
    from srm_ray.data.rendering import render_prompt
    from srm_ray.inference.sampling import sample
    from srm_ray.model.loading import open_model

    info = open_model(model_folder)
    tokenizer = info.tokenizer
    model = AutoModelForCausalLM.from_pretrained(info.path, dtype=torch.float32).eval()
    asked = arithmetic.problems(HELD_OUT_SEED, count, "held_out")
    right = 0
    for start in range(0, count, AT_ONCE):
        some = asked[start : start + AT_ONCE]
        prompts = [render_prompt(tokenizer, [{"role": "user", "content": one.question}]) for one in some]
        answers = sample(model, prompts, stop_ids=info.stop_token_ids, max_new_tokens=NEW_TOKENS, temperature=0.0)
        for one, prompt, ids in zip(some, prompts, answers, strict=True):
            # The prompt opens the thinking that the completion closes.
            said = tokenizer.decode(prompt + ids, skip_special_tokens=True)
            right += len(ids) < NEW_TOKENS and score(said, one.answer, one.question).correct is True
    return wilson(right, count)
