"""A real browser as wide as it is told, touched and asked over the DevTools protocol through two pipes.

A window of headless Chromium is never narrower than 500 pixels; the device that is put before the page here is.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)
WHY = "NO BROWSER: the page was not touched in one (apt-get install chromium)"
PHONE, DESK = 390, 1400


class Tab:
    """One page on one device."""

    def __init__(self, writing: int, reading: int) -> None:
        self.writing, self.reading = writing, reading
        self.number = 0
        self.rest = b""
        self.session: str | None = None
        self.complaints: list[str] = []

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            data = os.read(self.reading, 1 << 16)
            if not data:
                raise RuntimeError("the browser has ended")
            self.rest += data
        one, _, self.rest = self.rest.partition(b"\0")
        told: dict[str, Any] = json.loads(one)
        if told.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(told["params"])[:500])
        return told

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        wanted = {"id": self.number, "method": method, "params": params}
        if self.session is not None:
            wanted["sessionId"] = self.session
        os.write(self.writing, json.dumps(wanted).encode() + b"\0")
        while (told := self._message()).get("id") != self.number:
            pass
        if "error" in told:
            raise RuntimeError(f"{method}: {told['error']}")
        return told["result"]  # type: ignore[no-any-return]

    def open(self, page: Path | str, width: int) -> None:
        """Show a file or an address on a device of this width; narrow ones are touched."""
        phone = width < 700
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=phone)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=phone)
        self.ask("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        while self._message().get("method") != "Page.loadEventFired":
            pass

    def does(self, script: str) -> Any:
        """What the body of a function returns in the page."""
        told = self.ask(
            "Runtime.evaluate", expression=f"(() => {{ {script} }})()", returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in told:
            raise AssertionError(told["exceptionDetails"]["exception"]["description"])
        return told["result"].get("value")

    def place(self, selector: str) -> tuple[float, float]:
        """The middle of what a selector finds, scrolled to; what lies over it there is a fault."""
        x, y, hit = self.does(f"""
            const one = document.querySelector({json.dumps(selector)});
            one.scrollIntoView({{ block: "center", inline: "nearest", behavior: "instant" }});
            const box = one.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
            const top = document.elementFromPoint(x, y);
            return [x, y, top !== null && (one.contains(top) || top.contains(one))];
        """)
        assert hit, f"{selector} is not where a finger can reach it: {x}, {y}"
        return x, y

    def press(self, key: str) -> None:
        """A key, as its ``KeyboardEvent.key`` is called; of one sign it writes that sign."""
        text = {"text": key if len(key) == 1 else "\r"} if len(key) == 1 or key == "Enter" else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def write(self, text: str) -> None:
        """Text into what has the focus, in place of what is chosen there."""
        self.ask("Input.insertText", text=text)

    def downloads(self, folder: Path) -> None:
        """Where files that the page makes go."""
        self.ask("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def tap(self, selector: str) -> None:
        x, y = self.place(selector)
        self.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def drag(self, selector: str, to: float) -> None:
        """From the middle of an element to a part of its width, at the same height."""
        x, y = self.place(selector)
        box = self.does(f"const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
                        " return [b.x, b.width];")  # fmt: skip
        self.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
        for step in range(1, 6):
            there = x + (box[0] + box[1] * to - x) * step / 5
            self.ask("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": there, "y": y}])
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])

    def choose(self, selector: str, value: str) -> None:
        """What a person chooses in a list; the list itself is drawn by the device and not in the page."""
        self.place(selector)
        self.does(f"const one = document.querySelector({json.dumps(selector)}); one.value = {json.dumps(value)};"
                  " one.dispatchEvent(new Event('input', { bubbles: true }));")  # fmt: skip

    def sideways(self) -> list[str]:
        """What reaches beyond the device's width and cannot be scrolled to in a box of its own."""
        return self.does("""
            const wide = document.documentElement.clientWidth, found = [];
            for (const one of document.querySelectorAll("body *")) {
              const box = one.getBoundingClientRect();
              if (!box.width || (box.right <= wide + 1 && box.left >= -1)) continue;
              let up = one.parentElement;
              while (up && !/auto|scroll|hidden/.test(getComputedStyle(up).overflowX)) up = up.parentElement;
              if (!up) found.push(`${one.tagName}.${one.className} ${box.left} to ${box.right}`);
            }
            return found;
        """)  # type: ignore[no-any-return]

    def shot(self, file: Path, *, whole: bool = False) -> None:
        told = self.ask("Page.captureScreenshot", captureBeyondViewport=whole)
        file.write_bytes(base64.b64decode(told["data"]))


@contextlib.contextmanager
def tab(profile: Path) -> Iterator[Tab]:
    """A browser without a window; it ends with the block."""
    assert CHROMIUM is not None
    theirs, writing = os.pipe()
    reading, theirs_too = os.pipe()

    wired = ("bash", "-c", f'exec "$@" 3<&{theirs} 4>&{theirs_too}', "bash")  # the browser reads 3 and writes 4
    command = (*wired, CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
               "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank")  # fmt: skip
    process = subprocess.Popen(
        command, pass_fds=(theirs, theirs_too), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(theirs)
    os.close(theirs_too)
    made = Tab(writing, reading)
    try:
        page = next(t for t in made.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        session = made.ask("Target.attachToTarget", targetId=page["targetId"], flatten=True)
        made.session = session["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            made.ask(f"{domain}.enable")
        yield made
        made.session = None
        made.ask("Browser.close")
    finally:
        process.terminate()
        process.wait(timeout=180)
        os.close(writing)
        os.close(reading)
