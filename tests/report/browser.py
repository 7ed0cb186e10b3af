"""Headless Chromium, driven through its debugging pipe: no package but the browser is needed."""

import contextlib
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1440,1000",
    "--remote-debugging-pipe",
]


def find() -> str | None:
    return next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )


class Page:
    """One tab. `evaluate` runs an expression in it and returns its value, promises awaited."""

    def __init__(self, read: int, write: int):
        self.read, self.write = read, write
        self.number, self.rest, self.session = 0, b"", ""
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Network.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + 120
        while True:
            answer = self._receive(deadline, method)
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            if answer.get("id") == self.number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _receive(self, deadline: float, method: str) -> dict[str, Any]:
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.read], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError(f"Chromium did not answer {method} in 30 s")
            received = os.read(self.read, 1 << 20)
            if not received:
                raise EOFError(f"Chromium ended during {method}")
            self.rest += received
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def open(self, url: str) -> None:
        """Returns when the page has drawn itself; raises with what it says when it fails."""
        self.requests.clear()
        self.call("Page.navigate", url="about:blank")  # else a change after # alone would not load the page again
        self.call("Page.navigate", url=url)
        self.wait("document.documentElement?.dataset.ready === 'yes' || document.documentElement?.dataset.error")
        assert self.evaluate("document.documentElement.dataset.error") is None

    def wait(self, expression: str, seconds: float = 20) -> Any:
        deadline = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            assert time.monotonic() < deadline, f"not within {seconds} s: {expression}"
            time.sleep(0.03)
        return value

    def evaluate(self, expression: str) -> Any:
        done = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def hover(self, selector: str) -> None:
        """Move the mouse there, once scrolling has settled."""
        x, y = self.evaluate(
            f"(async () => {{ const e = {selector}; e.scrollIntoView({{block: 'center'}});"
            " for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def text(self, selector: str) -> str:
        return self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent")

    def screenshot(self, path: Path, *, dark: bool = False, width: int = 1440, height: int = 1000) -> None:
        import base64

        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        time.sleep(0.2)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))


@contextlib.contextmanager
def start(program: str, profile: Path) -> Iterator[Page]:
    """profile: a new, empty folder."""
    to_browser, mine_out = os.pipe()
    mine_in, from_browser = os.pipe()
    command = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
    shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser} >/dev/null 2>&1'  # the browser speaks on 3 and 4
    process = subprocess.Popen(["bash", "-c", shell, "bash", *command], pass_fds=(to_browser, from_browser))
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Page(mine_in, mine_out)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(mine_in)
        os.close(mine_out)
