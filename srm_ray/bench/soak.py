"""Whether a long run stays as it is: the real command for a thousand steps, the memory of every process of it, and what
is left when it has ended."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

import psutil

STEPS, SETTLED, WINDOW = 1000, 200, 100
EVERY = 1.0  # seconds between two samples: many in a step's cycle of taking memory and giving it back
PLACES = (Path("/dev/shm"), Path(tempfile.gettempdir()))
OPTIONS = {
    "prompts_per_step": "4",
    "steps": str(STEPS),
    "max_refill": "64",
    "eval.problems": "0",
    "checkpoint.every": "100",
    "checkpoint.keep": "1",
    "rollout.max_new_tokens": "48",
    # A policy that stays what it is: groups go on to have right and wrong completions to the end.
    "learner.lr": "1e-9",
}


def measure(model: str) -> dict[str, Any]:
    before = files()
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    try:
        command = [sys.executable, "-m", "srm_ray.grpo", "--config", "grpo/tiny", "--run_dir", str(folder / "run")]
        command += ["--model", model] if model else []
        command += [word for name, value in OPTIONS.items() for word in (f"--{name}", value)]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            samples, seen = watch(process, folder / "run" / "metrics.jsonl")
        if process.returncode:
            raise RuntimeError(f"the run failed: {(folder / 'log').read_text()[-2000:]}")
        steps = len((folder / "run" / "metrics.jsonl").read_text().splitlines())
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    left = {"processes": living(seen), "files": sorted(str(path) for path in files() - before)}
    found = {"steps": steps, "left": left, "memory": growth(samples), "samples": series(samples)}
    show(found)
    return found


def files() -> set[Path]:
    return {path for place in PLACES for path in place.iterdir() if place.is_dir()}


def watch(process: "subprocess.Popen[bytes]", metrics: Path) -> tuple[list[Any], dict[int, float]]:
    """(step, {(role, pid): bytes}) every `EVERY` seconds while the run lasts; every process seen, with its birth."""
    samples: list[tuple[int, dict[int, int]]] = []
    seen: dict[int, float] = {}
    roles: dict[int, str] = {}  # titles change: the last one counts
    while process.poll() is None:
        step = len(metrics.read_bytes().splitlines()) if metrics.exists() else 0
        sizes = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            driver = psutil.Process(process.pid)
            for each in [driver, *driver.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    seen[each.pid] = each.create_time()
                    roles[each.pid] = role(each, driver)
                    sizes[each.pid] = each.memory_info().rss
        samples.append((step, sizes))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(EVERY)
    return [(step, {(roles[pid], pid): size for pid, size in at.items()}) for step, at in samples], seen


def role(process: psutil.Process, driver: psutil.Process) -> str:
    """What a process is for, without what changes in its title."""
    if process == driver:
        return "driver"
    words = process.cmdline()
    if words and words[0].startswith("ray::"):
        return words[0].split()[0]
    scripts = [Path(word).stem for word in words[1:] if word.endswith(".py")]
    return scripts[0] if scripts else process.name()


def living(seen: dict[int, float]) -> list[str]:
    time.sleep(5)
    found = []
    for pid, birth in seen.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            if process.create_time() == birth and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{pid} {process.name()}")
    return found


def growth(samples: list[Any]) -> list[dict[str, Any]]:
    """Of each process that lived from step `SETTLED` to the end: its memory by hundreds of steps.

    A process that computes holds more in the middle of a step than between two, so hundreds are compared by their
    means. growth: of the highest of them over the first. most: of any sample.
    """
    hundreds: dict[tuple[str, int], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    settled = [(step, at) for step, at in samples if SETTLED <= step < STEPS]
    for step, at in settled:
        for key, size in at.items():
            hundreds[key][step // WINDOW].append(size)
    found = []
    for (name, _), sizes in sorted(hundreds.items()):
        if sum(map(len, sizes.values())) == len(settled):
            means = [mean(sizes[window]) for window in sorted(sizes)]
            most = max(max(window) for window in sizes.values())
            change = max(means) / means[0] - 1
            found.append({"role": name, "start": means[0], "end": means[-1], "most": most, "growth": change})
    return found


def series(samples: list[Any]) -> list[dict[str, Any]]:
    """Step and bytes by role, as sampled."""
    return [{"step": step, **{f"{name} {pid}": size for (name, pid), size in at.items()}} for step, at in samples]


def show(found: dict[str, Any]) -> None:
    print(f"soak      {found['steps']} steps; resident memory, means of {WINDOW} steps from step {SETTLED} on:")
    for each in found["memory"]:
        print(
            f"  {each['role']:<24} {each['start'] / 2**20:8.1f} MiB, {each['end'] / 2**20:8.1f} at the end "
            f"({each['growth']:+.1%} at most), {each['most'] / 2**20:8.1f} for a moment"
        )
    for what, names in found["left"].items():
        print(f"  left behind: {', '.join(names) or 'no'} {what if not names else ''}".rstrip())
