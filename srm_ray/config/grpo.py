"""Options of `python -m srm_ray.grpo`."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from srm_ray.config.alarms import AlarmsConfig
from srm_ray.config.algorithm import AlgorithmConfig, LossConfig
from srm_ray.config.base import CHAT_TEMPLATE, Section, StageConfig, comma_separated
from srm_ray.config.data import CurriculumConfig, DataConfig, DifficultyConfig
from srm_ray.config.engine import EngineConfig
from srm_ray.config.environment import EnvironmentConfig, PlaysEpisodes, Tools
from srm_ray.config.judge import JudgeConfig, RewardModelConfig
from srm_ray.config.log import LogConfig
from srm_ray.config.lora import RATE, PolicyLora, times
from srm_ray.config.optim import OptimizerConfig
from srm_ray.config.recovery import CheckpointConfig, RecoveryConfig, StopConfig
from srm_ray.config.teacher import TeacherConfig


class WorkerRange(Section):
    """A number of workers that follows the cluster's free resources."""

    min: int = Field(1, ge=1, description="workers that a run starts with and never goes below by itself")
    max: int = Field(8, ge=1, description="workers that it grows to while the cluster has free resources")

    @model_validator(mode="after")
    def _ordered(self):
        if self.max < self.min:
            raise ValueError(f"workers.max must be at least workers.min (got {self.max} and {self.min})")
        return self


Workers = Annotated[int, Field(ge=1)] | WorkerRange


def bounds(workers: Workers) -> tuple[int, int]:
    """Fewest and most workers: the same for a plain number."""
    return (workers.min, workers.max) if isinstance(workers, WorkerRange) else (workers, workers)


class RolloutConfig(EngineConfig):
    """Rollout workers: one vLLM engine each."""

    workers: Workers = Field(
        1, description="vLLM engines, each an actor of its own; {min: 1, max: 8} follows free resources"
    )
    group_size: int = Field(8, ge=2, description="completions sampled for each prompt (G)")
    temperature: float = Field(1.0, gt=0, le=2, description="sampling temperature in training; top_p is 1")
    max_new_tokens: int = Field(
        0, ge=0, description="limit of a completion, tokens; 0: 2048, at most half of max_model_len"
    )
    cache_on_update: Literal["keep", "recompute"] = Field(
        "keep", description="KV cache of requests that go on across a weight update"
    )
    sleep: bool = Field(
        False, description="leave the GPU to the learner while it learns: weights to CPU memory, KV cache given up"
    )


class RewardWeights(Section):
    """Weight of each part of the reward; 0 leaves a part out."""

    math: float = Field(1.0, ge=0, description="correctness of prompts with an answer")
    code: float = Field(1.0, ge=0, description="correctness of prompts with tests")
    format: float = Field(0.1, ge=0, description="finished thinking, then an answer")
    length: float = Field(1.0, ge=0, description="soft overlong penalty, when reward.overlong_cache is above 0")
    function: float = Field(1.0, ge=0, description="the reward of your own, when reward.function names one")
    judge: float = Field(1.0, ge=0, description="the judge's verdict, when reward.judge names one")
    model: float = Field(1.0, ge=0, description="the reward model's score, when reward.model names one")


class RewardConfig(Section):
    """Reward workers and what they pay for."""

    shorthand: ClassVar[str | None] = "function"

    workers: Workers = Field(
        1, description="reward actors, each with a pool of killable grading processes; a number or a range"
    )
    processes: int = Field(1, ge=1, description="grading processes of one worker")
    function: str = Field(
        "",
        description="a reward of your own that replaces the built-in grading, package.module:function (rewards.user)",
    )
    judge: JudgeConfig = JudgeConfig()
    model: RewardModelConfig = RewardModelConfig()
    check_share: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of what a judge or a reward model decides that the graders decide, too, where the row has a "
        "gold: judge/agreement",
    )
    threshold: float = Field(
        0.0, description="above it a reward of your own, a judge's or a model's is correct, unless it says so itself"
    )
    weights: RewardWeights = RewardWeights()
    last_number: bool = Field(False, description="accept the last number as the answer when none is boxed")
    timeout: float = Field(5.0, gt=0, description="seconds that grading one completion may take")
    overlong_cache: int = Field(
        0, ge=0, description="the soft overlong penalty grows over the last this many tokens; 0: off"
    )
    allow_unsafe: bool = Field(False, description="run code tests without a sandbox where none is available")
    cpus: float = Field(0.1, ge=0, description="CPUs that Ray reserves for one worker")

    @property
    def own(self) -> str:
        """What decides in place of the built-in graders: "function", "judge" or "model"; "" where they do."""
        named = {"function": self.function, "judge": self.judge.judges, "model": self.model.path}
        return next((name for name, given in named.items() if given), "")

    @model_validator(mode="after")
    def _one_decides(self):
        given = {"function": self.function, "judge": self.judge.judges, "model": self.model.path}
        if sum(map(bool, given.values())) > 1:
            named = " and ".join(f"reward.{name}" for name, there in given.items() if there)
            raise ValueError(f"one of them decides what is right (got {named})")
        return self


class LearnerConfig(OptimizerConfig):
    """The DeepSpeed learner: ranks, optimizer, schedule and how a step is divided."""

    workers: int = Field(1, ge=1, description="learner ranks (actors)")
    lora: PolicyLora = Field(PolicyLora(), description="adapters in place of full fine-tuning")
    lr: float = Field(1e-6, gt=0, description="peak learning rate of AdamW; ten times that of adapters (lora.rank)")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "constant", description="shape after warm-up; constant is the same however many steps a run is given"
    )
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the schedule's steps that warm up linearly")
    warmup_steps: int = Field(0, ge=0, description="optimizer steps that warm up; 0: as `warmup` says")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay, on matrices only")
    zero_stage: int = Field(1, ge=0, le=3, description="DeepSpeed ZeRO stage")
    micro_batch_tokens: int = Field(
        0, ge=0, description="tokens of one forward and backward pass; 0: 16384 on a GPU, 4096 on a CPU"
    )
    updates_per_step: int = Field(
        1, ge=1, description="optimizer updates a batch is used for, each on its own share of groups"
    )
    gpus: float = Field(0.0, ge=0, description="GPUs of one rank; below 1 the card is shared")
    cpus: float = Field(0.5, ge=0, description="CPUs that Ray reserves for one rank")
    threads: int = Field(0, ge=0, description="compute threads of one rank; 0: cores / ranks")
    step_timeout: float = Field(
        1800,
        gt=0,
        description="seconds without a finished micro-batch (or checkpoint, or start) after which the learner is "
        "started again; more where they took longer before",
    )

    @model_validator(mode="after")
    def _what_memory_holds(self):
        if not self.micro_batch_tokens:
            self.settle(micro_batch_tokens=16_384 if self.gpus else 4_096)
        return self

    @model_validator(mode="after")
    def _adapters_fit(self):
        if self.lora.rank and "lr" not in self.model_fields_set:
            self.settle(lr=times(self.lr, RATE))
        if self.lora.quantise != "none" and self.zero_stage == 3:
            raise ValueError(
                f"learner.lora.quantise {self.lora.quantise} holds the base whole on every rank: learner.zero_stage "
                "below 3 (got 3)"
            )
        if why := self.quantised_conflict:
            raise ValueError(why)
        return self

    @property
    def quantised_conflict(self) -> str:
        """Why base weights in 4 bits do not go with the precision, which may be settled later; "" where they do."""
        if self.lora.quantise == "none" or self.precision not in ("bfloat16", "float16"):
            return ""
        return (
            f"learner.lora.quantise {self.lora.quantise} trains an adapter in FP32: learner.precision float32 or "
            f"bf16_autocast (got {self.precision})"
        )


class WeightsConfig(Section):
    """The push of weights to the rollout workers, and how it is proved."""

    transport: Literal["pull", "ipc"] = Field(
        "pull",
        description="pull: a buffer in shared memory, anywhere; ipc: CUDA IPC, learner and engine on one card",
    )
    push_timeout: float = Field(
        120,
        gt=0,
        description="seconds without progress after which a worker that loads weights is replaced; more where the "
        "weights are large, or loading took longer before",
    )
    mismatch_limit: float = Field(
        0.1, gt=0, description="mean absolute log-probability difference of rollout and learner at which the run stops"
    )


class EvalConfig(Section):
    """Greedy accuracy on held-out problems."""

    every: int = Field(0, ge=0, description="steps between evaluations; 0: before and after the run only")
    problems: int = Field(1000, ge=0, description="held-out problems; 0: no evaluation")
    samples: int = Field(3, ge=0, description="completions shown at the end, with their grades")
    suite: list[str] = Field(
        [],
        description="task suites measured greedily before, every `every` steps and after, e.g. gsm8k,arithmetic; "
        "final/ is then the checkpoint with the highest mean of them",
    )
    suite_path: str = Field(
        "", description="folder of the suites' local files, as evaluate's data.path; empty: the hub"
    )
    suite_limit: int = Field(200, ge=0, description="problems of each suite; 0: all")
    guard: float | None = Field(
        None, ge=0, le=1, description="a checkpoint that lost more than this share on any suite is not kept as best"
    )

    @field_validator("suite", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return comma_separated(value)

    @model_validator(mode="after")
    def _guards_something(self):
        if self.guard is not None and not self.suite:
            raise ValueError(f"eval.guard holds on the suites of eval.suite (got {self.guard} and none)")
        return self


class GRPOConfig(StageConfig, PlaysEpisodes):
    """Options of `python -m srm_ray.grpo`."""

    subject: ClassVar[tuple[str, ...]] = ("model", "data.path", "data.name", "data.mixture", "data.eval_path")
    scaled: ClassVar[dict[str, tuple[str, float]]] = {"learner.lr": ("learner.lora.rank", RATE)}

    chat_template: str = Field("", description=CHAT_TEMPLATE)
    steps: int = Field(100, ge=1, description="optimizer steps")
    prompts_per_step: int = Field(32, ge=1, description="groups with signal in one step")
    max_refill: float = Field(
        8, ge=1, description="a step draws at most this many times prompts_per_step, and trains on what it has by then"
    )
    max_staleness: int = Field(
        0,
        ge=0,
        description="weight versions that a completion may lag behind the learner; 0: deterministic, and rollouts wait",
    )
    dry_run: bool = Field(False, description="print the model's size, memory and placement, then stop")
    inspect: int = Field(0, ge=0, description="print this many problems with their gold and grader, then stop")
    placement: Literal["pack", "spread"] = Field(
        "pack",
        description="pack: workers on as few nodes as hold them; spread: the learner's on nodes where nothing is "
        "sampled or graded",
    )
    replay: str = Field("", description="run folder whose recorded groups are trained on, instead of sampling")
    data: DataConfig = DataConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    difficulty: DifficultyConfig = DifficultyConfig()
    environment: EnvironmentConfig = EnvironmentConfig()
    tools: Tools = Field(
        [], description="functions that the policy may call, package.module:function,... (docs/environments.md)"
    )
    rollout: RolloutConfig = RolloutConfig()
    reward: RewardConfig = RewardConfig()
    algorithm: AlgorithmConfig = AlgorithmConfig()
    loss: LossConfig = LossConfig()
    teacher: TeacherConfig = TeacherConfig()
    learner: LearnerConfig = LearnerConfig()
    weights: WeightsConfig = WeightsConfig()
    recovery: RecoveryConfig = RecoveryConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    stop: StopConfig = StopConfig()
    eval: EvalConfig = EvalConfig()
    alarms: AlarmsConfig = AlarmsConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _follows_something(self):
        if not self.difficulty.follow:
            return self
        for source in self.data.mixture.values() or [self.data]:
            if source.levels:
                raise ValueError("difficulty.follow and levels exclude each other: both choose what is drawn")
            if source.generated and not self.difficulty.pool:
                raise ValueError(
                    "difficulty.follow wants difficulty.pool above 0 for problems that are generated (got 0)"
                )
        if self.plays_episodes:
            raise ValueError("difficulty.follow does not hold for environments and tools yet")
        return self

    @model_validator(mode="after")
    def _shows_something(self):
        if self.teacher.demonstration and self.plays_episodes:
            raise ValueError("teacher.demonstration does not hold for environments and tools yet")
        return self

    @model_validator(mode="after")
    def _fits(self):
        if self.rollout.sleep and not self.rollout.gpus:
            raise ValueError(f"rollout.sleep true frees a GPU's memory (got rollout.gpus {self.rollout.gpus:g})")
        if self.rollout.sleep and self.max_staleness:
            raise ValueError(
                f"rollout.sleep true wants phases that take turns, max_staleness 0 (got {self.max_staleness})"
            )
        cards = (self.rollout.gpus, self.learner.gpus, bounds(self.rollout.workers)[1], self.learner.workers)
        if self.weights.transport == "ipc" and (not all(cards) or max(cards) > 1 or sum(cards[:2]) > 1):
            raise ValueError(
                "weights.transport ipc wants one rollout worker and one learner rank on one GPU, rollout.gpus and "
                f"learner.gpus above 0 and together at most 1 (got {cards[0]:g} and {cards[1]:g}, "
                f"{cards[2]} and {cards[3]} workers)"
            )
        if self.weights.transport == "ipc" and self.learner.lora.rank:
            raise ValueError(
                "weights.transport ipc shows the engine the learner's own weights, which an adapter is not part of: "
                f"weights.transport pull (got learner.lora.rank {self.learner.lora.rank})"
            )
        if self.weights.transport == "ipc" and self.learner.zero_stage == 3:
            raise ValueError("weights.transport ipc wants whole weights, learner.zero_stage below 3 (got 3)")
        longest = self.rollout.max_model_len
        if longest and self.rollout.max_new_tokens >= longest:
            raise ValueError(
                "rollout.max_new_tokens must be below rollout.max_model_len "
                f"(got {self.rollout.max_new_tokens} and {longest})"
            )
        return self
