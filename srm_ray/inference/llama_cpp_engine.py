"""A GGUF file through llama.cpp (`llama-cpp-python`, the `llamacpp` extra).

Prompts are made and answers decoded by the Hugging Face tokenizer that the file's vocabulary gives, the
same as in training; llama.cpp sees token ids.
"""

import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from srm_ray.console.progress import echo
from srm_ray.errors import UserError
from srm_ray.gguf.quantiser import load_llama_cpp, require_llama_cpp
from srm_ray.gguf.vocabulary import CONTROL, Vocabulary, open_gguf, read_vocabulary, tokenizer_of
from srm_ray.inference.completers import Sampling
from srm_ray.model.chat_template import stop_ids, with_template

LONGEST = 8192  # tokens of key-value cache taken where the model's own context is longer


class LlamaCppEngine:
    """context: 0 for the model's own, at most `LONGEST`. every_logit: keep those of all positions, for `logits`.

    cache: type of the key-value cache, "f16" or "f32". chat_template: "chatml" or a file, in place of the file's own.
    """

    def __init__(
        self,
        path: Path,
        *,
        threads: int = 0,
        context: int = 0,
        every_logit: bool = False,
        cache: str = "f16",
        chat_template: str = "",
    ) -> None:
        vocabulary = read_vocabulary(path)
        require_llama_cpp(f"--model {path}")
        llama_cpp = load_llama_cpp()
        self.context = context or min(LONGEST, _own_context(path))
        cores = threads or len(os.sched_getaffinity(0))
        kind = {"f16": llama_cpp.GGML_TYPE_F16, "f32": llama_cpp.GGML_TYPE_F32}[cache]
        try:
            self.llama = llama_cpp.Llama(
                str(path), n_ctx=self.context, n_batch=self.context, n_ubatch=512, n_threads=cores,
                n_threads_batch=cores, n_gpu_layers=-1, logits_all=every_logit, type_k=kind, type_v=kind, verbose=False,
            )  # fmt: skip
        except ValueError as error:
            raise UserError(f"{path}: llama.cpp cannot load it ({error})") from None
        # Before the interpreter takes the library's functions down: at exit, or when this engine is let go.
        self.close = weakref.finalize(self, self.llama.close)
        self.tokenizer = tokenizer_of(vocabulary, context=self.context)
        if chat_template:
            echo(with_template(self.tokenizer, chat_template))
        self.stop_ids = tuple(sorted({*stop_ids(self.tokenizer), *self._ends(vocabulary)}))
        self.about = f"{path.name} ({path.stat().st_size / 1e6:,.1f} MB, llama.cpp, {cores} threads)"

    def _ends(self, vocabulary: Vocabulary) -> list[int]:
        """Control tokens that llama.cpp itself takes for the end of a generation."""
        import llama_cpp

        inner = llama_cpp.llama_model_get_vocab(self.llama.model)
        control = (index for index, kind in enumerate(vocabulary.types) if kind == CONTROL)
        return [index for index in control if llama_cpp.llama_vocab_is_eog(inner, index)]

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, seed: int = 3407) -> Iterator[int]:
        self.llama.set_seed(seed)
        limit = min(sampling.max_new_tokens, self.context - len(prompt_ids))
        if limit <= 0:
            return
        sampled = self.llama.generate(
            list(prompt_ids), temp=sampling.temperature, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0
        )
        for count, token in enumerate(sampled, 1):
            if token in self.stop_ids and not sampling.ignore_stop:
                return
            yield int(token)
            if count == limit:
                return

    def logits(self, ids: Sequence[int]) -> Any:
        self.llama.reset()
        self.llama.eval(list(ids))
        return self.llama.scores[: len(ids)].copy()


def _own_context(path: Path) -> int:
    fields = open_gguf(path).fields
    named = fields.get("general.architecture")
    length = fields.get(f"{named.contents()}.context_length") if named else None
    found = length.contents() if length else None
    if not isinstance(found, int) or found < 1:
        raise UserError(f"{path}: it does not say how long its context is")
    return found
