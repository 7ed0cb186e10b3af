"""A trained model to what others can use: a plain Hugging Face folder, GGUF files, a model card.

folder or adapter -> final/ (merged) -> gguf/<name>-<FORMAT>.gguf -> measured -> README.md, summary.json

Ends with a table of size, perplexity, task accuracy and speed of every format, and with the command that serves it.
"""

import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from srm_ray.config.command_line import parse
from srm_ray.config.export import ExportConfig
from srm_ray.console import interrupts, output
from srm_ray.console.command import command
from srm_ray.console.progress import duration, echo, phase
from srm_ray.errors import UserError
from srm_ray.files.atomic import discard, flush_tree, write_atomically
from srm_ray.files.roots import runs_root
from srm_ray.runs.folder import RunFolder

if TYPE_CHECKING:
    from srm_ray.evaluation.quantised import Questions
    from srm_ray.inference.engine import Engine
    from srm_ray.model.loading import ModelInfo
    from srm_ray.report.evaluation_files import EvaluationInfo
    from srm_ray.report.quantisation_table import Row


@command
def main(argv: list[str] | None = None) -> int:
    config = parse(ExportConfig, sys.argv[1:] if argv is None else argv, stage="export", about=__doc__)
    if not config.model:
        raise UserError("--model is needed: a Hugging Face folder or an adapter's folder, e.g. runs/grpo/final")
    if Path(config.model).suffix == ".gguf":
        raise UserError(f"--model {config.model}: a Hugging Face folder is exported; a .gguf file is what comes out")
    from srm_ray.config.formats import FORMATS
    from srm_ray.gguf.quantiser import require_llama_cpp
    from srm_ray.model.loading import open_model

    for name in config.format:
        if FORMATS[name].by_llama_cpp:
            require_llama_cpp(f"--format {name}")
    info = open_model(config.model, config.chat_template)
    if config.format:
        check_exported(config.model, info)
    folder = RunFolder(config.run_dir, stage="export")
    if config.resume != "never":
        config = folder.check_config(config)
        if is_complete(config, folder):
            echo(f"{folder.path} is complete; --resume never starts it over")
            return 0
    return export(settled(config, info), info, folder)


def settled(config: ExportConfig, info: "ModelInfo") -> ExportConfig:
    """With the dtype in which the Hugging Face folder is measured, reported in one line."""
    from srm_ray.model import precision

    measure = config.measure
    if not measure.enabled:
        return config
    dtype = precision.here(measure.dtype, precision.parameters_of(info.path), echo)
    echo(f"compute: the Hugging Face folder is measured in {dtype}")
    return config.model_copy(update={"measure": measure.model_copy(update={"dtype": dtype})})


def check_exported(model: str, info: "ModelInfo") -> None:
    """Raise `UserError`, before anything is written, where a model or its tokenizer has no place in a GGUF file; say
    what llama.cpp is known to read otherwise in it."""
    from srm_ray.gguf import pre_tokenizers
    from srm_ray.gguf.architecture import architecture_of
    from srm_ray.gguf.vocabulary import vocabulary_of
    from srm_ray.model.folder import read_json

    if info.stateful:
        raise UserError(
            f"--model {model}: {info.stateful}, and are not exported to GGUF; --format none writes the Hugging Face "
            "folder and its card alone"
        )
    try:
        architecture = architecture_of(read_json(info.path, "config.json"))
        vocabulary = vocabulary_of(info.tokenizer, architecture.vocabulary)
    except UserError as error:
        reason = str(error).removeprefix("the model: ")
        raise UserError(
            f"--model {model}: {reason}; --format none writes the Hugging Face folder and its card alone"
        ) from None
    if vocabulary.pre in pre_tokenizers.DIFFERENCES:
        echo(pre_tokenizers.DIFFERENCES[vocabulary.pre])


def is_complete(config: ExportConfig, folder: RunFolder) -> bool:
    """Whether this export was made already. Raises `UserError` where another was."""
    known = folder.read_summary()
    if known and known["fingerprint"] != fingerprint(config.model):
        raise UserError(
            f"{folder.path} holds an export of other weights than {config.model} has now: "
            "give another --run_dir, or --resume never"
        )
    return known is not None and all((folder.path / row["file"]).exists() for row in known["formats"])


def fingerprint(model: str) -> str:
    from srm_ray.model.folder import weights_fingerprint

    return weights_fingerprint(model) if Path(model).is_dir() else ""


def export(config: ExportConfig, info: "ModelInfo", folder: RunFolder) -> int:
    """Everything is made in a work folder, and moved when it is whole."""
    from srm_ray.evaluation.quantised import make_questions
    from srm_ray.inference.serving import model_name, serving_notes
    from srm_ray.report.model_card import CardInfo, trace, write_card
    from srm_ray.report.quantisation_table import as_text

    began = time.time()
    folder.create()
    output.log_to(folder.logs)
    name = config.name or model_name(config.model)
    work = folder.path / ".partial"
    shutil.rmtree(work, ignore_errors=True)
    # What can be wrong with the files given is found before the long work.
    evaluation = find_results(config, folder)
    questions = make_questions(config.measure, info.tokenizer, info.context) if config.measure.enabled else None
    try:
        parameters, rows = write_files(config, info, name, work)
        notes = ["not measured: measure.enabled is false"]
        if questions:
            rows, notes = measured(config, info, work, rows, questions)
        card = CardInfo(
            name=name,
            parameters=parameters,
            architecture=architecture_name(info),
            context=info.context,
            vocabulary=info.vocabulary,
            chain=trace(config.model),
            rows=rows,
            price_per_hour=config.price_per_hour,
            notes=notes,
            serving=serving_notes(str(work / "final"), name=name, portable=True),
            evaluation=evaluation,
        )
        write_atomically(work / "final" / "README.md", write_card(card))
        put_in_place(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    folder.save_config(config)
    folder.write_summary(
        {
            "steps": 1,
            "wall_seconds": time.time() - began,
            "name": name,
            "parameters": parameters,
            "fingerprint": fingerprint(config.model),
            "price_per_hour": config.price_per_hour,
            "formats": [row.to_plain(config.price_per_hour) for row in rows],
            "notes": notes,
        }
    )
    echo(as_text(rows, config.price_per_hour))
    for note in notes:
        echo(f"  {note}")
    echo(f"\nserve it:\n{serving_notes(str(folder.final), name=name)}\n")
    echo(
        f"exported in {duration(time.time() - began)}; model and card {folder.final}, GGUF files {folder.path / 'gguf'}"
    )
    return 0


def architecture_name(info: "ModelInfo") -> str:
    from srm_ray.model.folder import read_json

    return str(read_json(info.path, "config.json").get("model_type", "")).removesuffix("_text")


def write_files(config: ExportConfig, info: "ModelInfo", name: str, work: Path) -> "tuple[int, list[Row]]":
    """`work/final` and `work/gguf`: how many parameters there are, and a row for each."""
    from srm_ray.config.base import to_plain
    from srm_ray.config.formats import FORMATS
    from srm_ray.gguf.writer import write_gguf
    from srm_ray.model.folder import write_lineage
    from srm_ray.model.plain_weights import write_plain
    from srm_ray.model.precision import parameters_of
    from srm_ray.report.quantisation_table import Row

    with phase("writing the Hugging Face folder"):
        final = write_plain(config.model, work / "final", chat_template=info.chat_template)
    lineage = {"stage": "export", "parent": config.model, "config": to_plain(config)}
    write_lineage(final, {**lineage, "data": {"weights": fingerprint(config.model)}})
    parameters = parameters_of(str(final))
    size = sum(path.stat().st_size for path in final.glob("*.safetensors"))
    rows = [Row("Hugging Face", "final", size, parameters)]
    for form in (FORMATS[chosen] for chosen in config.format):
        began = time.time()
        target = work / "gguf" / f"{name}-{form.label}.gguf"
        with phase(f"writing {target.name}", kind="talking"):
            path = interrupts.in_thread(partial(write_gguf, final, target, form, name=name))
        rows.append(Row(form.label, f"gguf/{path.name}", path.stat().st_size, parameters))
        echo(f"{path.name}: {path.stat().st_size / 1e6:,.1f} MB in {duration(time.time() - began)}")
    return parameters, rows


def measured(
    config: ExportConfig, info: "ModelInfo", work: Path, rows: "list[Row]", questions: "Questions"
) -> "tuple[list[Row], list[str]]":
    """The rows with what was measured, and notes that say on what. Without llama.cpp, of a GGUF file its size alone."""
    from dataclasses import replace

    from srm_ray.evaluation import quantised
    from srm_ray.gguf.quantiser import INSTALL, has_llama_cpp
    from srm_ray.inference.local import LocalModel

    context = quantised.context_for(questions, config.measure, info.context)
    notes = [f"perplexity on {questions.about_text}"]
    notes += [f"accuracy on {questions.about_task}, with its 95 % interval"] if questions.problems else []
    notes.append(f"the Hugging Face folder is measured in {config.measure.dtype}")
    notes.append(f"tokens/s of one sequence on {machine(config.measure.threads)}")
    if len(rows) > 1 and not has_llama_cpp():
        notes.append(f"GGUF files were NOT measured: llama.cpp is not installed: {INSTALL}")
    found = []
    for row in rows:
        if row.file != "final" and not has_llama_cpp():
            found.append(row)
            continue
        with phase(f"perplexity of {row.label}", total=len(questions.documents)) as counted:
            engine = open_for_measuring(work / row.file, config, context)
            model = LocalModel(engine)
            perplexity = interrupts.run(quantised.perplexity(model, questions.documents, counted.advance))
        with phase(f"speed of {row.label}, tokens", total=quantised.REPEATS * config.measure.speed_tokens) as counted:
            rate = quantised.speed(engine, questions, config.measure, seed=config.seed, done=counted.advance)
        by = "transformers" if row.file == "final" else "llama.cpp"
        found.append(replace(row, engine=by, perplexity=perplexity, tokens_per_second=rate))
    if questions.problems:
        found = interrupts.run(with_accuracy(config, work, found, questions, context))
    return found, notes


async def with_accuracy(
    config: ExportConfig, work: Path, rows: "list[Row]", questions: "Questions", context: int
) -> "list[Row]":
    """Of the rows that were measured, graded on a reward worker; after the speeds, since a cluster takes its part."""
    from dataclasses import replace

    from actors.reward.grading import Grading, started
    from actors.runtime import cluster
    from srm_ray.config.evaluate import GradingConfig
    from srm_ray.evaluation import quantised

    found = []
    with cluster.session():
        async with started(Grading(GradingConfig())) as pool:
            for row in rows:
                if row.perplexity is None:
                    found.append(row)
                    continue
                with phase(f"accuracy of {row.label}", total=len(questions.problems)) as counted:
                    engine = open_for_measuring(work / row.file, config, context)
                    share = await quantised.accuracy(engine, pool, questions, config.measure, counted.advance)
                found.append(replace(row, accuracy=share))
    return found


def open_for_measuring(path: Path, config: ExportConfig, context: int) -> "Engine":
    """A GGUF file with the logits of every position, or the Hugging Face folder."""
    from srm_ray.inference.engine import open_engine

    if path.suffix != ".gguf":
        return open_engine(str(path), threads=config.measure.threads, dtype=config.measure.dtype)
    from srm_ray.inference.llama_cpp_engine import LlamaCppEngine

    return LlamaCppEngine(path, threads=config.measure.threads, context=context, every_logit=True)


def machine(threads: int) -> str:
    """Processor and threads, as they are written beside a measurement."""
    import os
    import re

    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.M)
    cores = threads or len(os.sched_getaffinity(0))
    return f"{model[1].strip() if model else 'this machine'}, {cores} thread{'s' if cores > 1 else ''}"


def find_results(config: ExportConfig, folder: RunFolder) -> "EvaluationInfo | None":
    """Those named, else those of these weights among the runs nearby."""
    from srm_ray.report.evaluation_files import find_evaluation, read_evaluation

    if config.evaluation:
        return read_evaluation(Path(config.evaluation))
    model = Path(config.model)
    roots = [runs_root(), folder.path.absolute().parent, model.absolute().parent.parent]
    found = find_evaluation(roots, model=model, fingerprint=fingerprint(config.model))
    if found is None:
        return None
    echo(f"the card shows the evaluation in {found}")
    return read_evaluation(found)


def put_in_place(work: Path, folder: RunFolder) -> None:
    """Each of `final` and `gguf` appears whole; the summary, written after, says that all of it is there."""
    flush_tree(work)
    folder.summary.unlink(missing_ok=True)
    for part in ("gguf", "final"):
        target = folder.path / part
        discard(target)
        if (work / part).exists():
            (work / part).replace(target)


if __name__ == "__main__":
    sys.exit(main())
