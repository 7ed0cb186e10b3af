"""What Ray says of a process that it ended for want of memory, in one line."""

import os
import re

LOW_MEMORY = re.compile(r"running low on memory.*? was ([\d.]+)GB used / ([\d.]+)GB limit", re.DOTALL)
USER = re.compile(r"^\d+\t([\d.]+)\t(\S.*)$", re.MULTILINE)  # of Ray's list: process, GB, command


def want_of_memory(text: str) -> str:
    """One line for Ray's forty on a process that it ended for want of memory; "" for any other text."""
    found = LOW_MEMORY.search(text)
    if found is None:
        return ""
    users = [f"{size} GB {program(command)}" for size, command in USER.findall(text)[:3]]
    most = f" (most by {', '.join(users)})" if users else ""
    return (
        f"Ray ended it for want of memory: {found[1]} of its node's {found[2]} GB were in use{most}; end other work "
        "there, or take smaller batches or fewer workers"
    )


def program(command: str) -> str:
    """A process's command without the folder of its program, at most 60 characters."""
    first, _, rest = command.partition(" ")
    return f"{os.path.basename(first)} {rest}".strip()[:60]
