"""The live page of a run as parts: what each shows now, and which of them have changed since somebody looked."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from kohya_runner import __version__
from kohya_runner.record.record import LIVE
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.run.run_status import RunStatus
from kohya_runner.safe_files import status
from kohya_runner.show import watch_lines
from kohya_runner.show.run_page import checkpoint_row, loss_charts, sample_files
from kohya_runner.text import plain, printable, size, template

PAGE = Path(__file__).with_name("live_page.html.j2")
PARTS = ("head", "progress", "loss", "samples", "checkpoints", "findings", "log")
SAMPLES, CHECKPOINTS, LINES = 24, 12, 8  # the latest: what a phone can show
SLOW = ("loss", "log")
SLOW_SECONDS = 10.0  # A curve is the largest part by far: it need not be sent for each step


class LivePage:
    """What the viewers see. ``show`` is called by one thread, all else by one thread for each viewer."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.viewers = 0
        self._look: RunStatus | None = None
        self._parts: dict[str, tuple[int, str]] = dict.fromkeys(PARTS, (0, ""))
        self._version = 0
        self._slow = -SLOW_SECONDS
        self._changed = threading.Condition()

    @cached_property
    def _macros(self) -> Any:
        return template(PAGE.with_name("live_parts.html.j2")).module

    def show(self, look: RunStatus) -> None:
        """This is how the run stands. Without viewers nothing is drawn."""
        with self._changed:
            self._look = look
            if self.viewers and self._drawn():
                self._changed.notify_all()

    def _drawn(self) -> bool:
        """Whether anything has changed."""
        look, now = self._look, time.monotonic()
        if look is None:
            return False
        due = look.state not in LIVE or now - self._slow >= SLOW_SECONDS
        facts, before = _facts(look, chart=due), self._version
        for name in PARTS if due else (part for part in PARTS if part not in SLOW):
            html = printable(str(getattr(self._macros, name)(facts)))
            if html != self._parts[name][1]:
                self._parts[name] = (before + 1, html)
                self._version = before + 1
        self._slow = now if due else self._slow
        return self._version > before

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        with self._changed:
            self.viewers += 1
        try:
            yield
        finally:
            with self._changed:
                self.viewers -= 1

    def html(self, nonce: str) -> str:
        """The whole page as it stands; its script asks for what comes after."""
        from markupsafe import Markup

        with self._changed:
            self._drawn()
            sections = {name: Markup(html) for name, (_, html) in self._parts.items()}  # noqa: S704 - escaped when drawn
            name = f"{self.run_dir.parent.name}/{self.run_dir.name}"
            page = template(PAGE).render(
                name=name, nonce=nonce, sections=sections, version=__version__, version_now=self._version,
                told=self._told(),
            )  # fmt: skip
        return printable(page)

    def changes(self, since: int, seconds: float) -> tuple[int, str]:
        """What has changed since a version, as JSON, waited for at most so long; the version it is now."""
        with self._changed:
            self._changed.wait_for(lambda: self._version != since, seconds)
            anew = since > self._version  # of another server before this one
            parts = {name: html for name, (version, html) in self._parts.items() if anew or version > since}
            told = {**self._told(), "version": self._version, "parts": parts}
            return self._version, json.dumps(told)

    def _told(self) -> Mapping[str, Any]:
        look = self._look
        if look is None:
            return {"live": False, "stop": None, "title": self.run_dir.parent.name, "t": time.time()}
        done = f"{_percent(look)} % " if look.state in LIVE else f"{look.state}: "
        stop = look.stop_request
        return {"live": look.state in LIVE, "stop": stop.when if stop else None, "t": look.now,
                "title": printable(f"{done}{look.view.name}")}  # fmt: skip


def _percent(look: RunStatus) -> int:
    return min(100, int(100 * look.step / look.total)) if look.total else 0


def _facts(look: RunStatus, *, chart: bool) -> Mapping[str, Any]:
    record, files = look.view.record, sample_files(RunPaths(look.view.path).samples)
    rows = {
        "loss": watch_lines.loss(look).removeprefix("loss "), "speed": watch_lines.speed(look),
        "time": watch_lines.times(look), "cost": watch_lines.money(look),
        "free": "" if look.free_bytes is None or look.state not in LIVE else size(look.free_bytes),
    }  # fmt: skip
    kept = record.checkpoints[-CHECKPOINTS:] if record else ()
    return {
        "name": f"{look.view.name}/{look.view.run_id}", "practice": bool(record and record.practice),
        "state": look.state, "elsewhere": " on another machine" if look.elsewhere else "",
        "phase": watch_lines.phase(look), "notes": tuple(_notes(look)), "percent": _percent(look), "step": look.step,
        "total": look.total, "epoch": look.epoch, "epochs": record.epochs_planned if record else None,
        "rows": [(label, text) for label, text in rows.items() if text],
        "charts": loss_charts(look.metrics, record)[1:] if record and chart else (),
        "samples": [path.name for path in files[: -SAMPLES - 1 : -1]], "left_out": max(0, len(files) - SAMPLES),
        "checkpoints": [checkpoint_row(one) for one in reversed(kept)], "findings": tuple(_findings(look)),
        "log": [plain(line) for line in look.lines[-LINES:]],
    }  # fmt: skip


def _notes(look: RunStatus) -> Iterator[tuple[str, str]]:
    """(severity, text) of what a person should know now."""
    if look.state in ("orphaned", "lost"):
        paths = RunPaths(look.view.path)
        seen = [there.st_mtime for path in (paths.record, paths.metrics) if (there := status(path))]
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(max(seen))) if seen else "a time that is not known"
        yield "error", f"the runner is gone since {since}"
    for line in watch_lines.notes(look):
        yield line[0]


def _findings(look: RunStatus) -> Iterator[Mapping[str, Any]]:
    """What the guards saw, then the warnings from before the launch."""
    record = look.view.record
    for note in record.notes if record else ():
        yield {"severity": "warning", "code": note.code, "message": note.text, "hint": ""}
    for found in record.findings if record else ():
        if found.get("severity") in watch_lines.SEVERITIES:
            yield {key: str(found.get(key) or "") for key in ("severity", "code", "message", "hint")}
