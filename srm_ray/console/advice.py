"""What libraries warn of and a person can act on, in our words. The rest of what they print is for the log alone."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

# (what a library prints, our advice on it), each printed once.
ADVICE = (
    (
        r"object store is using .* instead of /dev/shm",
        "/dev/shm is small, so Ray's objects lie on the disk: make it larger (docker run --shm-size 2g)",
    ),
    (
        r"unauthenticated requests to the HF Hub|set a HF_TOKEN",
        "the hub limits downloads without a token: set HF_TOKEN to one of yours (huggingface.co/settings/tokens)",
    ),
    (
        r"NVIDIA driver on your system is too old|driver version is insufficient",
        "the GPU is not used, since its driver is older than this PyTorch: update the driver, or PyTorch's CUDA build",
    ),
)


class Advisor:
    """Reads the logs of a folder as they grow. Logs that are there already speak of what was before."""

    def __init__(self) -> None:
        self.given: set[str] = set()
        self.folder: Path | None = None
        self.places: dict[Path, int] = {}

    def follow(self, folder: Path | None) -> None:
        """From now on the logs of this folder."""
        if folder != self.folder:
            self.folder = folder
            self.places = {path: path.stat().st_size for path in self._logs()}

    def due(self) -> Iterator[str]:
        """What is to be printed now."""
        for path in self._logs():
            text = b""
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:  # removed since it was listed
                file.seek(self.places.get(path, 0))
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self.places[path] = self.places.get(path, 0) + len(whole)
            yield from self._advice(whole.decode(errors="replace"))

    def _advice(self, text: str) -> Iterator[str]:
        for sign, advice in ADVICE:
            if advice not in self.given and re.search(sign, text):
                self.given.add(advice)
                yield advice

    def _logs(self) -> list[Path]:
        return sorted(self.folder.glob("*.log")) if self.folder else []
