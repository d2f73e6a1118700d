"""``remote.json`` in a run's folder: a recipe on another machine, found again by any later command."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from pathlib import Path

from pydantic import ValidationError

from kohya_runner.errors import RemoteError
from kohya_runner.record import ledger
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.remote.place import Stay
from kohya_runner.safe_files import PRIVATE, locked_now, status, write_bytes, write_text
from kohya_runner.settings import settings_file


def read(run_dir: Path) -> Stay | None:
    """The stay of a run; None for a run of this machine.

    Raises ``RemoteError``: the file cannot be understood, or was written by somebody else. It may be all that knows of
    a machine that is paid for.
    """
    file = RunPaths(run_dir).remote
    try:
        stay = Stay.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as fault:
        hint = "it was written by hand or by another version; see what is billed with: kohya-runner runs --remote"
        raise RemoteError(f"{file}: cannot be read: {str(fault).splitlines()[0]}", hint=hint) from None
    if not hmac.compare_digest(stay.seal.encode(), _seal(stay).encode()):
        hint = "it is somebody else's run, or went out with another stays.key than the one beside your settings"
        raise RemoteError(f"{file}: was not written by this user's kohya-runner on this machine", hint=hint)
    return stay.changed(seal="")


def write(run_dir: Path, stay: Stay) -> None:
    sealed = stay.changed(seal=_seal(stay))
    write_text(RunPaths(run_dir).remote, sealed.model_dump_json(indent=2) + "\n", PRIVATE)


def _seal(stay: Stay) -> str:
    """A stay says what is stopped, ended and deleted; a run's folder may come from a stranger, who lacks the key."""
    file = settings_file(os.environ).with_name("stays.key")
    if not file.exists():
        new = file.with_name(f".{file.name}.{os.getpid()}")
        new.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(new, secrets.token_bytes(32), PRIVATE)
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(new, file)
        new.unlink()
    return hmac.new(file.read_bytes(), stay.model_dump_json(exclude={"seal"}).encode(), "sha256").hexdigest()


def folders(runs: Path) -> tuple[Path, ...]:
    """The folders of all runs of a workspace that are, or were, on another machine, the oldest first."""
    found = [path for path in ledger.folders(runs) if os.path.isfile(RunPaths(path).remote)]
    dated = [(there.st_mtime if (there := status(RunPaths(path).remote_job)) else 0.0, path) for path in found]
    return tuple(path for _, path in sorted(dated))


def held(run_dir: Path) -> contextlib.AbstractContextManager[bool]:
    """Whether this process alone may change the stay; False where another one is at it."""
    return locked_now(RunPaths(run_dir).remote_lock)
