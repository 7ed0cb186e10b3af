"""A worker that hangs, exits and exhausts its memory when asked to."""

import os
import socket

from rewards.sandbox.processes import receive, send


def serve(sock: socket.socket) -> None:
    while True:
        for item in receive(sock)[1]:
            if item == "hang":
                while True:
                    pass
            if item == "exit":
                os._exit(3)
            reply = "ok"
            if item == "memory":
                try:
                    bytearray(8 << 30)
                except MemoryError:
                    reply = "MemoryError"
            send(sock, reply)
