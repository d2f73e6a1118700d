"""One sweep at a time in a comparison's folder, held as ``runs/<name>`` is (``kohya_runner.record.lock``)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from kohya_runner.errors import RunExistsError
from kohya_runner.record import lock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLDER = "compare"


@contextlib.contextmanager
def held(output: Path) -> Iterator[None]:
    """Keep other sweeps out of the folder; what a killed one left behind keeps nobody out.

    Raises:
        RunExistsError: a living sweep paints there; the message names its process.
    """
    try:
        lock.take(output, HOLDER)
    except RunExistsError as fault:
        raise _taken(output, fault) from None
    try:
        yield
    finally:
        lock.release(output, HOLDER)


def _taken(output: Path, fault: RunExistsError) -> RunExistsError:
    found = lock.read(output)
    owner = found.live() if found else None
    if owner is None:
        return fault
    what = f"{output}: another sweep is painting there (process {owner.pid})"
    return RunExistsError(what, hint="wait until it has ended, or name another folder with --output")
