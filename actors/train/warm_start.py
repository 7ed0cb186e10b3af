"""The tiny base model that the demos of GRPO start from, made on Ray Train and cached.

    tokenizer -> pretraining on worked sums -> SFT, 40 % with reasoning and 60 % bare answers -> final/

What comes out has partial skill: worked reasoning is mostly right, a blurted answer mostly wrong,
and it samples both. Reinforcement learning then has something to find out. For two of the environments that come with
the project there is such a base too, made of `srm_ray.environments.demonstrations`.
"""

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from actors.runtime import cluster, compute
from actors.train import run
from srm_ray.config.data import DataConfig
from srm_ray.config.precision import AUTO
from srm_ray.config.stages import OptimConfig
from srm_ray.console.progress import phase
from srm_ray.data import arithmetic, chain_sums
from srm_ray.data.packing import Rows, concatenate, pack, save_rows
from srm_ray.environments import demonstrations
from srm_ray.files import lock
from srm_ray.files.atomic import write_atomically
from srm_ray.files.faults import writing_to
from srm_ray.files.roots import cache_root
from srm_ray.model import precision as precisions
from srm_ray.model import shapes, tokenization
from srm_ray.model.loading import ModelInfo, open_model, require_packing
from srm_ray.training.job import TrainSpec
from srm_ray.training.schedule import Schedule

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

T = TypeVar("T")
Progress = Callable[[str], None]
DONE = "COMPLETE"
OTHER = "another command makes the same base model; waiting for it"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The warm start's numbers. Steps and rows were chosen so that two CPU cores need about five minutes.

    After 1,000 steps of pretraining some seeds, on some processors, had not learned to add yet: worked reasoning was
    right in 60 % of problems and not in 98 %, and GRPO ended there.

    pretrain_steps: 0 for no pretraining. sft_row_length: tokens of SFT's rows; 0: row_length.
    """

    vocab_size: int = 384
    context: int = 512
    row_length: int = 128
    batch_rows: int = 8
    pretrain_steps: int = 1500
    sft_steps: int = 800
    pretrain_lr: float = 2e-3
    sft_lr: float = 1.5e-3
    thinking_share: float = arithmetic.THINKING_SHARE
    version: int = 2
    families: tuple[str, ...] = ("arithmetic",)
    sft_row_length: int = 0


RECIPE = Recipe()
# Twice the skills in not quite twice the steps.
TWO_FAMILIES = Recipe(pretrain_steps=1600, sft_steps=1200, families=("arithmetic", chain_sums.NAME))


# Prompts with a tool's description are long: what is to be copied is learned without them first.
OF_ENVIRONMENTS = {
    demonstrations.CALCULATOR: Recipe(
        vocab_size=512,
        pretrain_steps=500,
        sft_steps=80,
        sft_lr=1e-3,
        sft_row_length=512,
        version=3,
        families=(demonstrations.CALCULATOR,),
    ),
    demonstrations.GUESS: Recipe(
        row_length=256,
        pretrain_steps=450,
        sft_steps=80,
        sft_lr=1e-3,
        version=4,
        families=(demonstrations.GUESS,),
    ),
}


def recipe_for(data: DataConfig, played: Sequence[str] = ()) -> Recipe:
    """What a base model must have seen some of, so that GRPO on `data` finds it with partial skill.

    played: environment and tools of the run.
    """
    if made := next((OF_ENVIRONMENTS[name] for name in played if name in OF_ENVIRONMENTS), None):
        return made
    named = {source.name for source in data.mixture.values()} | {data.name}
    return TWO_FAMILIES if chain_sums.NAME in named else RECIPE


def make_base_model(
    destination: Path,
    *,
    seed: int,
    workers: int = 1,
    progress: Progress = print,
    recipe: Recipe = RECIPE,
    precision: str = AUTO,
) -> Path:
    """Make, or find in the cache, the base model of `seed`; returns its Hugging Face folder.

    `destination` is the cache's folder: the model goes to `<destination>/<fingerprint>/final`,
    complete or not at all. Ray must be initialised. The fingerprint covers recipe, seed and compute dtype:
    that of `precision`, by which the base of a run is the same wherever it goes on.
    """
    chosen = compute_of(precision, workers)
    folder = Path(destination).absolute() / fingerprint(recipe, seed, chosen)
    final = folder / "final"
    if (folder / DONE).is_file():
        progress(f"warm start: using the cached base model {final}")
        return final
    with lock.alone(folder.with_name(f"{folder.name}.lock"), lambda: progress(OTHER)):
        if (folder / DONE).is_file():  # by another command, meanwhile
            return final
        shutil.rmtree(folder, ignore_errors=True)
        work = folder / "work"
        progress(f"warm start: tokenizer, {made_of(recipe)} and a fresh model of the tiny shape, in {chosen}")
        with writing_to(folder):
            with phase("warm start: making the tokenizer, the data and the model"):
                start = fresh_model(work / "start", recipe, seed)
                jobs = [pretrain_job(work, start, recipe, seed)] if recipe.pretrain_steps else []
                jobs.append(sft_job(work, start, final, recipe, seed))
            jobs = [replace(job, optim=job.optim.model_copy(update={"precision": chosen})) for job in jobs]
            run.run(jobs, workers=workers, storage=work / "ray", progress=progress)
        shutil.rmtree(work)
        write_atomically(folder / DONE, "")
    return final


def made_of(recipe: Recipe) -> str:
    played = [family for family in recipe.families if family in demonstrations.MADE]
    return f"demonstrations of {', '.join(played)}" if played else "generated arithmetic"


def open_base(
    model: str,
    data: DataConfig,
    seed: int,
    progress: Progress,
    precision: str,
    *,
    chat_template: str = "",
    played: Sequence[str] = (),
) -> ModelInfo:
    """The model to start from, one whose batches can be packed; with none named, the tiny base model that has seen some
    of `data`, or of what is `played`, made in `precision`."""
    if model:
        info = open_model(model, chat_template)
        require_packing(info, "GRPO packs its batches")
        return info
    cluster.connect()
    cache = cache_root() / "tiny-base"
    recipe = recipe_for(data, played)
    made = make_base_model(cache, seed=seed, progress=progress, recipe=recipe, precision=precision)
    return open_model(str(made))


def compute_of(precision: str, workers: int) -> str:
    """How the base is made for a run of `precision`: FP32 weights and the same products."""
    chosen = precision
    if precision == AUTO:
        chosen = precisions.training(AUTO, compute.hardware(compute.trains_on_gpus(workers)))
    return {"bfloat16": "bf16_autocast"}.get(chosen, chosen)


def fingerprint(recipe: Recipe, seed: int, precision: str) -> str:
    named = asdict(recipe)
    for later in ("families", "sft_row_length"):  # models made before there were any stay what they are
        if named[later] == getattr(RECIPE, later):
            del named[later]
    made = {} if precision == "bf16_autocast" else {"precision": precision}  # as all were once
    plain = json.dumps({"recipe": named, "seed": seed, **made}, sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()[:12]


def fresh_model(folder: Path, recipe: Recipe, seed: int) -> Path:
    """A Hugging Face folder with the trained tokenizer and random weights."""
    from srm_ray.model.folder import save_model

    core = tokenization.train(tokenizer_texts(recipe, seed), recipe.vocab_size)
    tokenization.save(tokenization.wrap(core, context=recipe.context), folder)
    model = shapes.build(shapes.shape("tiny", vocab_size=recipe.vocab_size), seed=seed)
    lineage = {"stage": "init", "parent": None, "seed": seed}
    save_model(model, dict(model.named_parameters()), folder, tokenizer_from=folder, lineage=lineage)
    return folder


def pretrain_job(work: Path, model: Path, recipe: Recipe, seed: int) -> TrainSpec:
    from srm_ray.data.rendering import encode_continuation

    tokenizer = tokenization.load(model)
    wanted = recipe.pretrain_steps * recipe.batch_rows
    if played_of(recipe, seed):
        documents = sequences_of(recipe, seed, tokenizer, drills=True)
    else:
        documents = (encode_continuation(tokenizer, *document) for document in documents_of(recipe, seed))
    rows = rows_of(documents, recipe.row_length, wanted)
    save_rows(rows, work / "pretrain-rows")
    optim = optim_of(recipe, recipe.pretrain_lr, recipe.pretrain_steps, floor=0.3)
    return TrainSpec(
        name="warm start: pretrain",
        model=str(model),
        rows=str(work / "pretrain-rows"),
        destination=str(work / "pretrained"),
        schedule=Schedule.of(optim, recipe.pretrain_steps),
        optim=optim,
        log_every=50,
        seed=seed,
        lineage={"stage": "pretrain", "parent": str(model), "seed": seed, "recipe": asdict(recipe)},
    )


def sft_job(work: Path, start: Path, final: Path, recipe: Recipe, seed: int) -> TrainSpec:
    tokenizer = tokenization.load(start)
    wanted = recipe.sft_steps * recipe.batch_rows
    rows = rows_of(sequences_of(recipe, seed, tokenizer), recipe.sft_row_length or recipe.row_length, wanted)
    save_rows(rows, work / "sft-rows")
    optim = optim_of(recipe, recipe.sft_lr, recipe.sft_steps, floor=0.1)
    parent = str(work / "pretrained" if recipe.pretrain_steps else start)
    return TrainSpec(
        name="warm start: sft",
        model=parent,
        rows=str(work / "sft-rows"),
        destination=str(final),
        schedule=Schedule.of(optim, recipe.sft_steps),
        optim=optim,
        log_every=50,
        seed=seed,
        lineage={"stage": "sft", "parent": parent, "seed": seed, "recipe": asdict(recipe)},
    )


def tokenizer_texts(recipe: Recipe, seed: int) -> Iterator[str]:
    for played in played_of(recipe, seed):
        yield from demonstrations.tokenizer_texts(played)
    yield from arithmetic.tokenizer_texts(seed)
    for chains in chains_of(recipe, seed):
        yield from chains.tokenizer_texts()


def documents_of(recipe: Recipe, seed: int) -> Iterator[tuple[str, str]]:
    """Pretraining documents of the families in turn."""
    return in_turn(arithmetic.documents(seed), *(chains.documents() for chains in chains_of(recipe, seed)))


def conversations_of(recipe: Recipe, seed: int) -> Iterator[arithmetic.Messages]:
    """Supervised examples of the families in turn, other problems than the documents'."""
    share = recipe.thinking_share
    return in_turn(
        arithmetic.conversations(seed, share), *(chains.conversations(share) for chains in chains_of(recipe, seed))
    )


def sequences_of(
    recipe: Recipe, seed: int, tokenizer: "PreTrainedTokenizerFast", *, drills: bool = False
) -> Iterator[Any]:
    """Supervised examples, or the drills before them, as token ids and masks."""
    from srm_ray.data.rendering import encode_continuation, render_conversation, training_sequences

    def encoded(one: demonstrations.Demonstration | demonstrations.Document) -> Any:
        if isinstance(one, tuple):
            return encode_continuation(tokenizer, *one)
        return training_sequences(tokenizer, one.messages, tools=one.tools).sequences[0]

    if made := played_of(recipe, seed):
        return map(encoded, in_turn(*(played.drills() if drills else played.examples() for played in made)))
    return (render_conversation(tokenizer, messages) for messages in conversations_of(recipe, seed))


def played_of(recipe: Recipe, seed: int) -> list[demonstrations.Demonstrations]:
    return [demonstrations.MADE[family](seed) for family in recipe.families if family in demonstrations.MADE]


def chains_of(recipe: Recipe, seed: int) -> list[chain_sums.ChainSums]:
    return [chain_sums.ChainSums(seed)] if chain_sums.NAME in recipe.families else []


def in_turn(*streams: Iterator[T]) -> Iterator[T]:
    """One of each stream, then the next of each."""
    return itertools.chain.from_iterable(zip(*streams, strict=True))


def rows_of(sequences: Any, length: int, wanted: int) -> Rows:
    """Exactly `wanted` rows of `length` tokens from an endless stream of sequences, made in pieces."""
    pieces: list[Rows] = []
    while sum(map(len, pieces)) < wanted:
        pieces.append(pack(itertools.islice(sequences, 4096), length))
    return concatenate(pieces).take(slice(0, wanted))


def optim_of(recipe: Recipe, lr: float, steps: int, *, floor: float) -> OptimConfig:
    """floor: the last learning rate, as a share of `lr`."""
    rows = recipe.batch_rows
    return OptimConfig(lr=lr, floor=floor, warmup_steps=max(1, steps // 20), batch=rows, micro_batch=rows)
