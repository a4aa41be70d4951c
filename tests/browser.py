"""A headless Chromium driven through chromedriver's own protocol, for tests of pages."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The protocol's name of an element's id."""
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)


def missing() -> str | None:
    """Why there is no browser here; None if there is one."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"needs {' and '.join(absent)} (Debian: chromium, chromium-driver)" if absent else None


class Browser:
    """A page in a window."""

    def __init__(self, server: str) -> None:
        options = {"binary": shutil.which("chromium"), "args": list(_FLAGS)}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._server = server
        self._session = ""
        made = self._call("POST", "/session", capabilities={"alwaysMatch": wanted})
        self._session = f"/session/{made['sessionId']}"

    def close(self) -> None:
        """End the browser."""
        self._call("DELETE", "")

    def window(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Set the size of the page, and the color scheme that it is asked for."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._devtools("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Open a page, and wait until it is loaded."""
        self._call("POST", "/url", url="about:blank")
        self._call("POST", "/url", url=url)

    def run(self, script: str, *values: object) -> Any:
        """The result of a script's `return`."""
        return self._call("POST", "/execute/sync", script=script, args=list(values))

    def type(self, css: str, text: str) -> None:
        """Type into an element, as a person does."""
        self._call("POST", f"/element/{self._find(css)}/value", text=text)

    def click(self, css: str) -> None:
        """Click an element."""
        self._call("POST", f"/element/{self._find(css)}/click", _=None)

    def press(self, *keys: str) -> None:
        """Press keys one after the other, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", actions=[{"type": "key", "id": "k", "actions": actions}])

    def errors(self) -> list[str]:
        """What the console has that is not mere information, since this was last asked."""
        log = self._call("POST", "/se/log", type="browser")
        return [entry["message"] for entry in log if entry["level"] in ("SEVERE", "WARNING")]

    def screenshot(self, path: Path) -> None:
        """Write the window as a PNG file."""
        path.write_bytes(b64decode(self._call("GET", "/screenshot")))

    def _find(self, css: str) -> str:
        found = self._call("POST", "/element", using="css selector", value=css)
        return str(found[ELEMENT])

    def _devtools(self, command: str, **params: object) -> None:
        self._call("POST", "/goog/cdp/execute", cmd=command, params=params)

    def _call(self, method: str, path: str, **body: object) -> Any:
        request = urllib.request.Request(
            f"{self._server}{self._session}{path}",
            method=method,
            data=json.dumps(body).encode() if method == "POST" else None,
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser, ended with its driver."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen(
        ["chromedriver", f"--port={port}", "--silent"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, driver)
        made = Browser(f"http://127.0.0.1:{port}")
        try:
            yield made
        finally:
            made.close()
    finally:
        driver.terminate()
        driver.wait(10)


def _wait_for(port: int, driver: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        assert driver.poll() is None, "chromedriver ended at once"
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("chromedriver does not answer")
