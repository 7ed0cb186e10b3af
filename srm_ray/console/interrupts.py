"""Ctrl-C, SIGTERM and SIGHUP (the terminal is gone): the first one ends what runs in good order, the second one ends
everything at once.

    first   -> cancels the event loop's main task, or raises KeyboardInterrupt where none runs -> finally blocks
    second  -> every process that this one started is killed, and this one with them

A terminal sends the signal to every process of the group. Those that we start ignore it or have a group of their own.
Python's own handler waits for the main thread, which may be in a library for minutes; so a thread counts the signals.
"""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar

from srm_ray.console import output
from srm_ray.errors import printable

T = TypeVar("T")

STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
WORD = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
CANCEL_WAIT = 0.5  # seconds in which an idle event loop cancels its task
STUCK_AFTER = 15.0  # seconds after which a main thread that has not handled the signal is stuck in a library
LEFT = 5.0  # seconds that threads have to end in once a command has
NOTHING_SAVED = "nothing was saved yet: the same command starts again"


@dataclass
class Interrupts:
    """What a Ctrl-C finds. advice: how to go on, of the command under way, innermost last."""

    installed: bool = False
    ours: list[signal.Signals] = field(default_factory=list)
    first: signal.Signals = signal.SIGINT  # what ends the command
    count: int = 0  # signals seen by the thread that counts them
    delivered: threading.Event = field(default_factory=threading.Event)  # by Python, in the main thread
    announced: threading.Event = field(default_factory=threading.Event)  # to the person
    loop: asyncio.AbstractEventLoop | None = None
    main: "asyncio.Task[Any] | None" = None
    insisted: bool = False
    raised: bool = False  # KeyboardInterrupt, outside of an event loop
    own: int = 0  # signals to come that we have sent ourselves
    advice: list[Callable[[], str]] = field(default_factory=list)
    worked: threading.Event | None = None  # set when the last of `in_thread` has ended
    last: list[Callable[[], object]] = field(default_factory=list)  # when no process is left but this one
    ending: threading.Lock = field(default_factory=threading.Lock)  # held by the one that ends the process at once

    # The thread that counts

    def watch(self, descriptor: int) -> None:
        while signals := os.read(descriptor, 64):
            for number in signals:
                if number in STATUS:
                    self.count_one(signal.Signals(number))

    def count_one(self, number: signal.Signals) -> None:
        if self.own and number == self.first:
            self.own -= 1
            return
        self.count += 1
        if self.count == 1:
            self.first = number
        if self.count > 1:
            end_at_once(f"ended at once; {how_to_go_on()}")
        if number == signal.SIGHUP:
            output.leave_terminal()
        _report(f"{WORD[number]}: what runs is ended in order ({'Ctrl-C ' * (number == signal.SIGINT)}again: at once)")
        self.announced.set()
        threading.Thread(target=self._expect, name="interrupted", daemon=True).start()

    def _expect(self) -> None:
        if not self.delivered.wait(STUCK_AFTER):
            end_at_once(f"ended at once, since a library does not end in order; {how_to_go_on()}")

    # The main thread

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.insisted:
            raise KeyboardInterrupt
        if self.delivered.is_set():
            return
        self.delivered.set()
        if self.loop is None or self.main is None or self.main.done():
            self.raised = True
            raise KeyboardInterrupt
        done = threading.Event()
        self.loop.call_soon_threadsafe(self._cancel, self.main, done)
        threading.Thread(target=self._insist, args=(done,), name="insist", daemon=True).start()

    def _cancel(self, main: "asyncio.Task[Any]", done: threading.Event) -> None:
        if not self.insisted:
            done.set()
            main.cancel()

    def _insist(self, done: threading.Event) -> None:
        """Interrupt what blocks the event loop: synchronous work within its main task. By the signal that came: another
        one may be ignored."""
        if not done.wait(CANCEL_WAIT):
            self.insisted = True
            self.own += 1
            signal.pthread_kill(threading.main_thread().ident or 0, self.first)


_interrupts = Interrupts()


def interrupted() -> bool:
    return _interrupts.delivered.is_set()


def installed() -> bool:
    """Whether a command of this process has Ctrl-C in hand."""
    return _interrupts.installed


def conclude() -> None:
    """The last line of a command that Ctrl-C has ended; nothing that it started is left. Its threads have a while."""
    if _interrupts.installed:
        _interrupts.announced.wait(1.0)
        if work_goes_on():
            end_at_once(f"{WORD[_interrupts.first]}; {how_to_go_on()}")
        if not _interrupts.ending.acquire(blocking=False):
            threading.Event().wait()  # until the thread that has it has ended this process
        end_children()
        threading.Thread(target=_insist_on_end, name="end", daemon=True).start()
    output.complain(f"{WORD[_interrupts.first]}; {how_to_go_on()}")


def status() -> int:
    """Exit status of a command that a signal has ended."""
    return STATUS[_interrupts.first]


def _insist_on_end() -> None:
    time.sleep(LEFT)
    os._exit(status())


def install() -> None:
    """For the rest of this process. Not of a signal that is somebody else's, or ignored (Ctrl-C in `&` of a script)."""
    free = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    _interrupts.ours = [number for number, handler in free.items() if signal.getsignal(number) is handler]
    if not _interrupts.ours:
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in _interrupts.ours:
        signal.signal(number, _interrupts.on_signal)
    threading.Thread(target=_interrupts.watch, args=(reader,), name="interrupts", daemon=True).start()
    _interrupts.installed = True


def hold() -> None:
    """SIGTERM is the command's, after a library (Ray) has taken it for itself."""
    if signal.SIGTERM in _interrupts.ours:
        signal.signal(signal.SIGTERM, _interrupts.on_signal)


def work_goes_on() -> bool:
    """Whether a library still works in the thread of an interrupted `in_thread`. What it works with (Ray) cannot be
    ended in order beneath it without a crash: the process ends at once instead, and its children with it."""
    return interrupted() and _interrupts.worked is not None and not _interrupts.worked.is_set()


def raise_if_lost() -> None:
    """Raises KeyboardInterrupt where one was raised before, and code in between (a library's import, a destructor)
    swallowed it: called where long work begins."""
    if _interrupts.raised:
        raise KeyboardInterrupt


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, whose main task the first Ctrl-C cancels. Raises KeyboardInterrupt then, once all has ended."""
    if not _interrupts.installed:
        return asyncio.run(main)
    if _interrupts.raised:
        main.close()
        raise KeyboardInterrupt
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(main)
        before = _interrupts.loop, _interrupts.main
        _interrupts.loop, _interrupts.main = loop, task
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            if interrupted():
                raise KeyboardInterrupt from None
            raise
        finally:
            _interrupts.loop, _interrupts.main = before


def in_thread(work: Callable[[], T]) -> T:
    """`work()` in a thread, for libraries that are long in their own code, or take Ctrl-C over: the main thread waits
    for it and can be interrupted. What is interrupted goes on until the process ends."""
    raise_if_lost()
    results: list[T] = []
    errors: list[BaseException] = []

    worked = _interrupts.worked = threading.Event()  # `join`, interrupted, takes a thread that runs for one that ended

    def call() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            worked.set()

    threading.Thread(target=call, name="work", daemon=True).start()
    while not worked.wait(0.2):
        pass
    if errors:
        raise errors[0]
    return results[0]


@contextlib.contextmanager
def advising(advice: Callable[[], str]) -> Iterator[None]:
    """What is printed to whoever interrupts the block, e.g. `the same command goes on after step 40`."""
    _interrupts.advice.append(advice)
    try:
        yield
    finally:
        if not interrupted():
            _interrupts.advice.remove(advice)


def how_to_go_on() -> str:
    if not _interrupts.advice:
        return NOTHING_SAVED
    return _interrupts.advice[-1]()


def end_at_once(text: str, code: int | None = None) -> None:
    """Kill every process that this one has started, and end. code: exit status; None: that of the signal. Of several
    threads that call it, the first one decides."""
    if not _interrupts.ending.acquire(blocking=False):
        return
    with contextlib.ExitStack() as rest:  # each of these whatever becomes of the others; the last entered comes first
        rest.callback(os._exit, status() if code is None else code)
        for leave in _interrupts.last:
            rest.callback(leave)
        rest.callback(end_children)
        rest.callback(output.silence_children)  # whatever other threads make of their children's end
        _report(text)


def at_the_end(leave: Callable[[], object]) -> None:
    """Have `leave` called when a command that a signal ends at once has ended its children."""
    _interrupts.last.append(leave)


def end_children() -> None:
    """Kill every process that this one has started, and those that they have."""
    import psutil

    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=3)


def _report(text: str) -> None:
    """Past what is being printed. On a terminal the cursor, which bars hide, is shown again."""
    target = output.err()
    show = "\r\x1b[?25h\x1b[K" if target.isatty() else ""
    with contextlib.suppress(OSError, ValueError):
        os.write(target.fileno(), f"{show}{printable(text)}\n".encode())
