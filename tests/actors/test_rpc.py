"""What a person reads of an error that came from an actor."""

import pytest
import ray

from actors.runtime.low_memory import want_of_memory
from actors.runtime.rpc import cause
from actors.train.run import last_line

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


KILLED = """1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 10.0.0.2, ID: 80aa) \
was 22.61GB used / 23.54GB limit (0.96)
OOM kill reason: Memory usage 1723957248B exceeded threshold of 505530016B (2.0% of 25276502016B limit)
Top 10 memory users: PID\tMEM(GB)\tCOMMAND
1674\t9.50\t/opt/venv/bin/python3.11 -m srm_ray.sft --model /models/some/final
1499\t2.11\tray::Learner.accumulate
1714\t0.09\tray::IDLE
1715\t0.01\tray::IDLE
Refer to the documentation on how to address the out of memory issue: https://docs.ray.io/. Consider provisioning more
"""


def test_what_ray_ended_for_want_of_memory_is_one_line_that_says_who_had_it() -> None:
    told = cause(ray.exceptions.OutOfMemoryError(KILLED))
    assert told == (
        "Ray ended it for want of memory: 22.61 of its node's 23.54 GB were in use (most by 9.50 GB python3.11 -m "
        "srm_ray.sft --model /models/some/final, 2.11 GB ray::Learner.accumulate, 0.09 GB ray::IDLE); end other work "
        "there, or take smaller batches or fewer workers"
    )
    assert last_line(RuntimeError(f"Traceback\n{KILLED}")) == told
    assert want_of_memory("running low on memory, says somebody") == ""
