"""Small commands, run as processes of their own: what a person sees of them, and how they end."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

HEAD = """
import asyncio, hashlib, os, signal, subprocess, sys, time, warnings
from pathlib import Path
from srm_ray.console import interrupts, output
from srm_ray.console.command import command
from srm_ray.console.progress import echo, phase
from srm_ray.errors import RunError, UserError
HERE = Path(__file__).parent
"""
ROOT = Path(__file__).parents[2]


def heed() -> None:
    """Signals as in a terminal, also where the tests run under `nohup` or in a script's `&`."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def start(folder: Path, body: str, **options) -> subprocess.Popen:
    """`@command def main()` with this body, in a process group of its own. options: of the process; it ignores no
    signal, unless a `preexec_fn` has it so."""
    script = folder / "script.py"
    text = textwrap.indent(textwrap.dedent(body), "    ")
    script.write_text(f"{HEAD}\n@command\ndef main():\n{text}\n\nsys.exit(main())\n")
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "preexec_fn": heed, **options}
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "SRM_RAY_CACHE": str(folder / "cache")}
    return subprocess.Popen([sys.executable, str(script)], env=environment, start_new_session=True, **streams)


def finished(process: subprocess.Popen, seconds: float = 60) -> tuple[int, str, str]:
    """Exit status, stdout, stderr."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err
