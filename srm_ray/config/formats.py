"""The formats of an export, by name: what `--format` takes, and what GGUF calls them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Format:
    """name: as on the command line. label: in file names, as llama.cpp writes it. file_type: `general.file_type`."""

    name: str
    label: str
    file_type: int
    by_llama_cpp: bool = False


FORMATS = {
    "f32": Format("f32", "F32", 0),
    "f16": Format("f16", "F16", 1),
    "bf16": Format("bf16", "BF16", 32),
    "q8_0": Format("q8_0", "Q8_0", 7),
    "q4_0": Format("q4_0", "Q4_0", 2),
    "q4_k_m": Format("q4_k_m", "Q4_K_M", 15, by_llama_cpp=True),
}


def parse_formats(given: list[str]) -> list[str]:
    """Names of `FORMATS`, each once, in the order given; "all" for all, "none" for none.

    Raises ValueError naming the formats there are.
    """
    names = [str(name).strip().lower() for name in given if str(name).strip()]
    if names == ["none"]:
        return []
    if names == ["all"]:
        return list(FORMATS)
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        what = f"{unknown[0]!r} is none of them" if unknown else "none is named"
        raise ValueError(f"the formats are {', '.join(FORMATS)}, all, none, several with commas; {what}")
    return list(dict.fromkeys(names))
