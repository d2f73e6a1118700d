"""Asking a run to stop: ``stop.json``, which its runner looks for, and the signals that a watching runner notes.

The runner looks at every tick. When the moment has come it sends itself SIGTERM, so that there is one way only in which
a run is stopped: the sequence of signals, which never cuts a checkpoint.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal, get_args

from kohya_runner.diagnosis.events import CheckpointStarted, Epoch, Event, Finished, Phase, Step
from kohya_runner.diagnosis.progress import SAVING, TRAINING
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.safe_files import status, write_json

if TYPE_CHECKING:
    from kohya_runner.run.recorder import Recorder

When = Literal["after-save", "after-step", "now"]  # from the most patient to the hardest
ORDER: tuple[When, ...] = get_args(When)
SAVES = (SAVING, "saving the state")


@dataclass(frozen=True, slots=True)
class StopRequest:
    """When to stop which attempt. ``asks`` counts how often *now* was requested; ``t`` is the last request's time."""

    when: When
    asks: int = 1
    t: float = 0.0
    attempt: int = 1


def read(run_dir: Path) -> StopRequest | None:
    """The request for a run. None: there is none, or the file cannot be understood."""
    try:
        value: Any = json.loads(RunPaths(run_dir).stop_request.read_bytes())
        when = next((one for one in ORDER if one == value["when"]), None)
        return StopRequest(when, int(value["asks"]), float(value["t"]), int(value["attempt"])) if when else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write(run_dir: Path, request: StopRequest) -> StopRequest:
    write_json(RunPaths(run_dir).stop_request, {"version": 1, **asdict(request)})
    return request


def escalated(before: StopRequest | None, when: When, now: float, attempt: int) -> StopRequest:
    """What a second request makes of the first: the harder of the two; the same one again becomes *now*."""
    if before is None or before.attempt != attempt:
        return StopRequest(when, 1, now, attempt)
    if before.when == "now":
        return StopRequest("now", before.asks + 1, now, attempt)
    return StopRequest(when if ORDER.index(when) > ORDER.index(before.when) else "now", 1, now, attempt)


class StopRequests:
    """An observer that carries them out; a request for another attempt is none."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._stamp = (0, 0)
        self._request: StopRequest | None = None
        self._phase = ""
        self._saves = self._steps = self._step = 0
        self._from = (0, 0, False)
        self._sent = 0

    def event(self, event: Event) -> None:
        saving = self._phase in SAVES
        match event:
            case Step() if event.step not in (0, self._step):  # the bar of a step is drawn twice
                self._step = event.step
                self._steps += 1
            case Phase():
                self._saves += saving and event.name not in SAVES
                self._phase = event.name
            case Epoch() | Finished() if saving:
                self._saves += 1
                self._phase = TRAINING
            case CheckpointStarted():
                self._phase = SAVING
            case _:
                pass

    def tick(self) -> None:
        """Send the signal if its moment has come."""
        self._look()
        request = self._request
        if request is None or not self._is_due(request):
            return
        while self._sent < request.asks:
            self._sent += 1
            os.kill(os.getpid(), signal.SIGTERM)

    def _look(self) -> None:
        there = status(RunPaths(self._recorder.run_dir).stop_request)
        if there is None or (there.st_mtime_ns, there.st_ino) == self._stamp:
            return
        self._stamp = (there.st_mtime_ns, there.st_ino)
        found = read(self._recorder.run_dir)
        if found and found.attempt == self._recorder.now.attempt:
            if self._request is None or found.when != self._request.when:
                self._from = (self._steps, self._saves, self._phase == TRAINING)
            self._request = found

    def _is_due(self, request: StopRequest) -> bool:
        steps, saves, training = self._from
        match request.when:
            case "after-step":
                return not training or self._steps > steps
            case "after-save":
                return self._saves > saves
            case "now":
                return True


def described(request: StopRequest) -> str:
    """The request, for a person."""
    words = {"after-save": "after the next save", "after-step": "after the step", "now": "now"}
    return f"stop requested at {time.strftime('%H:%M:%S', time.localtime(request.t))}: {words[request.when]}"


STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """The signals that came so far; one that was ignored before (nohup) stays without effect."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    @property
    def first(self) -> str:
        """The name of the first one, "" for none."""
        return signal.Signals(self.numbers[0]).name if self.numbers else ""


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Note each of ``STOPS`` in the block.

    It must be entered before the trainer is started: an ignored signal stays ignored in a child, a handled one is back
    at its default there. Outside the main thread Python allows no handlers and nothing is noted.
    """
    signals, before = StopSignals(), {}

    def heard(number: int, _frame: FrameType | None) -> None:
        signals.numbers.append(number)

    for number in STOPS if threading.current_thread() is threading.main_thread() else ():
        ignored = signal.getsignal(number) is signal.SIG_IGN  # a handler of Python's own is not inherited
        before[number] = signal.signal(number, (lambda *_: None) if ignored else heard)
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
