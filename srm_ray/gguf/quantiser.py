"""llama.cpp's own quantiser, through `llama-cpp-python` (the `llamacpp` extra)."""

import importlib.util
import logging
import os
from pathlib import Path
from types import ModuleType

from srm_ray.config.formats import Format
from srm_ray.errors import RunError, UserError

INSTALL = "make llamacpp (it compiles llama.cpp: minutes)"


def has_llama_cpp() -> bool:
    return importlib.util.find_spec("llama_cpp") is not None


def require_llama_cpp(what: str) -> None:
    if not has_llama_cpp():
        raise UserError(f"{what} needs llama.cpp, which is not installed: {INSTALL}")


def load_llama_cpp() -> ModuleType:
    """The `llama_cpp` module, silenced: what goes wrong is raised, and it reports every fallback of a type."""
    import llama_cpp

    logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL + 1)
    return llama_cpp


def quantise(source: Path, destination: Path, form: Format, *, threads: int = 0) -> None:
    """Quantise a whole F32 file. threads: 0 for all cores. Raises `RunError` when llama.cpp fails."""
    require_llama_cpp(f"--format {form.name}")
    llama_cpp = load_llama_cpp()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = form.file_type
    params.nthread = threads or len(os.sched_getaffinity(0))
    status = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(destination), params)
    if status:
        raise RunError(f"llama.cpp could not quantise to {form.label} (status {status}); the disk may be full")
