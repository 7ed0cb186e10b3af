"""Options of the stages before GRPO: `python -m srm_ray.{tokenizer,pretrain,sft,prefer}`."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from srm_ray.config.base import CHAT_TEMPLATE, Section, StageConfig
from srm_ray.config.lora import RATE, LoraConfig
from srm_ray.config.optim import OptimizerConfig


class CheckpointConfig(Section):
    """When training state is saved."""

    every: int = Field(100, ge=1, description="steps between checkpoints")
    keep: int = Field(3, ge=1, description="newest checkpoints kept")


class EvalConfig(Section):
    """Held-out loss while training."""

    every: int = Field(100, ge=1, description="steps between measurements of the held-out loss")
    share: float = Field(0.0, ge=0, lt=1, description="share of the data held out, 0 to 1; 0: no held-out loss")
    best: bool = Field(True, description="final/ is the checkpoint of the lowest held-out loss, where one is measured")


class PreferEvalConfig(EvalConfig):
    """Held-out pairs while training, and held-out problems before and after."""

    share: float = Field(0.0, ge=0, lt=1, description="share of the pairs held out, 0 to 1; 0: none")
    problems: int = Field(
        0, ge=0, description="generated sums answered greedily before and after; accuracy with intervals; 0: none"
    )


class OptimConfig(OptimizerConfig):
    """Optimizer, schedule and how a step is divided."""

    batch: int = Field(32, ge=1, description="rows (packed sequences), or pairs, in an optimizer step over all workers")
    micro_batch: int = Field(4, ge=1, description="rows, or pairs, in one forward pass of one worker")
    liger: bool = Field(False, description="Liger's fused kernels (GPU, needs liger-kernel)")
    compile: bool = Field(False, description="torch.compile the model; on a CPU 7 % of a step, for half a minute")
    attention: Literal["auto", "sdpa", "flash_attention_2"] = Field("auto", description="attention kernel; auto: sdpa")


class SftOptim(OptimConfig):
    """Optimizer, schedule and how a step is divided: of fine-tuning."""

    lr: float = Field(2e-5, gt=0, description="peak learning rate; where it is not given, 2e-4 of adapters (lora.rank)")
    warmup: float = Field(0.03, ge=0, lt=1, description="share of the steps that warm up linearly")
    weight_decay: float = Field(0.01, ge=0, description="decoupled weight decay, on matrices only")
    micro_batch: int = Field(1, ge=1, description="rows in one forward pass of one worker")


class PreferOptim(OptimConfig):
    """Optimizer, schedule and how a step is divided: of preference optimisation."""

    lr: float = Field(1e-6, gt=0, description="peak learning rate; where it is not given, 1e-5 of adapters (lora.rank)")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the steps that warm up linearly")
    weight_decay: float = Field(0.0, ge=0, description="decoupled weight decay, on matrices only")
    micro_batch: int = Field(1, ge=1, description="pairs in one forward pass of one worker")


class TrainStage(StageConfig):
    """What the training stages share."""

    optim: OptimConfig = Field(OptimConfig(), description="optimizer and schedule")
    checkpoint: CheckpointConfig = Field(CheckpointConfig(), description="training state")
    eval: EvalConfig = Field(EvalConfig(), description="held-out loss")
    placement: Literal["pack", "spread"] = Field(
        "pack", description="pack: workers on as few nodes as hold them; spread: on as many as there are"
    )
    dry_run: bool = Field(False, description="print parameters, memory and placement, then stop")
    chat_template: str = Field("", description=CHAT_TEMPLATE)

    @model_validator(mode="after")
    def _batch_divides(self) -> "TrainStage":
        whole = self.optim.micro_batch * self.workers
        if self.optim.batch % whole:
            raise ValueError(
                f"optim.batch must be a multiple of optim.micro_batch x workers: got batch {self.optim.batch}, "
                f"micro_batch {self.optim.micro_batch}, workers {self.workers}"
            )
        return self


class AdapterStage(TrainStage):
    """A training stage that trains all weights, or adapters, which start from nothing and take ten times the rate."""

    adapter_lr: ClassVar[float]
    scaled: ClassVar[dict[str, tuple[str, float]]] = {"optim.lr": ("lora.rank", RATE)}
    lora: LoraConfig = Field(LoraConfig(), description="adapters")

    @model_validator(mode="after")
    def _rate_of_adapters(self):
        if self.lora.rank and "lr" not in self.optim.model_fields_set:
            self.settle(optim=self.optim.model_copy(update={"lr": self.adapter_lr}))
        return self


DOCUMENTS = (
    "files, folders or globs, separated by commas: plain text, JSONL, JSON, Parquet, Arrow, CSV, also compressed"
)


class TextData(Section):
    """Text to train a tokenizer on."""

    path: str = Field("", description=DOCUMENTS)
    name: str = Field("", description="`datasets` name")
    subset: str = Field("", description="configuration of the `datasets` name")
    split: str = Field("train", description="split of the `datasets` name")
    column: str = Field("", description="field that holds the text; empty: text, content, question + answer, ...")
    limit_mb: int = Field(100, ge=1, description="text read at most, MB")


class TokenizerConfig(StageConfig):
    """`python -m srm_ray.tokenizer`."""

    data: TextData = Field(TextData(), description="what to train on")
    vocab_size: int = Field(32_768, ge=1, description="entries, special tokens included; a multiple of 128")
    context: int = Field(0, ge=0, description="model_max_length written into the tokenizer, tokens; 0: none")
    characters_per_token: float | None = Field(
        None,
        ge=0,
        description="least compression, of the training text, of English and of code; 0: unchecked; "
        "empty: 2 from 32,768 entries on, smaller vocabularies unchecked",
    )

    @property
    def least_compression(self) -> float:
        if self.characters_per_token is None:
            return 2.0 if self.vocab_size >= 32_768 else 0.0
        return self.characters_per_token


class Source(Section):
    """One source of documents."""

    path: str = Field("", description=DOCUMENTS)
    name: str = Field("", description="`datasets` name")
    subset: str = Field("", description="configuration of the `datasets` name")
    split: str = Field("train", description="split of the `datasets` name")
    column: str = Field("", description="field that holds the text")
    limit: int = Field(0, ge=0, description="documents read at most; 0: all")


class Phase(Section):
    """Part of a curriculum: from the end of the phase before, until `until` of all tokens are seen."""

    until: float = Field(1.0, gt=0, le=1, description="share of all tokens at which the phase ends")
    shares: dict[str, float] = Field({}, description="share of the phase's tokens from each source, by its name")

    @model_validator(mode="after")
    def _sums_to_one(self) -> "Phase":
        if abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares of a phase must sum to 1, got {sum(self.shares.values()):g}")
        return self


class FilterConfig(Section):
    """Which documents are dropped."""

    min_characters: int = Field(200, ge=0, description="shortest document, characters")
    max_characters: int = Field(1_000_000, ge=1, description="longest document, characters")
    min_words: int = Field(30, ge=0, description="fewest words")
    max_non_ascii: float = Field(0.3, ge=0, le=1, description="largest share of non-ASCII characters")
    exact: bool = Field(True, description="drop exact duplicates")
    near: float = Field(
        0.8, ge=0, le=1, description="drop near-duplicates of at least this Jaccard similarity; 0: keep"
    )


class CorpusConfig(Section):
    """Documents, filters, mixture."""

    path: str = Field("", description="one source, the short way: a file or a folder")
    sources: dict[str, Source] = Field({}, description="sources by name")
    phases: list[Phase] = Field([], description="curriculum; empty: every document once")
    tokens: int = Field(0, ge=0, description="tokens to build; 0: what the sources hold (needs no phases)")
    filters: FilterConfig = Field(FilterConfig(), description="what is dropped")
    evaluation: list[str] = Field([], description="evaluation files; a 13-gram shared with a prompt fails the build")
    row_length: int = Field(0, ge=0, description="tokens in a packed row; 0: 2048, or the model's context if shorter")
    workers: int = Field(0, ge=0, description="processes that filter and tokenise; 0: one for each CPU of the cluster")

    @model_validator(mode="after")
    def _phases_fit(self) -> "CorpusConfig":
        ends = [phase.until for phase in self.phases]
        if ends and (ends != sorted(ends) or ends[-1] != 1):
            raise ValueError(f"data.phases must end in rising order, the last at 1, got {ends}")
        for phase in self.phases:
            unknown = sorted(set(phase.shares) - set(self.sources))
            if unknown:
                raise ValueError(f"a phase names {unknown[0]!r}, data.sources has {sorted(self.sources)}")
        if self.phases and not self.tokens:
            raise ValueError("data.phases need data.tokens (got 0)")
        return self


class PretrainConfig(TrainStage):
    """`python -m srm_ray.pretrain`."""

    size: str = Field("tiny", description="shape of a fresh model: tiny, 500m, 1b, 3b (with --tokenizer)")
    tokenizer: str = Field("", description="folder of the tokenizer; empty: the one of --model")
    data: CorpusConfig = Field(CorpusConfig(), description="documents")
    inspect: int = Field(0, ge=0, description="show this many documents of each source, token by token, then stop")


COLUMNS = "where the data has other column names: ours to its own, e.g. {}; a.b is within a column"
MAX_DROPPED = "largest share of rows that may be dropped because they cannot be used; more end the command"


class ConversationData(Section):
    """Supervised examples."""

    path: str = Field("", description="file, folder or glob of conversations, several by commas (docs/data.md)")
    name: str = Field("", description="`datasets` names, separated by commas; name:subset:split where one differs")
    subset: str = Field("", description="configuration of the `datasets` name")
    split: str = Field("train", description="split of the `datasets` name")
    generator: str = Field("", description="generated: arithmetic (sums, 40 % of them with reasoning), word_problems")
    limit: int = Field(0, ge=0, description="examples used, drawn by the seed; 0: all")
    answer_style: Literal["boxed", "final_answer"] = Field(
        "boxed", description="how question/answer data states its answer: \\boxed{n} or **Final Answer:** n"
    )
    row_length: int = Field(
        0,
        ge=0,
        description="tokens in a row, longer examples are dropped and counted; 0: 4096, at most the model's context",
    )
    pack: bool = Field(True, description="several examples in a row (they do not attend to each other)")
    source_cap: float = Field(1.0, gt=0, le=1, description="largest share of tokens from one source")
    describe_tools: bool = Field(
        False,
        description="tools, calls and results in words, as environment.describe_tools, whatever the template",
    )
    columns: dict[str, str] = Field({}, description=COLUMNS.format("{prompt: problem, response: solution}"))
    max_dropped: float = Field(0.05, ge=0, le=1, description=MAX_DROPPED)
    drop_duplicates: bool = Field(False, description="drop rows that give the same tokens as an earlier one")


class SftConfig(AdapterStage):
    """`python -m srm_ray.sft`."""

    adapter_lr: ClassVar[float] = 2e-4
    optim: SftOptim = Field(SftOptim(), description="optimizer and schedule")
    data: ConversationData = Field(ConversationData(), description="examples")
    epochs: float = Field(2.0, gt=0, description="passes over the data, where steps is 0")
    loss: Literal["nll", "dft"] = Field("nll", description="nll, or dft: each token weighted by its own probability")
    neftune: float = Field(0.0, ge=0, description="NEFTune's alpha; noise on the embeddings; 0: none")
    inspect: int = Field(0, ge=0, description="show this many examples, token by token, then stop")


class PairData(Section):
    """Preference pairs."""

    path: str = Field("", description="file, folder or glob of pairs, several by commas (docs/data.md)")
    name: str = Field("", description="`datasets` names of pairs, separated by commas; name:subset:split")
    subset: str = Field("", description="configuration of the `datasets` name")
    split: str = Field("train", description="split of the `datasets` name")
    max_prompt: int = Field(
        0,
        ge=0,
        description="longest prompt, tokens, longer ones are dropped and counted; 0: 2048, at most half the context",
    )
    max_completion: int = Field(
        0, ge=0, description="longest completion, tokens; 0: 2048, at most half of the model's context"
    )
    columns: dict[str, str] = Field({}, description=COLUMNS.format("{prompt: question, chosen: good, rejected: bad}"))
    max_dropped: float = Field(0.05, ge=0, le=1, description=MAX_DROPPED)
    drop_duplicates: bool = Field(False, description="drop rows that give the same tokens as an earlier one")


class PreferConfig(AdapterStage):
    """`python -m srm_ray.prefer`."""

    adapter_lr: ClassVar[float] = 1e-5
    optim: PreferOptim = Field(PreferOptim(), description="optimizer and schedule")
    data: PairData = Field(PairData(), description="pairs")
    eval: PreferEvalConfig = Field(PreferEvalConfig(), description="held-out pairs and problems")
    from_rollouts: str = Field("", description="GRPO run folder whose graded rollouts become pairs")
    loss: Literal["dpo", "apo_zero"] = Field("dpo", description="loss by name")
    beta: float = Field(0.5, gt=0, description="strength of the pull to the reference")
    epochs: float = Field(1.0, gt=0, description="passes over the pairs, where steps is 0")
    inspect: int = Field(0, ge=0, description="show this many pairs, token by token, then stop")
