"""``remote.json`` in a run's folder: a recipe on another machine, found again by any later command."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pydantic import ValidationError

from kohya_runner.errors import RemoteError
from kohya_runner.record import ledger
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.remote.place import Stay
from kohya_runner.safe_files import PRIVATE, locked_now, status, write_text


def read(run_dir: Path) -> Stay | None:
    """The stay of a run; None for a run of this machine.

    Raises ``RemoteError``: the file cannot be understood. It may be all that knows of a machine that is paid for.
    """
    file = RunPaths(run_dir).remote
    try:
        return Stay.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as fault:
        hint = "it was written by hand or by another version; see what is billed with: kohya-runner runs --remote"
        raise RemoteError(f"{file}: cannot be read: {str(fault).splitlines()[0]}", hint=hint) from None


def write(run_dir: Path, stay: Stay) -> None:
    write_text(RunPaths(run_dir).remote, stay.model_dump_json(indent=2) + "\n", PRIVATE)


def folders(runs: Path) -> tuple[Path, ...]:
    """The folders of all runs of a workspace that are, or were, on another machine, the oldest first."""
    found = [path for path in ledger.folders(runs) if os.path.isfile(RunPaths(path).remote)]
    dated = [(there.st_mtime if (there := status(RunPaths(path).remote_job)) else 0.0, path) for path in found]
    return tuple(path for _, path in sorted(dated))


def held(run_dir: Path) -> contextlib.AbstractContextManager[bool]:
    """Whether this process alone may change the stay; False where another one is at it."""
    return locked_now(RunPaths(run_dir).remote_lock)
