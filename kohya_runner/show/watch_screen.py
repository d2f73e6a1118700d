"""The full screen of ``watch``, redrawn a few times a second; beside console.py the only importer of rich."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from kohya_runner.record.record import LIVE
from kohya_runner.run.run_status import RunStatus, StatusReader
from kohya_runner.show import watch_lines
from kohya_runner.show.watch_lines import Line

STYLES = {"plain": "", "bold": "bold", "soft": "dim", "good": "green", "warning": "yellow", "error": "bold red",
          "curve": "cyan"}  # fmt: skip
LOOK_SECONDS = 0.5
LEAVE = frozenset({"q", "Q", "\x03", "\x1b"})


def watch(watcher: StatusReader, where: str = "") -> RunStatus:
    """Show the run until it has ended or the person leaves; the last look at it."""
    console = Console(highlight=False, markup=False, emoji=False)
    look = watcher.look()
    with _keys() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:
        while look.state in LIVE or look.state == "silent":
            width, height = console.size
            drawn = (_text(line, width) for line in watch_lines.screen(look, width, height))
            live.update(Group(*drawn), refresh=True)
            if _left(keyboard):
                break
            look = watcher.look()
    for line in watch_lines.farewell(look, where):
        console.print(_text(line, console.width), end="")
    return look


def _text(line: Line, width: int) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis", end="")
    for style, piece in line:
        text.append(piece, style=STYLES[style])
    text.truncate(width, overflow="ellipsis")
    text.append("\n")
    return text


def _left(keyboard: int | None) -> bool:
    """Wait for a moment, or for a key; whether it was one that leaves."""
    waiting = [keyboard] if keyboard is not None else []
    ready, _, _ = select.select(waiting, [], [], LOOK_SECONDS)
    return bool(ready) and os.read(ready[0], 64).decode("utf-8", "replace")[:1] in (*LEAVE, "")


@contextlib.contextmanager
def _keys() -> Iterator[int | None]:
    """The keyboard, key by key; None where there is none."""
    if not sys.stdin.isatty():
        yield None
        return
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle)
        yield handle
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
