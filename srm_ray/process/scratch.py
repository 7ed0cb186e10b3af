"""What libraries leave in the system's temporary folder (sockets, rendezvous files) goes with the process that made it,
however that ended.

    own()      a folder of this process's own, which TMPDIR names from then on; a lock says that the process lives
    release()  removes it
    sweep()    removes the folders of processes that were killed
"""

import atexit
import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

PREFIX = "srm_ray-"
UNLOCKED = 60.0  # seconds that a folder without a lock may be one that is just being made


@dataclass(frozen=True, slots=True)
class Owned:
    folder: Path
    lock: int
    before: str | None  # TMPDIR


_owned: Owned | None = None


def own() -> Path:
    """This process's scratch folder, made on the first call. For it and for the processes that it starts."""
    global _owned
    if _owned is not None:
        return _owned.folder
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    # Locked before it has its name: a lock that nobody holds is that of a dead process.
    unnamed = folder / "new"
    lock = os.open(unnamed, os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    unnamed.rename(folder / "lock")
    _owned = Owned(folder, lock, os.environ.get("TMPDIR"))
    os.environ["TMPDIR"] = str(folder)
    tempfile.tempdir = None
    atexit.register(release)
    return folder


def release() -> None:
    """Remove this process's folder, and those of the dead in the folder that it lay in."""
    global _owned
    if _owned is None:
        return
    owned, _owned = _owned, None
    if owned.before is None:
        os.environ.pop("TMPDIR", None)
    else:
        os.environ["TMPDIR"] = owned.before
    tempfile.tempdir = None
    shutil.rmtree(owned.folder, ignore_errors=True)
    os.close(owned.lock)
    sweep()


def sweep() -> None:
    """Remove the scratch folders of processes that are no more."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if is_own(folder) and is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)


def is_own(folder: Path) -> bool:
    """Whether it is a folder, no link to one, that this user has made: anyone may name one there."""
    with contextlib.suppress(FileNotFoundError):
        info = folder.lstat()
        return stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid()
    return False


def is_abandoned(folder: Path) -> bool:
    try:
        lock = os.open(folder / "lock", os.O_RDWR)
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            return time.time() - folder.stat().st_mtime > UNLOCKED
        return False
    except OSError:  # another user's
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
