"""TRL's GRPO trainer from the same start, on the same problems with the same rewards: the simplest alternative.

    model, training stream, graders (all ours) -> trl.GRPOTrainer (its own generation and loss) -> held-out accuracy

Run it alone, in an environment of its own that has this one below it:

    uv venv trl && echo "$PWD"/.venv/lib/python3.*/site-packages > trl/lib/python3.*/site-packages/base.pth
    uv pip install --python trl/bin/python --no-deps trl accelerate
    PYTHONPATH=. trl/bin/python -m srm_ray.bench.trl_trainer --seconds 120 --model MODEL

Options that are not its own are those of srm_ray.grpo, and hold for TRL, too. Seconds are those of training steps
alone; evaluation does not count. `srm_ray.bench.against_trl` runs it beside ours.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from srm_ray.config.command_line import parse
from srm_ray.config.grpo import GRPOConfig
from srm_ray.console.command import interactive
from srm_ray.data.prompts import held_out_prompts, training_stream
from srm_ray.errors import UserError
from srm_ray.model.loading import ModelInfo, open_model
from srm_ray.rl.types import Completion, Group, Prompt

if TYPE_CHECKING:
    from srm_ray.evaluation.accuracy import Evaluation

PROMPTS = 4000  # more than the run can use
OPTIONS: dict[str, tuple[float, str]] = {  # of TRL's run: default and meaning
    "seconds": (120.0, "seconds of training steps"),
    "every": (20.0, "seconds of training steps between evaluations"),
    "at_once": (0, "completions of a forward pass; 0: the whole step's"),
    "lr": (0.0, "TRL's learning rate; 0: learner.lr"),
}
BATCH = 250  # problems answered at once in an evaluation


@interactive
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m srm_ray.bench.trl_trainer", description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--json", default="", help="append each evaluation to this file, a line of JSON each")
    options, others = parser.parse_known_args(argv)
    from actors.runtime.compute import settle_learner

    config = settle_learner(parse(GRPOConfig, with_recipe(others), stage="grpo"))
    if not config.model:
        raise UserError("--model MODEL: the Hugging Face folder to start from")
    info = open_model(config.model)
    with tempfile.TemporaryDirectory() as folder:
        train(config, info, Grader(config, info), options, folder)
    return 0


def add_options(parser: argparse.ArgumentParser) -> None:
    for name, (default, about) in OPTIONS.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=about)


def with_recipe(words: list[str]) -> list[str]:
    """Options of srm_ray.grpo, with the demo's recipe where none is named: also of another model than the demo's."""
    named = any(word.split("=")[0] == "--config" for word in words)
    return words if named else ["--config", "grpo/tiny", *words]


class Grader:
    """Our graders on TRL's completions."""

    def __init__(self, config: GRPOConfig, info: ModelInfo):
        from actors.reward.worker import RewardWorker
        from actors.worker_groups import reward_spec

        self.worker = RewardWorker(reward_spec(config))
        self.info = info
        self.limit = config.rollout.max_new_tokens
        self.loop = asyncio.new_event_loop()

    def completion(self, ids: list[int]) -> Completion:
        ended = bool(ids) and ids[-1] in self.info.stop_token_ids
        return Completion(
            token_ids=np.asarray(ids, np.int32),
            logprobs=np.zeros(len(ids), np.float32),
            versions=np.zeros(len(ids), np.int32),
            finish_reason="stop" if ended else "length",
            seed=0,
            text=self.info.tokenizer.decode(ids[:-1] if ended else ids, skip_special_tokens=False),
            worker="trl",
        )

    def score(self, prompts: list[Prompt], ids: list[list[int]]) -> list[Group]:
        """One completion for each prompt, graded."""

        async def grade(group: Group) -> Group:
            return Group(group.prompt, group.completions, 0, await self.worker.score(group))

        async def all_at_once() -> list[Group]:
            groups = [Group(prompt, (self.completion(own),), 0) for prompt, own in zip(prompts, ids, strict=True)]
            return list(await asyncio.gather(*map(grade, groups)))

        return self.loop.run_until_complete(all_at_once())


def train(config: GRPOConfig, info: ModelInfo, grader: Grader, options: argparse.Namespace, folder: str) -> None:
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import GRPOConfig as TRLConfig
    from trl import GRPOTrainer

    limit = config.rollout.max_model_len - config.rollout.max_new_tokens
    stream = training_stream(config.data, info.tokenizer, seed=config.seed, limit=limit)
    prompts = {prompt.text: prompt for prompt in (stream[index] for index in range(PROMPTS))}
    for prompt in prompts.values():
        assert tuple(info.tokenizer(prompt.text)["input_ids"]) == prompt.token_ids, "TRL would see other tokens"
    held_out = held_out_prompts(config.data, info.tokenizer, count=config.eval.problems, limit=limit)
    model = AutoModelForCausalLM.from_pretrained(info.path, dtype=torch.float32)
    model.generation_config.eos_token_id = list(info.stop_token_ids)

    def reward(prompts_: list[str], completion_ids: list[list[int]]) -> list[float]:
        groups = grader.score([prompts[text] for text in prompts_], completion_ids)
        return [group.rewards[0].value for group in groups]

    def trl_reward(prompts: list[str], completion_ids: list[list[int]], **_: Any) -> list[float]:
        return reward(prompts, completion_ids)

    completions = config.prompts_per_step * config.rollout.group_size
    at_once = options.at_once or completions
    arguments = TRLConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=config.learner.precision == "bf16_autocast",
        per_device_train_batch_size=at_once,
        gradient_accumulation_steps=completions // at_once,
        num_generations=config.rollout.group_size,
        max_completion_length=config.rollout.max_new_tokens,
        temperature=config.rollout.temperature,
        learning_rate=options.lr or config.learner.lr,
        lr_scheduler_type="constant",
        adam_beta1=config.learner.betas[0],
        adam_beta2=config.learner.betas[1],
        weight_decay=0.0,
        max_grad_norm=config.learner.clip_grad,
        beta=0.0,
        epsilon=config.loss.clip_low,
        epsilon_high=config.loss.clip_high,
        loss_type="dapo",
        shuffle_dataset=False,
        gradient_checkpointing=False,
        max_steps=10_000,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=10_000,
        seed=config.seed,
    )
    show(options, 0, 0.0, 0.0, evaluate(model, info, held_out, grader))
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=trl_reward,
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": text} for text in prompts]),
        processing_class=info.tokenizer,
    )
    sampling = Timed(trainer._generate_and_score_completions)  # a name of TRL 1.x
    trainer._generate_and_score_completions = sampling
    trainer.add_callback(clock(options, sampling, lambda: evaluate(model, info, held_out, grader)))
    trainer.train()


class Timed:
    """A function and the seconds that all of its calls took."""

    def __init__(self, function: Callable[..., Any]):
        self.function, self.seconds = function, 0.0

    def __call__(self, *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return self.function(*arguments)
        finally:
            self.seconds += time.perf_counter() - began


def clock(options: argparse.Namespace, sampling: Timed, evaluation: Any) -> Any:
    """Stops training after so many seconds of steps, and evaluates in between."""
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        began, spent, due = 0.0, 0.0, options.every

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.spent += time.perf_counter() - self.began
            if self.spent >= min(self.due, options.seconds):
                self.due = self.spent + options.every
                show(options, state.global_step, self.spent, sampling.seconds, evaluation())
            control.should_training_stop = self.spent >= options.seconds

    return Clock()


def evaluate(model: Any, info: ModelInfo, held_out: list[Prompt], grader: Grader) -> "Evaluation":
    """Greedy accuracy, batches of equal prompt lengths side by side."""
    import torch

    from srm_ray.evaluation.accuracy import summarise

    groups: list[Group] = []
    by_length = sorted(held_out, key=lambda prompt: len(prompt.token_ids))
    training = model.training
    model.eval()
    for first in range(0, len(by_length), BATCH):
        batch = by_length[first : first + BATCH]
        width = max(len(prompt.token_ids) for prompt in batch)
        ids = torch.zeros(len(batch), width, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(batch):
            ids[row, width - len(prompt.token_ids) :] = torch.tensor(prompt.token_ids)
            mask[row, width - len(prompt.token_ids) :] = 1
        with torch.no_grad():
            found = model.generate(
                input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=grader.limit, pad_token_id=0
            )
        groups += grader.score(batch, [cut(row, info.stop_token_ids) for row in found[:, width:].tolist()])
    model.train(training)
    return summarise(groups, samples=0)


def cut(ids: list[int], stops: tuple[int, ...]) -> list[int]:
    """Up to and with the first stop token."""
    return next((ids[: index + 1] for index, token in enumerate(ids) if token in stops), ids)


def show(options: argparse.Namespace, step: int, seconds: float, sampling: float, evaluation: "Evaluation") -> None:
    """sampling: seconds of the steps' that generating and grading took."""
    print(
        f"step {step:3d}  {seconds:6.1f} s of steps, {sampling:.1f} of them sampling and grading  "
        f"held-out greedy accuracy {evaluation.accuracy}  thinks {evaluation.thinks.value:.0%}",
        flush=True,
    )
    if options.json:
        line = {"step": step, "seconds": seconds, "sampling": sampling, "accuracy": evaluation.accuracy.value}
        with open(options.json, "a") as file:
            print(json.dumps(line), file=file)


if __name__ == "__main__":
    sys.exit(main())
