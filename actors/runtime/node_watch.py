"""Ray's own processes on this machine, watched: where one dies (killed for want of memory, by a person, by a machine so
slow that the cluster gave it up), Ray ends the process of a command within half a minute and says nothing.

    raylet, gcs_server --dead--> one line, how to go on, exit status 1
"""

import threading
from collections.abc import Sequence
from pathlib import Path

import psutil

from srm_ray.console import interrupts

PAUSE = 0.5  # seconds between two looks
NAMES = ("raylet", "gcs_server")


class NodeWatch:
    """Watches `processes` from a thread until `close`. logs: the folder with what Ray says of its end."""

    def __init__(self, processes: Sequence[psutil.Process], logs: str) -> None:
        self.processes, self.logs = list(processes), logs
        self.names = {process.pid: name_of(process) for process in processes}
        self.done = threading.Event()
        threading.Thread(target=self._watch, name="node-watch", daemon=True).start()

    def close(self) -> None:
        """Before Ray is ended in order."""
        self.done.set()

    def _watch(self) -> None:
        while not self.done.wait(PAUSE):
            dead = next((process for process in self.processes if not alive(process)), None)
            if dead is not None and not self.done.wait(PAUSE):
                interrupts.end_at_once(self.message(dead), 1)

    def message(self, dead: psutil.Process) -> str:
        """Says how to go on, too."""
        return (
            f"run failed: Ray's {self.names[dead.pid]} on this machine (process {dead.pid}) has died, and this command "
            f"with it: was memory short? {self.logs} says more; {interrupts.how_to_go_on()}"
        )


def alive(process: psutil.Process) -> bool:
    """A child that has ended and was not waited for has, too."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def watch(own: bool) -> NodeWatch:
    """Of the Ray that this process is connected to. own: started by it; else the raylet alone is looked after, since
    the control service of a cluster may move."""
    import ray

    node = ray._private.worker.global_worker.node
    socket = f"--raylet_socket_name={node.raylet_socket_name}"
    if own:
        found = [child for child in psutil.Process().children() if name_of(child) in NAMES]
    else:
        found = [one for one in psutil.process_iter() if name_of(one) == NAMES[0] and socket in one.cmdline()]
    return NodeWatch(found, str(Path(node.get_session_dir_path()) / "logs"))


def name_of(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""
