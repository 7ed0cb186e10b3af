"""The terminal side of a chat: lines in, dimmed thinking and plain answers out, Ctrl-C that stops an answer.

Without a terminal (input piped, or output to a file) there are no colours and no prompt signs, and
thinking stands between its tags. What a model writes is shown and never obeyed: control characters and escape
sequences come out as text.
"""

import os
import signal
import sys
from types import FrameType
from typing import Any, TextIO

from srm_ray.errors import printable
from srm_ray.inference.conversation import Conversation, Piece
from srm_ray.model.tokenization import END_THINK, THINK

DIM, PLAIN = "\033[2m", "\033[0m"
PROMPT = "> "


class Terminal:
    """A context: inside it Ctrl-C while an answer is sampled ends the answer; at the prompt it drops the line."""

    def __init__(self, source: TextIO, target: TextIO) -> None:
        self.source, self.target = source, target
        self.colours = target.isatty() and "NO_COLOR" not in os.environ
        self.interactive = source.isatty()
        self._answering = self._reading = self._stopped = False
        self._space = ""  # white space at the end of what is shown: printed when words follow
        self._before: Any = None

    def __enter__(self) -> "Terminal":
        self._before = signal.signal(signal.SIGINT, self._on_interrupt)
        if self.interactive and self.source is sys.stdin:
            import readline  # noqa: F401  arrow keys and line history in `input`
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        """The first Ctrl-C lets the token under way finish, so that the cache stays whole; the second does not wait.

        Between answer and prompt it has nothing to stop: one that comes a moment late must not end the program.
        """
        if self._answering and not self._stopped:
            self._stopped = True
        elif self._answering or self._reading:
            raise KeyboardInterrupt

    def read_line(self) -> str | None:
        """The next line, None at the end of input."""
        while True:
            try:
                self._reading = True
                if self.interactive:
                    return input(PROMPT)
                line = self.source.readline()
                return line if line else None
            except EOFError:
                self._write("\n")
                return None
            except KeyboardInterrupt:
                if not self.interactive:
                    return None
                self._write("\n")
                self.notice("(/quit or Ctrl-D ends the conversation)")
            finally:
                self._reading = False

    def notice(self, text: str) -> None:
        """What is not part of the conversation: to stderr, unless both are the terminal."""
        text = printable(text)
        if self.interactive:
            self._write(f"{DIM}{text}{PLAIN}\n" if self.colours else f"{text}\n")
        else:
            print(text, file=sys.stderr, flush=True)

    def show_answer(self, conversation: Conversation, text: str) -> None:
        """Ask and print as it comes."""
        self._answering, self._stopped = True, False
        shown = self._space = ""
        pieces = conversation.ask(text)
        try:
            for piece in pieces:
                shown = self._show(piece, shown)
                if self._stopped:
                    break
        except KeyboardInterrupt:
            self._stopped = True
        finally:
            self._answering = False
            pieces.close()  # type: ignore[attr-defined]  # a generator: what it has given goes to the history
        self._write(self._after(shown) + "\n")
        self._echo_ending(conversation)

    def _echo_ending(self, conversation: Conversation) -> None:
        answer = conversation.last
        if self._stopped:
            self.notice("(stopped)")
        elif answer and answer.truncated:
            self.notice(f"(cut at {answer.tokens} tokens)")
        if answer and answer.dropped_turns:
            self.notice(f"(the context is full: {answer.dropped_turns} oldest messages were dropped)")

    def _show(self, piece: Piece, shown: str) -> str:
        """Print a piece; returns its kind. White space before and after the words of a part is left out."""
        text = self._space + piece.text if piece.kind == shown else piece.text.lstrip()
        words = text.rstrip()
        if not words:
            self._space = text if piece.kind == shown else self._space
            return shown
        if piece.kind != shown:
            self._write(self._after(shown) + ("\n" if shown else "") + self._before_part(piece.kind))
        self._write(printable(words))
        self._space = text[len(words) :]
        return piece.kind

    def _before_part(self, kind: str) -> str:
        if kind == "answer":
            return ""
        return DIM if self.colours else f"{THINK}\n" if kind == "thinking" else ""

    def _after(self, kind: str) -> str:
        if kind in ("", "answer"):
            return ""
        return PLAIN if self.colours else f"\n{END_THINK}" if kind == "thinking" else ""

    def _write(self, text: str) -> None:
        self.target.write(text)
        self.target.flush()
