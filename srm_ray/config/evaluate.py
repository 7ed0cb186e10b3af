"""Options of `python -m srm_ray.evaluate`."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from srm_ray.config.base import CHAT_TEMPLATE, Section, comma_separated
from srm_ray.config.data import DataConfig, SourceConfig
from srm_ray.config.endpoints import Address, KeyVariable
from srm_ray.config.engine import EngineConfig
from srm_ray.config.environment import EnvironmentConfig
from srm_ray.config.grpo import GRPOConfig, RewardConfig, RolloutConfig

ENVIRONMENT = "environment"


class EvaluateData(Section):
    """Where the suites' problems come from."""

    path: str = Field("", description="folder with one folder a suite (gsm8k/test.jsonl, ...); empty: the hub")
    columns: dict[str, str] = Field(
        {}, description="of files of your own: which columns hold what, e.g. {prompt: task, answer: info.final}"
    )
    grader: Literal["", "math", "text", "choice", "code"] = Field(
        "", description="of files of your own: who grades where the rows do not say; empty: by what they hold"
    )


class SamplingConfig(Section):
    """How completions are sampled."""

    samples: int = Field(1, ge=1, description="completions of each problem; above 1 also pass@k and maj@k")
    temperature: float = Field(0.0, ge=0, le=2, description="0: greedy")
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus sampling; 1: off")
    max_new_tokens: int = Field(2048, ge=1, description="limit of a completion, tokens (less where the context ends)")


class PromptConfig(Section):
    """What is put around a problem."""

    system: str = Field("", description="system message put before every problem; empty: none")
    instruction: str = Field(
        r"Please reason step by step, and put your final answer within \boxed{}.",
        description="line put after the problems of math suites (not of the built-in arithmetic); empty: none",
    )
    chat_template: bool = Field(
        True, description="render with the tokenizer's chat template; false: plain text, for base models"
    )


class HarnessConfig(Section):
    """Suites that run through lm-evaluation-harness."""

    bbh: Literal["zeroshot", "cot_zeroshot", "fewshot", "cot_fewshot"] = Field(
        "cot_zeroshot", description="which of the harness's forms of BIG-Bench-Hard"
    )
    think_end: str = Field(
        "</think>", description="what ends thinking: answers are read after it; empty: the whole completion is read"
    )


class GradingConfig(Section):
    """Graders: processes that are ended when they take too long, and the code sandbox."""

    workers: int = Field(
        1, ge=1, description="reward actors that grade, beside the engines or of an endpoint's answers"
    )
    processes: int = Field(2, ge=1, description="answers that one worker grades at once")
    timeout: float = Field(10.0, gt=0, description="seconds that grading one completion may take")
    extract: Literal["final", "flexible"] = Field(
        "final",
        description="answers of gsm8k: final: what is boxed or announced after the thinking, else the last number; "
        "flexible: the last number of the whole completion, as the harness's flexible-extract",
    )
    threshold: float = Field(0.0, description="above it an environment's reward is right, unless it says so itself")
    allow_unsafe: bool = Field(False, description="run code tests without a sandbox where none is available")
    cpus: float = Field(
        0.0, ge=0, description="CPUs that Ray reserves for one worker; 0: none, and it runs where the engines are"
    )


class ReferenceConfig(Section):
    """Published numbers, printed beside the measured ones."""

    name: str = Field("", description="whose numbers these are")
    scores: dict[str, float] = Field({}, description="score by suite, in percent")


class EvaluateConfig(Section):
    """Options of `python -m srm_ray.evaluate`."""

    subject: ClassVar[tuple[str, ...]] = ("model", "tasks", "data.path", "endpoint", "environment", "tools")

    model: str = Field(
        "", description="a Hugging Face folder, e.g. runs/x/final, or a hub name; with endpoint: the name it serves"
    )
    chat_template: str = Field("", description=CHAT_TEMPLATE)
    tasks: list[str] = Field(
        ["arithmetic"],
        description="suites, e.g. gsm8k,math500 (see below), files or data sets of your own, "
        "environment:package.module:Class",
    )
    environment: EnvironmentConfig = EnvironmentConfig()
    tools: list[str] = Field([], description="functions that the model may call, package.module:function,...")
    rows: SourceConfig = Field(
        SourceConfig(), description="what episodes begin from, as grpo's data; nothing: seeds alone, or generated sums"
    )
    limit: int = Field(0, ge=0, description="problems of each suite (of each subtask of bbh and mmlu_stem); 0: all")
    against: str = Field(
        "", description="compare with: `parent` (the checkpoint's record names it), a model, or a finished evaluation"
    )
    endpoint: Address = Field("", description="URL of an OpenAI-compatible server to evaluate in place of a checkpoint")
    api_key: KeyVariable = Field(
        "OPENAI_API_KEY", description="environment variable that holds the endpoint's key, if any"
    )
    run_dir: str = Field("", description="folder of this run; empty: runs/evaluate-<model>")
    seed: int = Field(3407, ge=0, description="every completion's seed comes from it")
    resume: str = Field(
        "auto", pattern="^(auto|never)$", description="auto: keep what is already answered; never: start over"
    )
    workers: int = Field(1, ge=1, description="vLLM engines, each an actor of its own")
    inspect: int = Field(0, ge=0, description="print this many problems of each suite with their gold, then stop")
    shown: int = Field(2, ge=0, description="completions of each suite printed at the end, with their grades")
    data: EvaluateData = EvaluateData()
    sampling: SamplingConfig = SamplingConfig()
    prompt: PromptConfig = PromptConfig()
    harness: HarnessConfig = HarnessConfig()
    engine: EngineConfig = EngineConfig()
    grading: GradingConfig = GradingConfig()
    reference: ReferenceConfig = ReferenceConfig()

    @field_validator("tasks", "tools", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return comma_separated(value)

    @model_validator(mode="after")
    def _fits(self):
        sampling = self.sampling
        if not self.tasks:
            raise ValueError("tasks names no suite")
        self._settle_environment()
        if sampling.samples > 1 and sampling.temperature == 0:
            raise ValueError(
                "greedy samples are all the same: sampling.samples above 1 needs sampling.temperature above 0 "
                f"(got {sampling.samples} and {sampling.temperature:g})"
            )
        if self.endpoint and not self.model:
            raise ValueError("endpoint needs model, the name that the server knows it by (got none)")
        if self.endpoint and not self.endpoint.startswith(("http://", "https://")):
            raise ValueError(f"endpoint must be a URL like http://localhost:8000/v1 (got {self.endpoint!r})")
        return self

    def _settle_environment(self) -> None:
        """`environment:package.module:Class` among the tasks is that environment, and the suite `environment`."""
        given = list(dict.fromkeys(task for task in self.tasks if task.partition(":")[0] == ENVIRONMENT))
        named = [task.partition(":")[2] for task in given if ":" in task]
        if self.environment.name:
            named.append(self.environment.name)
        if len(set(named)) > 1:
            raise ValueError(f"one environment can be measured at a time (got {' and '.join(dict.fromkeys(named))})")
        if given and not (named or self.tools):
            raise ValueError("tasks names an environment: which? environment:package.module:Class, or give tools")
        if not (given or named or self.tools):
            return
        tasks = [task for task in self.tasks if task not in given]
        if not given and "tasks" not in self.model_fields_set:
            tasks = []
        options = self.environment.model_copy(update={"name": named[0]}) if named else self.environment
        self.settle(tasks=[*tasks, ENVIRONMENT], environment=options)

    def playing(self) -> GRPOConfig:
        """What plays episodes reads, as a training run has it. Rows of a file are all held out."""
        rows = self.rows.model_dump()
        if rows["path"] and not rows["eval_path"]:
            rows |= {"eval_path": rows["path"]}
        return GRPOConfig(
            model=self.model,
            seed=self.seed,
            chat_template=self.chat_template,
            environment=self.environment,
            tools=self.tools,
            data=DataConfig(**rows, system=self.prompt.system),
            rollout=RolloutConfig(max_new_tokens=self.sampling.max_new_tokens),
            reward=RewardConfig(threshold=self.grading.threshold),
        )
