"""Two Ray nodes on one machine; the one with the rollout worker dies in mid-run, and another takes its place."""

import os
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from tests.loop.command_run import Marked, Run, completions, events, small_run, steps_of, until

pytestmark = pytest.mark.integration

STEPS = 8
HEAD, WORKER = 5, 4  # CPUs: the learner's 4 fit on the head alone, which then has no room for the rollout worker's 3


class Node(Marked):
    """`ray start --block`, and all that it starts."""

    def __init__(self, folder, name, cpus, *options):
        ports = ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
        sizes = [f"--num-cpus={cpus}", "--object-store-memory=100000000"]
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        super().__init__([*command, *ports, *sizes, *options], folder / f"{name}.log")

    def titles(self):
        return [title for _, title in self.processes()]

    def kill(self):
        """SIGKILL all of it, which is what the loss of a machine looks like to the others."""
        while found := self.processes():
            for pid, _ in found:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if self.process.poll() is None:
                self.process.wait()


class Cluster:
    """A Ray of its own: no other one on this machine is joined or disturbed."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="srm_", dir="/tmp"))  # short: sockets lie in it
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self.nodes = []

    def start(self, name, cpus, *options):
        node = Node(self.folder, name, cpus, *options)
        self.nodes.append(node)
        return node

    def start_head(self):
        host, port = self.address.split(":")
        options = [f"--node-ip-address={host}", f"--port={port}", f"--temp-dir={self.folder}"]
        head = self.start("head", HEAD, "--head", "--include-dashboard=false", *options)
        until(lambda: "Ray runtime started" in head.text(), why=head.text)
        return head

    def join(self, name):
        """A node on which a rollout worker fits. Returns when it is there."""
        node = self.start(name, WORKER, f"--address={self.address}")
        until(lambda: "Ray runtime started" in node.text(), why=node.text)
        return node

    def close(self):
        for node in reversed(self.nodes):
            node.kill()
            node.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def cluster():
    made = Cluster()
    yield made
    made.close()


@pytest.mark.timeout(1500)
def test_the_node_of_a_rollout_and_a_reward_worker_dies(cluster, tiny_model, tmp_path):
    options = {
        "max_staleness": "1",
        "rollout.cpus": "3",
        "learner.cpus": "4",
        "reward.cpus": "1",
        "reward.workers": "2",
        "recovery.ping_every": "1",
    }
    command = small_run(tiny_model, tmp_path / "prompts.jsonl", steps=str(STEPS), **options)
    folder = tmp_path / "run"
    head, doomed = cluster.start_head(), cluster.join("doomed")
    run = Run(command, folder, cluster=cluster.address)
    try:
        run.until(lambda: len(steps_of(folder)) >= 3)
        there, here = doomed.titles(), head.titles()
        assert any(title.startswith(b"ray::rollout-0") for title in there), there
        assert any(title.startswith(b"ray::learner-0") for title in here), here
        doomed.kill()
        cluster.join("other")
        run.finish()
    finally:
        if run.process.poll() is None:
            run.kill()

    assert [line["step"] for line in steps_of(folder)] == list(range(1, STEPS + 1))
    kept = [(line["prompt_index"], line["sample"]) for line in completions(folder) if line["kept"]]
    assert len(set(kept)) == len(kept) == STEPS * 4 * 8, "each group is trained on once"
    workers = {line["worker"] for line in completions(folder)}
    assert len(workers) == 2 and "rollout-0" in workers, "one that was, one that took its place"
    told = [(event["event"], event["role"]) for event in events(folder) if "role" in event]
    # One asked for before Ray has noticed the loss of the node is cancelled and asked for again, which is no death.
    restarts = {role: told.count(("restarted", role)) for role in ("rollout", "reward", "learner")}
    assert restarts == {"rollout": 1, "reward": 1, "learner": 0}, told
    assert told.count(("joined", "rollout")) == told.count(("joined", "reward")) == 1, told
    last = steps_of(folder)[-1]
    assert {role: last[f"restarts/{role}"] for role in restarts} == restarts
