"""`report.html`: one self-contained page that shows a run. No network, no library, nothing to install.

    run folder -> run_data (curves, summary, config, events) ---+
               -> rollout_data (newest step and a spread) ------+-> gzip, base64 -> report.html

Completions are hostile text: all data travels as base64, the page writes it with `textContent` alone, and a
Content-Security-Policy lets no script run but the page's own (by its hash) and no address be reached.
"""

import base64
import hashlib
import html
import json
from pathlib import Path
from typing import Any

from rewards.extract import THINKING
from rewards.format import MARK
from srm_ray.errors import UserError
from srm_ray.files.atomic import write_atomically
from srm_ray.report import rollout_data, run_data
from srm_ray.report.plain import packed
from srm_ray.runs.folder import RunFolder

ASSETS = Path(__file__).with_name("assets")
SCRIPTS = ("dom.js", "data.js", "charts.js", "overview.js", "tokens.js", "rollouts.js", "evaluation.js", "page.js")
EMBED_BYTES = 24_000_000  # compressed completions in one file; a browser opens 32 MB of base64 without effort


def write_report(folder: RunFolder, *, embed_bytes: int = EMBED_BYTES) -> Path:
    """Write `report.html` beside the run's other files; returns its path.

    embed_bytes: limit on the compressed completions. Where a run has more, the newest step and a spread of
    the others are embedded, and the page says so. Raises UserError where the folder holds what no run writes.
    """
    try:
        run = run_data.load(folder)
        blocks = rollout_data.choose(folder, run["steps"], embed_bytes)
    except run_data.MALFORMED as error:
        raise UserError(run_data.why(folder, error)) from error
    write_atomically(folder.report, render(run | embedded(run["steps"], blocks), blocks, live=False), shared=True)
    return folder.report


def embedded(steps: list[int], blocks: list[rollout_data.Block]) -> dict[str, Any]:
    """What the page must know of the steps in the file, and of those that are not."""
    return {
        "steps": [one.step for one in blocks],
        "steps_on_disk": len(steps),
        "without_tokens": [one.step for one in blocks if one.tokens is None],
        "cut": {
            one.step: [one.completions, one.total_completions]
            for one in blocks
            if one.completions < one.total_completions
        },
    }


def render(run: dict[str, Any], blocks: list[rollout_data.Block], *, live: bool) -> str:
    """The page's text. live: the page asks the server that it came from for steps, and for news."""
    style = (ASSETS / "page.css").read_text(encoding="utf-8")
    known = f"const THINKING = {json.dumps(THINKING)}, MARK = {json.dumps(MARK.pattern)};\n"
    script = f'"use strict";\n{known}' + "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    connect = "'self'" if live else "'none'"
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; connect-src {connect}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    fields = {
        "POLICY": policy,
        "TITLE": html.escape(run["name"]),
        "STYLE": style,
        "DATA": "\n".join(_data_blocks(run, blocks)),
        "SCRIPT": script,
        "MODE": "live" if live else "file",
    }
    page = (ASSETS / "page.html").read_text(encoding="utf-8")
    parts = page.split("@@")  # text, name, text, name, ..., text: what is filled in is never searched again
    return "".join(fields[part] if index % 2 else part for index, part in enumerate(parts))


def _data_blocks(run: dict[str, Any], blocks: list[rollout_data.Block]) -> list[str]:
    pieces = [_data_block("run", packed(run))]
    for one in blocks:
        pieces.append(_data_block(f"texts-{one.step}", one.texts))
        if one.tokens is not None:
            pieces.append(_data_block(f"tokens-{one.step}", one.tokens))
    return pieces


def _data_block(name: str, content: bytes) -> str:
    return f'<script type="application/gzip" id="{name}">{base64.b64encode(content).decode()}</script>'


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
