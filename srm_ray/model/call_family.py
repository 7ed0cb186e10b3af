"""How a model writes tool calls, inferred from its chat template."""

from typing import Literal, get_args

from srm_ray.errors import UserError

Family = Literal["hermes", "llama", "mistral", "pythonic"]
FAMILIES = get_args(Family)
LLAMA_TAG = "<|python_tag|>"
SIGNS: tuple[tuple[str, Family], ...] = (  # what a chat template contains, most telling first
    ("<tool_call>", "hermes"),
    ("[TOOL_CALLS]", "mistral"),
    ("func_name1(params_name1=", "pythonic"),
    ("<|python_start|>", "pythonic"),
    ('"parameters": dictionary of argument', "llama"),
    (LLAMA_TAG, "llama"),
)
OTHERS = (
    "<function=",
    "<arg_key>",
    "<｜tool▁call",
    "<|tool_call_begin|>",
    "<|channel|>",
)  # ways that are not read here


def family_of(template: str) -> Family:
    """The family whose calls a chat template writes. Raises `UserError` where it cannot be inferred."""
    if sign := next((sign for sign in OTHERS if sign in template), None):
        raise UserError(
            f"the model's chat template writes tool calls with {sign}, which cannot be read here: give "
            f"environment.calls, one of {', '.join(FAMILIES)}, if the model writes such calls as well"
        )
    for sign, family in SIGNS:
        if sign in template:
            return family
    raise UserError(
        "the model's chat template does not say how its model writes tool calls: give environment.calls, one of "
        f"{', '.join(FAMILIES)}"
    )


# What vLLM calls its parser of them (`vllm serve --tool-call-parser`); of the ways that are not read here, those whose
# sign belongs to one parser alone.
VLLM_PARSERS = {"hermes": "hermes", "mistral": "mistral", "pythonic": "pythonic", "llama": "llama3_json"}
OTHER_VLLM_PARSERS = {"<function=": "qwen3_coder", "<arg_key>": "glm45"}


def vllm_parser(template: str) -> str:
    """vLLM's parser of the calls that a chat template writes; "" where it renders no tools, or none is known."""
    if "tools" not in template:
        return ""
    if sign := next((sign for sign in OTHERS if sign in template), None):
        return OTHER_VLLM_PARSERS.get(sign, "")
    if "<|python_start|>" in template:
        return "llama4_pythonic"
    return next((VLLM_PARSERS[family] for sign, family in SIGNS if sign in template), "")
