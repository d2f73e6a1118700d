"""The signals that ask the runner to stop, noted instead of obeyed while a run is watched."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kohya_runner.errors import TerminatedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """The signals that came since ``install``; one that was ignored before (nohup) stays without effect."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.numbers: list[int] = []
        self._before: dict[int, signal._HANDLER] = {}

    def install(self) -> None:
        """Take the signals over."""
        if threading.current_thread() is threading.main_thread():
            for number in STOPS:
                ignored = signal.getsignal(number) is signal.SIG_IGN
                self._before[number] = signal.signal(number, _unheard if ignored else self._note)

    def restore(self) -> None:
        """What was there before is there again."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def first(self) -> str:
        """The name of the first one, "" for none."""
        return signal.Signals(self.numbers[0]).name if self.numbers else ""

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.numbers.append(number)


def raise_on_stop() -> None:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does: with an exception, so that everything is cleaned up.

    For the time before a trainer is there and after it is gone; ``stop_signals`` takes over in between.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise TerminatedError(f"stopped by {signal.Signals(number).name}")

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, stop)


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Note each of ``STOPS`` in the block.

    It must be entered before the trainer is started: an ignored signal stays ignored in a child, a handled one is back
    at its default there. Outside the main thread Python allows no handlers and nothing is noted.
    """
    signals = StopSignals()
    signals.install()
    try:
        yield signals
    finally:
        signals.restore()


def _unheard(_number: int, _frame: FrameType | None) -> None:
    """A handler of Python's own, unlike SIG_IGN, is not inherited."""
