"""Python as a tool: `--environment srm_ray.environments.python:Python --data.path problems.jsonl`.

Programs of the model run in the code sandbox (`rewards.code`, whose table says what it stops), never in the episode's
own process. A session keeps what earlier calls defined: each program is run after those before it that did not fail,
from the beginning, with what they print left out. The last turn is graded as any answer is.
"""

import json
from typing import Any

from rewards.code.output import raised
from rewards.code.sandbox import Broken, Limits, Sandbox, program_job

SECONDS = 10.0  # of all programs of a session together, each time
OUTPUT = 1 << 16  # bytes that a program may print
SESSION = """
import ast, contextlib, io, json
cells = json.loads({cells!r})
space = {{"__name__": "__main__"}}
for cell in cells[:-1]:
    with contextlib.redirect_stdout(io.StringIO()):
        exec(compile(cell, "earlier.py", "exec"), space)
tree = ast.parse(cells[-1], "program.py")
last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
exec(compile(tree, "program.py", "exec"), space)
if last is not None:
    value = eval(compile(ast.Expression(last.value), "program.py", "eval"), space)
    if value is not None:
        print(repr(value))
"""
WHY = {
    "timeout": f"the program took more than {SECONDS:g} s",
    "output_limit": f"the program printed more than {OUTPUT} bytes",
    "no_result": "the program ended without a word",
}


class Python:
    """One session an episode."""

    def reset(self, **row: object) -> None:
        self.cells: list[str] = []
        self.sandbox = Sandbox(1, Limits(seconds=SECONDS, output=OUTPUT))
        if not self.sandbox.tier:
            raise RuntimeError(f"no code sandbox holds on this machine: {self.sandbox.why}")

    def python(self, code: str) -> str:
        """Run a Python program and see what it prints, and the value of its last line.

        Args:
            code: The program. What earlier programs defined is there.
        """
        text = SESSION.format(cells=json.dumps([*self.cells, code]))
        try:
            ended = self.sandbox.run(program_job(text, "", b"", SECONDS))
        except Broken as error:
            raise RuntimeError(f"the sandbox does not answer: {error}") from None
        printed = ended.output.decode(errors="replace")
        failed = WHY.get(ended.reason, ended.reason) or failure_of(ended.frame)
        if failed:
            return f"{printed}Error: {failed}"
        self.cells.append(code)
        return printed or "(nothing printed)"

    def close(self) -> None:
        self.sandbox.close()


def failure_of(frame: Any) -> str:
    """What a program raised; "" where it ended as it should."""
    if isinstance(frame, list) and frame[:1] == ["done"]:
        return ""
    error = raised(frame)
    return WHY["no_result"] if error is None else f"{error[0]}: {error[1]}"
