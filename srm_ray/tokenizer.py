"""Train a byte-level BPE tokenizer, verify it, and save it with the chat template.

    text -> train -> verify (ids, round trip, single digits) -> <run_dir>/final

A tokenizer that fails its verification is not saved, and the command ends with status 1.
"""

import itertools
import sys
from collections.abc import Iterator

from srm_ray.config.command_line import parse
from srm_ray.config.stages import TextData, TokenizerConfig
from srm_ray.console.command import command
from srm_ray.errors import RunError, UserError


@command
def main(argv: list[str] | None = None) -> int:
    config = parse(TokenizerConfig, sys.argv[1:] if argv is None else argv, stage="tokenizer", about=__doc__)
    import time

    from srm_ray.console import interrupts, output
    from srm_ray.console.progress import duration, echo, phase
    from srm_ray.model import tokenization
    from srm_ray.runs.folder import RunFolder

    began = time.time()
    folder = RunFolder(config.run_dir, stage="tokenizer")
    folder.create()
    if config.resume == "never":
        folder.clear()
    folder.check_config(config)
    if folder.read_summary():
        echo(f"{folder.path} is complete; --resume never starts it over")
        return 0
    texts = read_texts(config.data)
    first = next(texts, None)
    if first is None:
        raise UserError(f"--data.path {config.data.path}: no text in it")
    counted = Counted(itertools.chain([first], texts), config.data.limit_mb * 1_000_000)
    with phase(f"learning {config.vocab_size} entries", status=counted.so_far):
        core = interrupts.in_thread(lambda: tokenization.train(counted, config.vocab_size))
    echo(f"{core.get_vocab_size()} entries after {duration(time.time() - began)}; verifying")
    samples = {"the training text": counted.sample, **tokenization.english_and_code()}
    compression = {name: tokenization.characters_per_token(core, text) for name, text in samples.items()}
    problems = tokenization.verify(core)
    problems += [
        f"{value:.2f} characters a token on {name}, at least {config.least_compression:g} are asked for"
        for name, value in compression.items()
        if value < config.least_compression
    ]
    if problems:
        raise RunError(f"the tokenizer failed its verification and is not saved: {'; '.join(problems[:5])}")
    output.log_to(folder.logs)
    folder.save_config(config)
    save(config, core, folder.final, counted)
    folder.write_summary(
        {
            "steps": 1,
            "wall_seconds": time.time() - began,
            "vocab_size": core.get_vocab_size(),
            "characters_per_token": compression,
            "documents": counted.documents,
            "characters": counted.characters,
        }
    )
    echo(
        f"{core.get_vocab_size()} entries from {counted.characters / 1e6:.1f} MB in {duration(time.time() - began)}, "
        f"characters a token: {', '.join(f'{value:.2f} on {name}' for name, value in compression.items())}; "
        f"verified; {folder.final}"
    )
    return 0


def save(config: TokenizerConfig, core: object, final: object, counted: "Counted") -> None:
    from pathlib import Path

    from srm_ray.config.base import to_plain
    from srm_ray.files.atomic import replacing
    from srm_ray.model import tokenization
    from srm_ray.model.folder import write_lineage

    destination = Path(str(final))
    data = {"fingerprint": counted.fingerprint(), "characters": counted.characters}
    with replacing(destination) as partial:
        tokenization.save(tokenization.wrap(core, context=config.context), partial)
        write_lineage(partial, {"stage": "tokenizer", "parent": "", "config": to_plain(config), "data": data})


class Counted:
    """Passes texts on until `limit` characters, counting, hashing, and keeping a sample."""

    def __init__(self, texts: Iterator[str], limit: int) -> None:
        import hashlib

        self._texts, self._limit, self._digest = texts, limit, hashlib.sha256()
        self.documents, self.characters, self.sample, self._whole = 0, 0, "", False

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            if self.characters >= self._limit:
                return
            self.documents += 1
            self.characters += len(text)
            self._digest.update(text.encode("utf-8", "surrogatepass"))
            if len(self.sample) < 200_000:
                self.sample += text
            yield text
        self._whole = True

    def so_far(self) -> str:
        read = f"{self.characters / 1e6:.0f} of at most {self._limit / 1e6:.0f} MB of text read"
        return "merging" if self._whole or self.characters >= self._limit else read

    def fingerprint(self) -> str:
        return self._digest.hexdigest()[:16]


def read_texts(data: TextData) -> Iterator[str]:
    """Texts of files or a `datasets` name. Raises `UserError` naming file and line."""
    from srm_ray.data.texts import hub_texts, path_texts

    if not (data.path or data.name):
        raise UserError("no data: give --data.path or --data.name")
    if data.path:
        yield from path_texts(data.path, data.column)
    if data.name:
        yield from (text for _, text in hub_texts(data.name, data.subset, data.split, data.column))


if __name__ == "__main__":
    sys.exit(main())
