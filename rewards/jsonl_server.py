"""JSON lines in, JSON lines out, in the order of the input, each as soon as its turn is decided.

    reader --(bounded)--> worker threads --in order--> writer

A malformed line gives {"correct": null, "reason": "bad_input", "line": n, "error": "what is wrong with
it"}; nothing a line holds ends the stream. At most `WINDOW` lines are in flight, so that memory does
not grow with the input.
"""

import json
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, BinaryIO, TextIO

WINDOW = 256
MAX_LINE = 16 << 20

Grade = Callable[[dict[str, Any]], dict[str, Any]]


class BadInput(ValueError):
    """What is wrong with a line, in words: raised by `parsed`, and by a `grade` that finds a field amiss."""


def serve(source: BinaryIO, sink: TextIO, grade: Grade, workers: int) -> int:
    """Grade every line of `source`; returns the exit status 0 (also when the reader went away)."""
    turns: queue.Queue[Future[dict[str, Any]] | None] = queue.Queue(WINDOW)
    gone = threading.Event()
    writer = threading.Thread(target=write, args=(turns, sink, gone), daemon=True)
    writer.start()
    with ThreadPoolExecutor(workers) as pool:
        number = 0
        while not gone.is_set() and (line := source.readline(MAX_LINE)):
            number += 1
            if not line.endswith(b"\n") and len(line) == MAX_LINE:  # the rest of an endless line
                while (rest := source.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                    pass
                line = b""
            elif not line.strip():
                continue
            turns.put(pool.submit(answer, line, number, grade))
        turns.put(None)
        writer.join()
    return 0


def answer(line: bytes, number: int, grade: Grade) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        result = grade(parsed(line))
    except BadInput as error:
        result = {"correct": None, "reason": "bad_input", "error": str(error)}
    except Exception:  # a defect of the grader: reported as such, the stream goes on
        told = traceback.format_exc()  # its message may hold what the line held
        sys.stderr.write("".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in told))
        result = {"correct": None, "reason": "grader_error"}
    if "error" in result:
        result["line"] = number
    return {**result, "seconds": round(time.perf_counter() - start, 6)}


def parsed(line: bytes) -> dict[str, Any]:
    """The line's object. Raises `BadInput` for anything that is not a JSON object."""
    if not line:
        raise BadInput(f"the line is longer than {MAX_LINE >> 20} MiB")
    try:
        record = json.loads(line.decode("utf-8-sig").strip())
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8: {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"not JSON that can be read: {error}") from None
    if not isinstance(record, dict):
        raise BadInput(f"an object is expected, got {kind_of(record)}")
    return record


KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}


def kind_of(value: Any) -> str:
    """What JSON calls a value: "a list", "null"."""
    return KINDS.get(type(value), "null")


def write(turns: "queue.Queue[Future[dict[str, Any]] | None]", sink: TextIO, gone: threading.Event) -> None:
    while (turn := turns.get()) is not None:
        text = json.dumps(turn.result())
        if gone.is_set():
            continue
        try:
            sink.write(text + "\n")
            sink.flush()
        except (BrokenPipeError, ValueError):
            gone.set()
            sys.stderr.write("the reader of the results went away\n")
