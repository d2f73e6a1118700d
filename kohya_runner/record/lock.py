"""``runs/<name>/active``: one run of a name at a time."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from kohya_runner.errors import RunExistsError
from kohya_runner.record.process_identity import ProcessId, this_process
from kohya_runner.record.run_paths import ACTIVE, ACTIVE_GUARD
from kohya_runner.safe_files import locked, status, write_json

_HALF_WRITTEN = 10.0
"""Seconds that a lock without content is believed: its owner may be between creating and filling it."""


@dataclass(frozen=True, slots=True)
class Lock:
    """Who holds a name: the runner first and, once it is started, the trainer. Either keeps it held."""

    run_id: str
    owners: tuple[ProcessId, ...]

    def live(self) -> ProcessId | None:
        """An owner that is alive, None for a lock left behind."""
        return next((owner for owner in self.owners if owner.alive()), None)


def take(folder: Path, run_id: str) -> None:
    """Hold the name for this process; ``RunExistsError`` where a live process holds it.

    A lock left behind is taken over, and so is that of the same run when its trainer lives and its runner does not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = Lock(run_id, (this_process(),))
    with locked(folder / ACTIVE_GUARD):
        if _created(folder / ACTIVE, lock):
            return
        held = read(folder)
        made = status(folder / ACTIVE)
        young = made and abs(time.time() - made.st_mtime) < _HALF_WRITTEN  # one dated in the future is as old
        if held is None and young:
            raise RunExistsError(f"{folder.name}: another launch is starting", hint="try again in a few seconds")
        owner = held.live() if held else None
        if held and owner and (held.run_id != run_id or owner == held.owners[0]):
            what = f"{folder.name}: run {held.run_id} is still running (process {owner.pid})"
            hint = f"watch it with: kohya-runner status {folder.name}; end it with: kohya-runner stop {folder.name}"
            raise RunExistsError(what, hint=hint)
        write_json(folder / ACTIVE, asdict(Lock(run_id, (*lock.owners, *((owner,) if owner else ())))))


@contextlib.contextmanager
def held(folder: Path, holder: str, goes_on: str, hint: str) -> Iterator[None]:
    """Hold a folder for the block; ``RunExistsError`` with ``goes_on`` and the process that holds it."""
    try:
        take(folder, holder)
    except RunExistsError:
        owner = kept.live() if (kept := read(folder)) else None
        raise RunExistsError(f"{goes_on} (process {owner.pid if owner else 'not known'})", hint=hint) from None
    try:
        yield
    finally:
        release(folder, holder)


def add_owner(folder: Path, run_id: str, owner: ProcessId) -> None:
    """Let the trainer hold the name, too: it may outlive its runner."""
    with locked(folder / ACTIVE_GUARD):
        held = read(folder)
        if held and held.run_id == run_id:
            write_json(folder / ACTIVE, asdict(Lock(run_id, (*held.owners, owner))))


def release(folder: Path, run_id: str) -> None:
    """Release the name if this run holds it; what a disk that takes no writes keeps, holds for nobody soon."""
    with contextlib.suppress(OSError), locked(folder / ACTIVE_GUARD):
        held = read(folder)
        if held and held.run_id == run_id:
            (folder / ACTIVE).unlink(missing_ok=True)


def read(folder: Path) -> Lock | None:
    """Who holds the name; None: nobody, or the file cannot be understood."""
    try:
        value = json.loads((folder / ACTIVE).read_bytes())
        owners = tuple(ProcessId(int(o["pid"]), int(o["started"]), str(o["boot_id"])) for o in value["owners"])
        return Lock(str(value["run_id"]), owners)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _created(path: Path, lock: Lock) -> bool:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return False
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(asdict(lock), file)
    except BaseException:  # a full disk, Ctrl-C: an empty lock would hold the name for nobody
        path.unlink(missing_ok=True)
        raise
    return True
