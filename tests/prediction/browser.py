# SPDX-License-Identifier: MIT
"""A headless Chromium, driven over the pipe of its remote debugging."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_NAMES = ("chromium", "chromium-browser", "google-chrome")
EXECUTABLE = next((found for name in _NAMES if (found := shutil.which(name))), None)


class Browser:
    """A page of a browser, and what it logged and requested."""

    def __init__(self, process: subprocess.Popen, reading: int, writing: int) -> None:
        self.process, self.reading, self.writing = process, reading, writing
        self.number, self.session, self.rest = 0, None, b""
        self.problems: list[str] = []
        self.requests: list[str] = []

    def call(self, method: str, **parameters: Any) -> Any:
        """Call a method of the protocol and return its result."""
        self.number += 1
        message: dict[str, Any] = {"id": self.number, "method": method, "params": parameters}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.writing, json.dumps(message).encode() + b"\0")
        while True:
            found = self._message()
            if found.get("id") == self.number:
                assert "error" not in found, found
                return found["result"]
            self._note(found)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            block = os.read(self.reading, 1 << 20)
            assert block, "the browser has ended"
            self.rest += block
        text, _, self.rest = self.rest.partition(b"\0")
        return json.loads(text)

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(json.dumps(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.problems.append(json.dumps(parameters["args"]))
            case "Log.entryAdded":
                self.problems.append(json.dumps(parameters["entry"]))
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])

    def open(self, path: Path, width: int = 1280, height: int = 900) -> None:
        """Open a file in a new tab and wait until it is drawn."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        self.call("Page.navigate", url=path.resolve().as_uri())
        self.until("document.readyState === 'complete'")

    def resize(self, width: int, height: int) -> None:
        """Set the size of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            **{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str, seconds: float = 30.0) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < end, script
            time.sleep(0.05)

    def drag(self, x: float, y: float, to: float) -> None:
        """Press the mouse, move it to the right or left, and release it; a click if it stays."""
        for kind, at in (("mousePressed", x), ("mouseMoved", to), ("mouseReleased", to)):
            if kind != "mouseMoved" or to != x:
                self.call(
                    "Input.dispatchMouseEvent",
                    **{"type": kind, "x": at, "y": y, "button": "left", "clickCount": 1},
                )

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Save a picture of the page."""
        found = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))


@contextlib.contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start a browser with a fresh profile in a folder."""
    assert EXECUTABLE is not None
    to_browser, from_us = os.pipe()
    to_us, from_browser = os.pipe()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
    options += ["--no-first-run", "--disable-background-networking", "--disable-component-update"]

    # the browser reads its number 3 and writes its number 4
    shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
    process = subprocess.Popen(
        ["bash", "-c", shell, "bash", EXECUTABLE, *options, f"--user-data-dir={folder}"],
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Browser(process, to_us, from_us)
    finally:
        process.terminate()
        process.wait(20)
        os.close(from_us)
        os.close(to_us)
