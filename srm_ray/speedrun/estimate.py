"""`--dry-run` of a speedrun: time, memory and cost of each stage, reckoned from the config and its `machine`.

    tokens of a stage x 6 FLOPs a parameter (8 with activation checkpointing) / (tflops x utilisation)   training
    tokens of a stage / decode_tokens_per_s                                                              sampling

(6 N T: Kaplan et al. 2020, section 2.1.) Completions are reckoned at their limit, so sampling is an upper
bound. The machine's rates are what its config says: nothing is measured here.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from actors.train.memory import GIB, count, memory, size_of, training_memory
from srm_ray.config.base import Section
from srm_ray.config.evaluate import EngineConfig
from srm_ray.config.grpo import GRPOConfig, RolloutConfig
from srm_ray.config.lengths import PRETRAIN_ROW, SFT_ROW, OwnContext, context_for, fit, half
from srm_ray.config.lora import LoraConfig
from srm_ray.config.precision import AUTO
from srm_ray.config.speedrun import MachineConfig, SpeedrunConfig
from srm_ray.config.stages import TrainStage
from srm_ray.console.progress import duration, echo
from srm_ray.console.text_table import aligned
from srm_ray.errors import UserError
from srm_ray.model.loading import cache_values
from srm_ray.runs.folder import RunFolder

if TYPE_CHECKING:
    from transformers import PretrainedConfig

CHARACTERS_A_TOKEN = 4  # of real text; generated sums have 1.2
DOCUMENT_TOKENS, EXAMPLE_TOKENS = 43, 35  # of generated text: means over 10,000 of each
WORD_PROBLEM_TOKENS = 100  # of one of them with its working, in SmolLM2's template: mean over 300
KEEP_RATE = 0.7  # groups with signal, of those drawn: the loop's own first guess
PROBLEMS = {  # of the suites, where evaluate.limit does not say
    "arithmetic": 1000,
    "numerals": 650,
    "word_problems": 1000,
    "gsm8k": 1319,
    "math500": 500,
    "aime24": 30,
    "svamp": 1000,
    "humaneval": 164,
    "mbpp": 500,
    "bbh": 6511,
    "ifeval": 541,
    "mmlu_stem": 3018,
    "arc_challenge": 1172,
}


@dataclass(frozen=True, slots=True)
class Estimate:
    """trained, sampled: tokens. seconds: of all. memory: GiB on one worker, or of the card that workers share."""

    stage: str
    trained: float
    sampled: float
    seconds: float
    memory: float
    note: str = ""


class Budget:
    """Estimates of one config."""

    def __init__(self, config: SpeedrunConfig):
        self.config, self.machine = config, config.machine
        self.model_config = base_config(config)
        self.parameters = count(self.model_config, LoraConfig())[0]
        own = OwnContext(self.model_config.max_position_embeddings, "the model")
        rollout = config.grpo.rollout
        self.own, self.lengths = own, fit(rollout.max_model_len, rollout.max_new_tokens, own, origins=config.origins)

    def estimates(self) -> list[Estimate]:
        before = [] if self.config.start.given else [self.tokenizer(), self.pretrain()]
        return [*before, self.sft(), self.samples(), self.prefer(), self.grpo(), self.evaluate()]

    # Stages

    def tokenizer(self) -> Estimate:
        own = self.config.tokenizer.data
        megabytes = own.limit_mb if own.path or own.name or self.config.text.path else 1.0
        return Estimate("tokenizer", 0, 0, megabytes / self.machine.text_mb_per_s, 0, f"{megabytes:g} MB of text")

    def pretrain(self) -> Estimate:
        config = self.config.pretrain
        row = config.data.row_length or min(PRETRAIN_ROW, self.own.tokens)
        tokens = config.steps * config.optim.batch * row or config.data.tokens
        tokens = tokens or self.config.text.documents * DOCUMENT_TOKENS
        generated = not (config.data.path or config.data.sources or self.config.text.path)
        reading = tokens * (1.2 if generated else CHARACTERS_A_TOKEN) / 1e6 / self.machine.text_mb_per_s
        trained = self.training("pretrain", config, tokens, row, LoraConfig())
        return replace(trained, seconds=trained.seconds + reading)

    def sft(self) -> Estimate:
        config = self.config.sft
        row = config.data.row_length or min(SFT_ROW, self.own.tokens)
        tokens = config.steps * config.optim.batch * row
        examples = config.data.limit or self.config.text.examples
        each = WORD_PROBLEM_TOKENS if config.data.generator == "word_problems" else EXAMPLE_TOKENS
        tokens = tokens or int(examples * config.epochs * each)
        return self.training("sft", config, tokens, row, config.lora)

    def samples(self) -> Estimate:
        grpo, prompts = self.config.grpo, self.config.samples.prompts
        sampled = prompts * grpo.rollout.group_size * self.lengths.completion
        return Estimate("samples", 0, sampled, self.sampling(sampled), self.engine_memory(grpo.rollout))

    def prefer(self) -> Estimate:
        config, grpo = self.config.prefer, self.config.grpo
        limits = half(config.data.max_prompt, self.own.tokens) + half(config.data.max_completion, self.own.tokens)
        longest = min(self.lengths.context, limits)
        pairs = config.steps * config.optim.batch
        pairs = pairs or int(self.config.samples.prompts * KEEP_RATE * grpo.rollout.group_size / 4 * config.epochs)
        # The reference's log-probabilities are a forward pass: a third of a training step.
        return self.training("prefer", config, pairs * 2 * longest, longest, config.lora, rows_per_unit=2, passes=4 / 3)

    def grpo(self) -> Estimate:
        config = self.config.grpo
        completions = config.steps * config.prompts_per_step * config.rollout.group_size
        trained = completions * self.lengths.completion
        sampled = trained / KEEP_RATE
        seconds = self.sampling(sampled) + self.flops(trained, config.learner.activation_checkpointing)
        need = self.engine_memory(config.rollout) + self.learner_memory(config)
        return Estimate("grpo", trained, sampled, seconds, need, "engine and learner together")

    def evaluate(self) -> Estimate:
        """All models of the run, each with engines of its own."""
        config = self.config.evaluate
        problems = sum(min(config.limit or PROBLEMS[name], PROBLEMS[name]) for name in config.tasks)
        sampled = problems * config.sampling.samples * config.sampling.max_new_tokens
        models = len(self.config.models)
        seconds = models * self.sampling(sampled)
        need = self.engine_memory(config.engine, config.sampling.max_new_tokens)
        return Estimate("evaluate", 0, models * sampled, seconds, need, f"{models} models")

    # Parts

    def training(
        self,
        stage: str,
        config: TrainStage,
        tokens: int,
        row: int,
        lora: LoraConfig,
        *,
        rows_per_unit: int = 1,
        passes: float = 1.0,
    ) -> Estimate:
        """Training on `tokens`; passes: of a step's FLOPs."""
        _, need = training_memory(config, self.model_config, row, lora, rows_per_unit)
        seconds = passes * self.flops(tokens, config.optim.activation_checkpointing)
        return Estimate(stage, tokens, 0, seconds + self.machine.start_seconds, need.total / GIB)

    def flops(self, tokens: float, checkpointed: bool) -> float:
        """Seconds of training on `tokens`."""
        work = (8 if checkpointed else 6) * self.parameters * tokens
        return work / (self.machine.tflops * 1e12 * self.machine.utilisation)

    def sampling(self, tokens: float) -> float:
        return tokens / self.machine.decode_tokens_per_s + self.machine.start_seconds

    def engine_memory(self, rollout: RolloutConfig | EngineConfig, max_new_tokens: int = 0) -> float:
        """Weights and KV cache of one engine, GiB: on a GPU no more than it is given."""
        width = 4 if rollout.dtype == "float32" or (rollout.dtype == AUTO and not rollout.gpus) else 2
        weights = self.parameters * width / GIB
        if not rollout.gpus:
            return weights + rollout.kv_cache_gb
        context = context_for(rollout.max_model_len, max_new_tokens, self.own, origins=self.config.origins)
        wanted = weights + rollout.max_num_seqs * context * cache_values(self.model_config) * width / GIB
        return min(wanted, rollout.memory_fraction * self.machine.memory_gib)

    def learner_memory(self, config: GRPOConfig) -> float:
        learner, size = config.learner, size_of(self.model_config, config.learner.lora)
        return memory(size, learner, workers=learner.workers, tokens=learner.micro_batch_tokens).total / GIB


def base_config(config: SpeedrunConfig) -> "PretrainedConfig":
    """The model that the run trains: pretrain's size with the tokenizer's vocabulary, or the model it starts from."""
    from srm_ray.model.shapes import qwen3_config, shape

    if config.start.given:
        from srm_ray.gguf.reader import open_model_file, transformers_config

        return transformers_config(open_model_file(start_file(config)))
    if config.pretrain.model:
        from transformers import AutoConfig

        from srm_ray.model.loading import open_model

        return AutoConfig.from_pretrained(open_model(config.pretrain.model).path, trust_remote_code=False)
    return qwen3_config(shape(config.pretrain.size, vocab_size=config.tokenizer.vocab_size))


def start_file(config: SpeedrunConfig) -> Path:
    """Raises `UserError` where it is in a package that was not downloaded yet."""
    if not config.start.package:
        return Path(config.start.file)
    found = sorted((RunFolder(config.run_dir, stage="speedrun").path / "package").glob("*.gguf"))
    if not found:
        raise UserError(f"the plan needs the model, and {config.start.package} is not downloaded: begin the run first")
    return found[0]


def show_budget(config: SpeedrunConfig) -> int:
    """Print the plan; exit status 0."""
    budget = Budget(config)
    machine, estimates = config.machine, budget.estimates()
    echo(f"plan of a speedrun: {budget.parameters:,} parameters, {machine.name}")
    rows = [["stage", "tokens trained", "tokens sampled", "time", "memory GiB", "cost $", ""]]
    for one in estimates:
        counts = [f"{tokens:,.0f}" if tokens else "" for tokens in (one.trained, one.sampled)]
        memory = f"{one.memory:.1f}" if one.memory else ""
        rows.append(
            [one.stage, *counts, duration(one.seconds), memory, f"{dollars(one.seconds, machine):.2f}", one.note]
        )
    seconds = sum(one.seconds for one in estimates)
    rows.append(["total", "", "", duration(seconds), "", f"{dollars(seconds, machine):.2f}", ""])
    for line in aligned(rows):
        echo(line)
    need = max(one.memory for one in estimates)
    verdict = "fits" if need <= machine.memory_gib else "DOES NOT FIT"
    echo(f"memory: {need:.1f} GiB at most, {machine.memory_gib:g} GiB there: {verdict}")
    echo(assumptions(machine))
    return 0


def dollars(seconds: float, machine: MachineConfig) -> float:
    return seconds / 3600 * machine.price_per_hour


def assumptions(machine: Section) -> str:
    """Every number that the plan took on trust."""
    rates = ", ".join(f"{name} {value:g}" for name, value in machine if isinstance(value, float | int))
    limits = f"completions at their limit, {KEEP_RATE:.0%} of groups kept, export not reckoned"
    return f"reckoned with {rates} (--machine.NAME changes one); {limits}"
