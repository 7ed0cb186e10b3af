"""What a process that vLLM computes in does before its engine exists: importing this module there does it.

`worker_extension_cls="actors.rollout.vllm_extension.WorkerExtension"` has vLLM import it: in the actor's own process
where the engine runs in that (actors/rollout/in_process_engine.py), else in each process started for the engine.
"""

import ctypes
import multiprocessing
import signal
import threading
from typing import Any

from tqdm import tqdm

from actors.rollout import cpu_kernels, shared_memory


class WorkerExtension:
    """Mixed into vLLM's worker."""

    weight_transfer_engine: Any

    def loads_directly(self) -> bool:
        engine = self.weight_transfer_engine
        return isinstance(engine, shared_memory.PullEngine) and engine.plan is not None


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it dies, however it dies."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def no_named_semaphore() -> None:
    """Progress bars lock among threads alone. tqdm's own lock is a named semaphore here, which stays behind in /dev/shm
    when this process is killed and Ray ends what would clean up after it, multiprocessing's resource tracker."""
    tqdm.set_lock(threading.RLock())


if multiprocessing.parent_process() is not None:
    end_with_parent()
    no_named_semaphore()
cpu_kernels.register()
