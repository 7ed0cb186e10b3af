"""Train a byte-level BPE tokenizer, verify it, and save it with the chat template.

    text -> train -> verify (ids, round trip, single digits) -> <run_dir>/final

A tokenizer that fails its verification is not saved, and the command ends with status 1.
"""

import sys
from collections.abc import Iterator

from srm_ray.config.command_line import parse
from srm_ray.config.stages import TextData, TokenizerConfig
from srm_ray.errors import RunError, UserError, command


@command
def main(argv: list[str] | None = None) -> int:
    config = parse(TokenizerConfig, sys.argv[1:] if argv is None else argv, stage="tokenizer", about=__doc__)
    import time

    from srm_ray.model import tokenization
    from srm_ray.runs.folder import RunFolder
    from srm_ray.runs.progress import duration, say

    began = time.time()
    folder = RunFolder(config.run_dir, stage="tokenizer")
    counted = Counted(read_texts(config.data), config.data.limit_mb * 1_000_000)
    core = tokenization.train(counted, config.vocab_size, progress=True)
    if counted.documents == 0:
        raise UserError(f"--data.path {config.data.path}: no text in it")
    compression = tokenization.characters_per_token(core, counted.sample)
    problems = tokenization.verify(core)
    if compression < config.characters_per_token:
        problems.append(f"{compression:.2f} characters a token, at least {config.characters_per_token:g} are asked for")
    if problems:
        raise RunError(f"the tokenizer failed its verification and is not saved: {'; '.join(problems[:5])}")
    folder.create()
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
    say(
        f"{core.get_vocab_size()} entries from {counted.characters / 1e6:.1f} MB in {duration(time.time() - began)}, "
        f"{compression:.2f} characters a token; verified; {folder.final}"
    )
    return 0


def save(config: TokenizerConfig, core: object, final: object, counted: "Counted") -> None:
    from pathlib import Path

    from srm_ray.config.base import to_plain
    from srm_ray.model import tokenization
    from srm_ray.model.folder import write_lineage

    destination = Path(str(final))
    tokenization.save(tokenization.wrap(core, context=config.context), destination)
    data = {"fingerprint": counted.fingerprint(), "characters": counted.characters}
    write_lineage(destination, {"stage": "tokenizer", "parent": "", "config": to_plain(config), "data": data})


class Counted:
    """Passes texts on until `limit` characters, counting, hashing and keeping a sample."""

    def __init__(self, texts: Iterator[str], limit: int) -> None:
        import hashlib

        self._texts, self._limit, self._digest = texts, limit, hashlib.sha256()
        self.documents, self.characters, self.sample = 0, 0, ""

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
        yield from hub_texts(data.name, data.subset, data.split, data.column)


if __name__ == "__main__":
    sys.exit(main())
