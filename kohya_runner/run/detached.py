"""A runner that goes on without a terminal: in a session of its own, its talk in the run's folder.

What must be seen is done before: the plan is made and shown in the foreground. Then this process becomes two. The child
is the runner; the parent shows the child's talk until the trainer is there, or the launch has failed, and ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from kohya_runner.errors import CancelledError
from kohya_runner.record import ledger
from kohya_runner.record.metrics_file import Tail
from kohya_runner.record.record import Record
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.safe_files import open_for_write

_POLL = 0.1
_HELD = frozenset({signal.SIGHUP, signal.SIGINT})


def fork_runner() -> int:
    """Become two processes: 0 in the child, which has no terminal any more, the child's pid in the parent.

    Until ``redirect_output`` the child prints where its parent prints. It ignores SIGHUP. Ctrl-C reaches the parent
    only once it follows the child and knows what to do about it.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    # between the fork and the new session a hang-up or a Ctrl-C would hit the child, too
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - no path of ours
            os.dup2(nothing.fileno(), 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
    return child


def redirect_output(run_dir: Path) -> None:
    """From now on everything that this process prints goes to the run's folder."""
    handle = open_for_write(RunPaths(run_dir).runner_log, os.O_APPEND)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def follow(child: int, run_dir: Path, say: Callable[[str], None]) -> tuple[int, Record | None]:
    """Show the child's talk until the trainer is there and the run is this child's, or the child has ended.

    0 and the record as it stands, or the exit code of the child.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
    log = RunPaths(run_dir).runner_log
    talk = Tail(log, log.stat().st_size if log.is_file() else 0)  # what is in it already is old
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if pid else None
        found = ledger.view(run_dir).record
        found = found if found and found.runner and found.runner.pid == child else None
        for line in talk.lines():
            say(line.decode("utf-8", "replace"))
        if code is not None:
            return (code if code >= 0 else 128 - code), found
        if found and found.process:
            return 0, found
        time.sleep(_POLL)


def follow_launch(child: int, run_dir: Path, say: Callable[[str], None]) -> tuple[int, Record | None]:
    """The same for a launch that Ctrl-C takes back: the child ends, too. A hang-up ends this process alone."""
    try:
        return follow(child, run_dir, say)
    except KeyboardInterrupt:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGINT)
        os.waitpid(child, 0)
        raise CancelledError("stopped by Ctrl-C") from None
