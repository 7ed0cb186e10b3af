"""What a confined scorer's process can still do: answers with the names of the attempts that succeeded."""

import os
import socket
import subprocess

from rewards.gym import confine
from rewards.sandbox.processes import receive, send


def attempts(folder: str) -> dict:
    def connect() -> None:
        socket.create_connection(("127.0.0.1", 1), timeout=0.2).close()

    return {
        "read a file": lambda: open("/etc/passwd").read(),
        "read its parent's environment": lambda: open(f"/proc/{os.getppid()}/environ", "rb").read(),
        "write a file": lambda: open(f"{folder}/written", "w").write("x"),
        "write to /tmp": lambda: open("/tmp/srm_ray_written", "w").write("x"),
        "start a program": lambda: subprocess.run(["/bin/true"], check=True),
        "fork": os.fork,
        "open a socket": connect,
        "end its parent": lambda: os.kill(os.getppid(), 0),
    }


def serve(sock: socket.socket) -> None:
    confine()
    while True:
        _, items = receive(sock)
        for folder in items:
            succeeded = []
            for name, attempt in attempts(folder).items():
                try:
                    attempt()
                except ConnectionRefusedError:
                    succeeded.append(name)
                except OSError:
                    continue
                succeeded.append(name)
            send(sock, succeeded)
