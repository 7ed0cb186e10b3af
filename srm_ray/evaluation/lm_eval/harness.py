"""Suites that lm-evaluation-harness defines: its prompts, filters and metrics, our engines, local files or the hub.

    task definitions of the harness --local rows in place of the hub's--> lm_eval.evaluate (in a thread)
                                                     --EngineLM--> engines --> SuiteResult, samples

Works without a network: IFEval's sentence counts want NLTK's `punkt_tab` model; where it is not installed and cannot be
fetched, an untrained Punkt with a short list of abbreviations stands in, and the settings say so.
"""

import asyncio
import importlib.util
import io
import json
import logging
from contextlib import nullcontext
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.console import hub
from srm_ray.console.progress import echo
from srm_ray.data.reading import rows as rows_of
from srm_ray.errors import RunError, UserError
from srm_ray.evaluation import statistics
from srm_ray.evaluation.progress import suite_progress
from srm_ray.evaluation.results import SuiteResult
from srm_ray.evaluation.suites import Suite, digest, local_file
from srm_ray.files.atomic import write_atomically
from srm_ray.files.roots import cache_root
from srm_ray.inference.completers import ChatCompletion, Sampling, Subject
from srm_ray.intervals import wilson

if TYPE_CHECKING:
    from lm_eval.api.model import LM

VERSION = "0.4.13"
Rows = list[dict[str, Any]]
ABBREVIATIONS = "dr mr mrs ms prof st jr sr vs etc e.g i.e u.s a.m p.m no inc ltd co".split()


def check_installed() -> None:
    """Raises `UserError` with what to install."""
    for module in ("lm_eval", "langdetect", "immutabledict", "nltk"):
        if importlib.util.find_spec(module) is None:
            raise UserError(
                f"bbh, ifeval, mmlu_stem and arc_challenge need lm-evaluation-harness ({module} is missing): "
                f"pip install 'srm-ray[eval]'"
            )


@dataclass(frozen=True, slots=True)
class Options:
    """bbh: form of BIG-Bench-Hard. limit: problems of each task, 0: all. See `EvaluateConfig` for the rest."""

    sampling: Sampling
    seed: int
    limit: int
    bbh: str
    think_end: str
    system: str
    chat_template: bool
    in_flight: int


async def run(suite: Suite, path: str, subject: Subject, folder: Path, position: str, options: Options) -> SuiteResult:
    """One suite; `folder` is that of the samples. The harness runs in a thread of its own."""
    check_installed()
    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(_run, suite, path, subject, folder, position, options, loop)


def _run(
    suite: Suite,
    path: str,
    subject: Subject,
    folder: Path,
    position: str,
    options: Options,
    loop: asyncio.AbstractEventLoop,
) -> SuiteResult:
    splitter = provide_sentence_splitter() if suite.name == "ifeval" else ""
    from srm_ray.evaluation.lm_eval.harness_lm import Answered, EngineLM

    tasks = load(suite, path, options)
    if subject.reader is None and any(task.OUTPUT_TYPE != "generate_until" for task in tasks.values()):
        raise UserError(f"suite {suite.name} needs log-likelihoods, which an endpoint does not give")
    total = requests(tasks, options.limit)
    answered = Answered(folder.parent / "requests" / f"{suite.name}.jsonl")
    with suite_progress(suite.name, position, total, 0, what="") as progress:
        lm = EngineLM(
            subject,
            loop,
            answered,
            progress.add,
            seed=options.seed,
            think_end=options.think_end,
            in_flight=options.in_flight,
        )
        samples = run_tasks(lm, tasks, options)
    if lm.cut_prompts:
        echo(
            f"  {suite.name}: {lm.cut_prompts} of {total} prompts are longer than the context and were cut on the left"
        )
    return conclude(suite, samples, lm, folder, settings(suite, path, tasks, options, splitter), options)


def run_tasks(lm: "LM", tasks: dict[str, Any], options: Options) -> dict[str, Rows]:
    """The harness's own record of every problem by task: what `lm` answered, what the filters made of it, its metrics.

    lm: any of the harness's models. Raises `RunError` where the harness has no results.
    """
    from lm_eval.evaluator import evaluate

    done = evaluate(
        lm,
        {"tasks": tasks, "groups": {}, "group_map": {}},
        limit=options.limit or None,
        bootstrap_iters=0,
        system_instruction=options.system or None,
        apply_chat_template=options.chat_template,
        fewshot_as_multiturn=options.chat_template,
    )
    if done is None or set(done["samples"]) != set(tasks):
        raise RunError("lm-evaluation-harness returned no results for some of its tasks")
    return done["samples"]


def requests(tasks: dict[str, Any], limit: int) -> int:
    """How many requests the tasks will make: one a problem, or one a choice."""
    total = 0
    for task in tasks.values():
        docs = list(task.eval_docs)[: limit or None]
        several = task.OUTPUT_TYPE == "multiple_choice"
        total += sum(len(task.doc_to_choice(doc)) if several else 1 for doc in docs)
    return total


def settings(suite: Suite, path: str, tasks: dict[str, Any], options: Options, splitter: str) -> dict[str, Any]:
    documents = [dict(doc) for task in tasks.values() for doc in list(task.eval_docs)[: options.limit or None]]
    found: dict[str, Any] = {
        "problems": len(documents),
        "problems_digest": digest(documents),
        "harness": VERSION,
        "tasks_digest": digest([[name, task.config.metadata["version"]] for name, task in sorted(tasks.items())]),
        "seed": options.seed,
        "system": options.system,
        "chat_template": options.chat_template,
    }
    if any(task.OUTPUT_TYPE == "generate_until" for task in tasks.values()):
        sampling = options.sampling
        found |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "think_end": options.think_end}
        found |= {"max_new_tokens": sampling.max_new_tokens}
    return (
        found
        | ({"sentence_splitter": splitter} if splitter else {})
        | ({"bbh": options.bbh} if suite.name == "bbh" else {})
    )


# Tasks


def load(suite: Suite, path: str, options: Options) -> dict[str, Any]:
    """The harness's tasks of a suite, with local rows where `path` is given, set to sample as asked."""
    for chatty in ("lm_eval", "transformers"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    if suite.name == "ifeval":
        provide_sentence_splitter()  # which the task's own code would ask the network for
    import lm_eval
    from lm_eval.tasks import TaskManager

    definitions = Path(lm_eval.__file__).parent / "tasks"
    manager = TaskManager(
        include_defaults=False, include_path=[definitions / part for part in ("bbh", "ifeval", "arc", "mmlu/default")]
    )
    names = leaf_names(suite, manager, options.bbh, path)
    members = [{"task": name, **local(suite, name, path, options.bbh)} if path else name for name in names]
    try:
        with nullcontext() if path else hub.asking(suite.name):
            tasks = manager.load([{"group": f"local_{suite.name}", "task": members}])["tasks"]
    except UserError:
        raise
    except Exception as error:  # the hub's client, when there is no network, raises many kinds
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"suite {suite.name} cannot be loaded: {reason}; give local files with --data.path") from None
    sampling = options.sampling
    generation: dict[str, Any] = {"max_gen_toks": sampling.max_new_tokens, "temperature": sampling.temperature}
    generation |= {"do_sample": sampling.temperature > 0}
    generation |= {"top_p": sampling.top_p} if sampling.temperature > 0 and sampling.top_p < 1 else {}
    for task in tasks.values():
        if task.get_config("output_type") == "generate_until":
            task.set_config(key="generation_kwargs", value=generation, update=True)
        if task.get_config("num_fewshot") is None:
            task.set_config(key="num_fewshot", value=0)
        task.set_fewshot_seed(seed=options.seed)
    return tasks


def leaf_names(suite: Suite, manager: Any, bbh: str, path: str) -> list[str]:
    """Tasks that a suite is made of. Of MMLU-STEM, local files decide: the harness counts anatomy to it, the original
    eighteen subjects do not. Raises `UserError` for a subject that the harness does not know."""
    if suite.name == "bbh":
        prefix = f"bbh_{bbh}_"
        return sorted(name for name in manager.all_subtasks if name.startswith(prefix))
    if suite.name == "mmlu_stem":
        known = sorted(manager._index["mmlu_stem_tasks"].tags)
        if not path:
            return known
        found = {f"mmlu_{row.get('type')}" for _, row in rows_of(local_file(suite, path))}
        if unknown := sorted(found - set(known)):
            raise UserError(f"suite mmlu_stem: {unknown[0].removeprefix('mmlu_')!r} is no subject of the harness's")
        return sorted(found)
    return [suite.name]


def local(suite: Suite, name: str, path: str, bbh: str) -> dict[str, Any]:
    """What a task's definition is overridden with to read local rows."""
    rows = local_rows(suite, name, Path(path) / suite.name, bbh)
    split = "train" if suite.name == "ifeval" else "test"
    without = (
        {} if suite.name == "ifeval" else {"training_split": None, "validation_split": None, "fewshot_split": None}
    )

    def dataset(**_: Any) -> Any:
        import datasets

        return {split: datasets.Dataset.from_list(rows)}

    return {"custom_dataset": dataset, **without}


def local_rows(suite: Suite, name: str, folder: Path, bbh: str) -> Rows:
    """Rows in the hub's form. Raises `UserError` where there are none."""
    if suite.name == "bbh":
        file = folder / f"{name.removeprefix(f'bbh_{bbh}_')}.json"
        rows = _read_json(file).get("examples", [])
    else:
        file = local_file(suite, str(folder.parent))
        rows = [row for _, row in rows_of(file)]
        if suite.name == "mmlu_stem":
            rows = [row for row in rows if row.get("type") == name.removeprefix("mmlu_")]
    if not rows:
        raise UserError(f"suite {suite.name}: {file} has no rows for {name}")
    return rows


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise UserError(f"suite bbh: {file} does not exist")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{file}: not JSON: {error.msg}") from None


def provide_sentence_splitter() -> str:
    """NLTK's trained Punkt where it is there or can be fetched, else an untrained one; which of them it is."""
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab")
        trained = "stands in" not in _note(Path(nltk.data.find("tokenizers/punkt_tab/english")))
    except LookupError:
        own = cache_root() / "nltk_data"
        folder = own / "tokenizers" / "punkt_tab" / "english"
        trained = bool(nltk.download("punkt_tab", quiet=True, print_error_to=io.StringIO()))
        if not trained:
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("collocations.tab", "sent_starters.txt", "ortho_context.tab"):
                write_atomically(folder / name, "", shared=True)
            write_atomically(folder / "abbrev_types.txt", "".join(f"{word}\n" for word in ABBREVIATIONS), shared=True)
            write_atomically(folder / "NOTE", "stands in for NLTK's punkt_tab where there is no network\n", shared=True)
            nltk.data.path.append(str(own))
    return "punkt_tab" if trained else "punkt, untrained"


def _note(folder: Path) -> str:
    return (folder / "NOTE").read_text() if (folder / "NOTE").is_file() else ""


# Results


def conclude(
    suite: Suite, samples: dict[str, Rows], lm: Any, folder: Path, found: dict[str, Any], options: Options
) -> SuiteResult:
    """Every problem's headline value, the other metrics, rates of the completions, and the samples' file."""
    metric, _, wanted = suite.metric.partition(",")
    examples = [example for task in sorted(samples) for example in by_doc(samples[task], wanted)]
    values = [float(example[metric]) for example in examples]
    more = {}
    for name in names_of(samples):
        each = [value for task in sorted(samples) for value in values_of(samples[task], *name)]
        if ",".join(name) != suite.metric:
            more[",".join(name)] = statistics.mean_share(each, seed=options.seed)
    completions = [
        lm.answers[example["arguments"][0][0]] for example in examples if example["arguments"][0][0] in lm.answers
    ]
    write_samples(folder / f"{suite.name}.jsonl", examples, values, lm.answers, by_length=metric == "acc_norm")
    ended = [not one.truncated and (not options.think_end or options.think_end in one.text) for one in completions]
    return SuiteResult(
        suite.name,
        suite.metric,
        statistics.mean_share(values, seed=options.seed),
        values,
        found,
        more,
        finished=wilson(sum(ended), len(completions)) if completions else None,
        truncated=wilson(sum(one.truncated for one in completions), len(completions)) if completions else None,
        tokens_mean=sum(one.tokens for one in completions) / len(completions) if completions else None,
    )


def names_of(samples: dict[str, Rows]) -> list[tuple[str, str]]:
    """(metric, filter) of every numeric metric, each once, in order."""
    found = {
        (metric, example["filter"]): None
        for examples in samples.values()
        for example in examples
        for metric in example["metrics"]
        if isinstance(example[metric], bool | int | float | list)
    }
    return list(found)


def values_of(examples: Rows, metric: str, wanted: str) -> list[float]:
    """One value a problem, or, of metrics over several instructions a problem, one an instruction."""
    found: list[float] = []
    for example in by_doc(examples, wanted):
        value = example.get(metric)
        if value is not None:
            found += [float(one) for one in value] if isinstance(value, list) else [float(value)]
    return found


def by_doc(examples: Rows, wanted: str) -> Rows:
    return sorted((one for one in examples if one["filter"] == wanted), key=itemgetter("doc_id"))


def write_samples(
    path: Path, examples: Rows, values: list[float], completions: dict[str, ChatCompletion], *, by_length: bool = False
) -> None:
    """In the form of `srm_ray.evaluation.samples`. by_length: see `choices_text`."""
    lines = []
    for index, (example, value) in enumerate(zip(examples, values, strict=True)):
        context = example["arguments"][0][0]
        one = completions.get(context)
        lines.append(
            {
                "prompt_index": index,
                "draw": 0,
                "sample": 0,
                "prompt": context,
                "completion": one.text if one else choices_text(example, by_length=by_length),
                "gold": str(example["target"]),
                "reward": value,
                "correct": value == 1,
                "reason": "correct" if value == 1 else "wrong",
                "parts": {},
                "advantage": 0.0,
                "kept": True,
                "finish_reason": "length" if one and one.truncated else "stop",
                "seed": one.seed if one else 0,
                "versions": [],
                "tokens": one.tokens if one else 0,
            }
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines))


def choices_text(example: dict[str, Any], *, by_length: bool = False) -> str:
    """Each choice with its log-likelihood, the chosen one marked. by_length: a character's, as `acc_norm` compares."""
    choices = [arguments[1].strip() for arguments in example["arguments"]]
    scores = [float(resp[0][0]) for resp in example["resps"]]
    if by_length:
        scores = [score / max(1, len(choice)) for score, choice in zip(scores, choices, strict=True)]
    best = scores.index(max(scores))
    return "\n".join(
        f"{'>' if number == best else ' '} {score:9.3f} {choice}"
        for number, (score, choice) in enumerate(zip(scores, choices, strict=True))
    )
