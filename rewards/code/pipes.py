"""The descriptors between the owner of a sandbox and what runs in it, and the frames that travel on them."""

import json
import os
import select
import socket
import struct
import time
from typing import Any

HEADER = struct.Struct("!I")


class Pipes:
    """The descriptors of one run: a result channel, a call channel, one pipe for output."""

    def __init__(self) -> None:
        self.owned: list[int] = []
        self.theirs: list[int] = []

    def pair(self) -> tuple[int, int]:
        """A stream between this process (first) and one inside (index into `theirs`, second)."""
        ours, theirs = socket.socketpair()
        self.owned.append(ours.detach())
        self.theirs.append(theirs.detach())
        return self.owned[-1], len(self.theirs) - 1

    def inner_pair(self) -> tuple[int, int]:
        """A stream between two processes inside, as two indexes into `theirs`."""
        for end in socket.socketpair():
            self.theirs.append(end.detach())
        return len(self.theirs) - 2, len(self.theirs) - 1

    def output(self) -> int:
        read, write = os.pipe()
        os.set_blocking(read, False)
        self.owned.append(read)
        self.theirs.append(write)
        self.read = read
        return len(self.theirs) - 1

    def stdin(self, text: bytes) -> int:
        """A file to read from, as an index into `theirs`."""
        fd = os.memfd_create("stdin")
        self.theirs.append(fd)
        with open(fd, "wb", closefd=False) as file:
            file.write(text)
        os.lseek(fd, 0, os.SEEK_SET)
        return len(self.theirs) - 1

    def close_theirs(self) -> None:
        for fd in self.theirs:
            os.close(fd)
        self.theirs.clear()

    def close(self) -> None:
        self.close_theirs()
        for fd in self.owned:
            os.close(fd)
        self.owned.clear()

    def collect(self, first: list[tuple[int, Any]], deadline: float, limit: int) -> tuple[Any, bytes, str]:
        """Write the first frames; read the result (from the first channel) and output until one ends it."""
        channel = first[0][0]
        to_write = {fd: memoryview(framed(message)) for fd, message in first}
        for fd in to_write:
            os.set_blocking(fd, False)
        result, output, output_open, frame_end = bytearray(), bytearray(), True, False
        poller = select.poll()
        for fd in to_write:
            poller.register(fd, select.POLLOUT | (select.POLLIN if fd == channel else 0))
        poller.register(self.read, select.POLLIN)
        while not frame_end:
            left = deadline - time.monotonic()
            if left <= 0:
                return None, bytes(output), "timeout"
            for fd, event in poller.poll(min(left, 1.0) * 1000):
                if fd == self.read:
                    output_open = drain(fd, output)
                    if len(output) > limit:
                        return None, bytes(output[:limit]), "output_limit"
                    if not output_open:
                        poller.unregister(fd)
                    continue
                if fd in to_write and event & (select.POLLOUT | select.POLLERR | select.POLLHUP):
                    to_write[fd] = push(fd, to_write[fd])
                    if not to_write[fd]:
                        del to_write[fd]
                        poller.modify(fd, select.POLLIN) if fd == channel else poller.unregister(fd)
                if fd == channel and event & (select.POLLIN | select.POLLHUP):
                    frame_end = not drain(fd, result) or complete(result)
        if output_open:
            drain(self.read, output)
        if len(output) > limit:
            return None, bytes(output[:limit]), "output_limit"
        return unframed(result), bytes(output), ""


def framed(message: Any) -> bytes:
    body = json.dumps(message).encode()
    return HEADER.pack(len(body)) + body


def complete(data: bytearray) -> bool:
    return len(data) >= HEADER.size and len(data) >= HEADER.size + min(HEADER.unpack_from(data)[0], 1 << 16)


def unframed(data: bytearray) -> Any:
    """The frame that arrived, or None for anything else (the checker's frame is small)."""
    if not complete(data):
        return None
    try:
        return json.loads(data[HEADER.size :])
    except (ValueError, RecursionError):
        return None


def push(fd: int, data: memoryview) -> memoryview:
    try:
        return data[os.write(fd, data) :]
    except BlockingIOError:
        return data
    except OSError:  # the other side has ended: nothing left to say to it
        return data[:0]


def drain(fd: int, into: bytearray) -> bool:
    """Read what is there (at most 256 KiB); False at the end."""
    for _ in range(4):
        try:
            part = os.read(fd, 1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if not part:
            return False
        into += part
    return True
