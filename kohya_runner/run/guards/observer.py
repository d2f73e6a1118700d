"""The observer that guards a run: looks at disk and memory now and then, and does what the table of guards says."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from kohya_runner.diagnosis.events import Event
from kohya_runner.machine.filesystems import used_bytes
from kohya_runner.machine.host import available, free_bytes
from kohya_runner.run.checkpoints import FRESH, LAST_OF_STATE
from kohya_runner.run.guards.state import GuardState, Readings, StateFolder, after_event, after_readings
from kohya_runner.run.guards.table import Prune, Warn, decide
from kohya_runner.run.observers import Reporter, Stop
from kohya_runner.run.recorder import Recorder

LOOK_SECONDS = 2.0
STATE = re.compile(r".*-state|checkpoint-\d+")
"""The state folders of sd-scripts (library/checkpoint_io.py:80), of musubi-tuner, and of diffusers' examples."""
MEASURE_SECONDS = 1.0


class GuardObserver:
    """Guards one run by the policy in its record."""

    def __init__(self, recorder: Recorder, screen: Reporter, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` never goes back, and stands still while the machine sleeps."""
        self._recorder = recorder
        self._screen = screen
        self._clock = clock
        guard = recorder.now.guard
        now = clock()
        self._state = GuardState(policy=guard.policy, now=now, since=now, save_bytes=guard.save_bytes)
        self._looked = 0.0
        self._told: set[str] = {note.code for note in recorder.now.notes}
        self._stopped = False

    def event(self, event: Event) -> None:
        """Take in what the trainer said."""
        self._state = after_event(self._state, event, self._clock())

    def tick(self) -> Stop | None:
        """Decide; the first stop is the only one."""
        now = self._clock()
        self._state = replace(self._state, now=now, checkpoints=self._recorder.now.checkpoints)
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._state = after_readings(self._state, look(self._recorder), now)
        if self._stopped:
            return None
        for verdict in decide(self._state):
            match verdict:
                case Stop():
                    self._stopped = True
                    return verdict
                case Warn():
                    if verdict.code not in self._told:
                        self._told.add(verdict.code)
                        self._tell(verdict.code, verdict.text)
                case Prune():
                    self._prune(verdict)
        return None

    def _tell(self, code: str, text: str) -> None:
        self._recorder.note(code, text)
        self._screen.event(f"WARNING {code}: {text}", lasting=True)

    def _prune(self, verdict: Prune) -> None:
        """Only state folders that lie in the output folder itself, whatever the decision says."""
        output = self._recorder.run_dir / self._recorder.now.output_dir
        self._tell(verdict.code, verdict.text)
        for folder in verdict.folders:
            if folder.parent == output and STATE.fullmatch(folder.name) and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)
        self._state = replace(self._state, short=0)


def look(recorder: Recorder) -> Readings:
    """Disk and memory as they are now."""
    run_dir, record = recorder.run_dir, recorder.now
    output = run_dir / record.output_dir
    states, free, at_start = _states(output), free_bytes(run_dir), record.guard.quota_free
    if (
        at_start is not None
    ):  # the file system's number is that of a whole cluster: what there was, less what is written
        used = used_bytes(run_dir, time.monotonic() + MEASURE_SECONDS, time.monotonic)
        free = None if used is None else max(0, at_start - used)
    return Readings(
        log=_size(run_dir / record.log),
        output=_tree_size(output),
        free=free,
        # by what the record knows: opening every header again at every look would cost more than all the rest
        writing=any(not c.complete and not c.removed for c in record.checkpoints)
        or any(not state.complete and time.time() - state.written < FRESH for state in states),
        states=states,
        memory=available(),
    )


def _states(output: Path) -> tuple[StateFolder, ...]:
    found: list[StateFolder] = []
    with contextlib.suppress(OSError):
        for path in output.iterdir():
            with contextlib.suppress(OSError):
                status = path.lstat()
                if STATE.fullmatch(path.name) and path.is_dir() and not path.is_symlink():
                    complete = any(path.glob(f"{LAST_OF_STATE}*"))
                    found.append(StateFolder(path, status.st_mtime, _tree_size(path), complete))
    return tuple(found)


def _tree_size(folder: Path) -> int:
    """Bytes of the files in a folder and in the folders in it."""
    total = 0
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            total += _size(path) if not path.is_dir() else sum(_size(inner) for inner in path.iterdir())
    return total


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
