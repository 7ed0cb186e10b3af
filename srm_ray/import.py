"""A GGUF file to the Hugging Face folder that every stage takes.

file.gguf -> architecture, tokenizer, weights de-quantised -> <run_dir>/final, with lineage.json

Architectures and types: docs/export.md. A file that is broken, cut short or of another kind is refused in one line.
"""

import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srm_ray.config.command_line import parse
from srm_ray.config.importing import ImportConfig
from srm_ray.console import interrupts
from srm_ray.console.command import command
from srm_ray.console.progress import duration, echo, phase
from srm_ray.errors import UserError
from srm_ray.files.atomic import replacing
from srm_ray.runs.folder import RunFolder

if TYPE_CHECKING:
    from srm_ray.gguf.reader import GgufModel


@command
def main(argv: list[str] | None = None) -> int:
    config = parse(ImportConfig, sys.argv[1:] if argv is None else argv, stage="import", about=__doc__)
    if not config.file:
        raise UserError("--file is needed: a GGUF file, e.g. model-Q4_K_M.gguf")
    from srm_ray.gguf.reader import checksum, open_model_file

    began = time.time()
    found = open_model_file(Path(config.file))
    with phase("reading its checksum"):
        source = {"file": found.path.name, "sha256": checksum(found.path), "bytes": found.path.stat().st_size}
    folder = RunFolder(config.run_dir, stage="import")
    if config.resume != "never":
        folder.check_config(config)
        if is_complete(folder, source["sha256"]):
            echo(f"{folder.path} is complete; --resume never starts it over")
            return 0
    data = {**source, "types": found.types, **found.origin}
    try:
        interrupts.in_thread(partial(write, config, found, folder, data))
    except BaseException:
        folder.remove_empty()
        raise
    echo_found(found)
    parameters = found.model.parameters - sum(len(tensor.values) for tensor in found.model.tensors())
    folder.save_config(config)
    folder.write_summary(
        {"steps": 1, "wall_seconds": time.time() - began, "parameters": parameters, "sha256": source["sha256"]}
    )
    echo(f"{parameters:,} parameters in {config.dtype} in {duration(time.time() - began)}; {folder.final}")
    return 0


def is_complete(folder: RunFolder, sha256: Any) -> bool:
    """Whether this file was imported here already. Raises `UserError` where another was."""
    known = folder.read_summary()
    if known and known.get("sha256") != sha256:
        raise UserError(f"{folder.path} holds the import of another file: give another --run_dir, or --resume never")
    return known is not None and folder.final.is_dir()


def write(config: ImportConfig, found: "GgufModel", folder: RunFolder, data: dict[str, Any]) -> None:
    """`final`, whole or not at all."""
    from srm_ray.config.base import to_plain
    from srm_ray.gguf.reader import write_folder
    from srm_ray.model import tokenization
    from srm_ray.model.chat_template import with_template
    from srm_ray.model.folder import write_lineage
    from srm_ray.model.loading import open_model

    folder.create()
    folder.summary.unlink(missing_ok=True)
    total = sum(tensor.elements for tensor in found.model.tensors() if tensor.source)
    with phase("de-quantising", total=total) as counted, replacing(folder.final) as partial_folder:
        write_folder(found, partial_folder, config.dtype, done=counted.advance)
        if config.chat_template:
            tokenizer = tokenization.load(partial_folder)
            echo(with_template(tokenizer, config.chat_template))
            tokenization.save(tokenizer, partial_folder)
        open_model(str(partial_folder))
        lineage = {"stage": "import", "parent": "", "config": to_plain(config), "data": data}
        write_lineage(partial_folder, lineage)


def echo_found(found: "GgufModel") -> None:
    model, vocabulary = found.model, found.vocabulary
    types = ", ".join(f"{count} {name}" for name, count in found.types.items())
    ends = ", ".join(vocabulary.tokens[index] for index in vocabulary.ends)
    kind = "SentencePiece BPE" if vocabulary.scores else f"byte-level BPE, {vocabulary.pre}"
    echo(f"{found.path.name}: {model.name}, {model.layers} layers of {model.d_model}; tensors: {types}")
    echo(f"tokenizer: {len(vocabulary.tokens):,} tokens, {kind}; completions end at {ends or 'no token that it names'}")
    if not vocabulary.template:
        echo("it has no chat template: give commands --chat_template chatml, or a file")


if __name__ == "__main__":
    sys.exit(main())
