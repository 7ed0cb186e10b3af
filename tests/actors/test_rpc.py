"""What a person reads of an error that came from an actor."""

import pytest

from actors.runtime.rpc import cause

pytestmark = pytest.mark.integration  # imports Ray

PYDANTIC = """ray::Engine.start() (pid=7)
  File "vllm/engine.py", line 3
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, Unknown quantization method: gguf [type=value_error, input_value=ArgsKwargs((), {})]
    For further information visit https://errors.pydantic.dev/2.14/v/value_error
"""
DIED = "The actor died. Worker exit type: SYSTEM_ERROR Worker exit detail: a list of all that might have been"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PYDANTIC, "Value error, Unknown quantization method: gguf"),
        (DIED, "The actor died."),
        ("Traceback\n  File x\nOSError: no such file\n", "OSError: no such file"),
        ("", "RuntimeError"),
    ],
    ids=["pydantic", "a death", "a traceback", "nothing"],
)
def test_the_last_line_that_says_something(text: str, said: str) -> None:
    assert cause(RuntimeError(text)) == said
