"""One model on this machine, one conversation at a time: for chat and for measuring exports.

    open_engine(path) -> Engine: a Hugging Face folder or an adapter (transformers), a .gguf file (llama.cpp)
    engine.stream(prompt ids) -> token ids as they are sampled

For throughput there is vLLM (srm_ray.inference.serving prints its command).
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from srm_ray.config.precision import AUTO
from srm_ray.errors import UserError
from srm_ray.inference.completers import Sampling

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Engine(Protocol):
    """tokenizer: Hugging Face's. context: prompt and answer together, tokens. stop_ids: what ends an answer."""

    tokenizer: "PreTrainedTokenizerFast"
    context: int
    stop_ids: tuple[int, ...]
    about: str

    def stream(self, prompt_ids: Sequence[int], sampling: Sampling, seed: int = 3407) -> Iterator[int]:
        """Ids one by one, without the stop token; ends at the limit or at the end of the context."""
        ...

    def logits(self, ids: Sequence[int]) -> Any:
        """float32 [T, V]: what follows each of `ids`."""
        ...


def open_engine(model: str, *, threads: int = 0, dtype: str = AUTO, chat_template: str = "") -> Engine:
    """threads: 0 for all cores that this process may use. dtype: weights and compute of a model that is no GGUF file.

    chat_template: "chatml" or a file, in place of the tokenizer's own.
    Raises `UserError` where `model` is nothing to talk to.
    """
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        from srm_ray.inference.llama_cpp_engine import LlamaCppEngine

        return LlamaCppEngine(path, threads=threads, chat_template=chat_template)
    if path.is_dir() and not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise UserError(f"--model {model}: no model in it (no config.json, no adapter_config.json){_near(path)}")
    from srm_ray.inference.transformers_engine import TransformersEngine

    name = str(path) if path.exists() else model
    return TransformersEngine(name, threads=threads, dtype=dtype, chat_template=chat_template)


def _near(path: Path) -> str:
    """Where the model is, when the folder of its run was given."""
    found = [path / "final"] if (path / "final").is_dir() else sorted((path / "gguf").glob("*.gguf"))
    return f"; did you mean {found[0]}?" if found else ""
