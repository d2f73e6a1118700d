"""What the practice trainer prints: the trainer's own lines, on the trainer's own streams."""

from __future__ import annotations

import sys
import time

BANNER = "PRACTICE: this is kohya-runner's stand-in for the trainer. Nothing is trained."
_COLUMNS = 160
_CELLS = 10


def say(text: str) -> None:
    """A line of the script itself: accelerator.print, on stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def log(text: str, level: str = "INFO") -> None:
    """A log record as rich lays it out (library/utils.py:66): on stderr, in columns. The place says what prints it."""
    line = f"{time.strftime('%Y-%m-%d %H:%M:%S')} {level:<8} {text}"
    place = "PRACTICE.py:1"
    sys.stderr.write(f"{line:<{_COLUMNS - len(place) - 1}} {place}\n")
    sys.stderr.flush()


class Bar:
    """A bar as tqdm draws it where there is no terminal."""

    def __init__(self, total: int, label: str = "") -> None:
        """Draw it empty."""
        self._total = total
        self._label = f"{label}: " if label else ""
        self._started = time.monotonic()
        self.draw(0)

    def draw(self, done: int, postfix: str = "") -> None:
        """Draw it anew over the last one."""
        elapsed = time.monotonic() - self._started
        share = done / self._total if self._total else 1.0
        cells = "█" * int(share * _CELLS)
        left, rate = "?", "?it/s"
        if done:
            pace = elapsed / done
            left = _clock(pace * (self._total - done))
            rate = f"{pace:5.2f}s/it" if pace > 1 else f"{1 / max(pace, 1e-9):5.2f}it/s"
        after = f", {postfix}" if postfix else ""
        drawn = f"{share * 100:3.0f}%|{cells:<{_CELLS}}| {done}/{self._total} [{_clock(elapsed)}<{left}, {rate}{after}]"
        sys.stderr.write(f"\r{self._label}{drawn}")
        sys.stderr.flush()

    def close(self) -> None:
        """Leave it and begin a new line."""
        sys.stderr.write("\n")
        sys.stderr.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"
