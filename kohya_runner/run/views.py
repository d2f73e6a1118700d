"""``runs``, ``status``, ``stop`` and ``logs``: find a run, judge one that ended unwatched, follow it, stop it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from kohya_runner import workspace as workspaces
from kohya_runner.engines.table import user_settings
from kohya_runner.errors import TrainingFailedError, UsageError
from kohya_runner.record import ledger
from kohya_runner.record.ledger import RunView
from kohya_runner.record.metrics_file import Tail, last_lines
from kohya_runner.record.process_identity import state_of
from kohya_runner.record.record import LIVE, UNDER_WAY, ended_as
from kohya_runner.run import stop_request
from kohya_runner.run.observers import AfterRun, Reporter
from kohya_runner.run.run_status import StatusReader
from kohya_runner.run.stop_request import When
from kohya_runner.run.stop_sequence import Grace
from kohya_runner.run.takeover import FROZEN, Pulse, adopt_run, judge_ended, stop_run
from kohya_runner.safe_files import readable
from kohya_runner.text import duration

FOLLOW_SECONDS = 0.5
LOOK_SECONDS = 0.25


def workspace(named: str | None) -> workspaces.Workspace:
    """The one of the command line, else that of the settings."""
    settings = user_settings(os.environ).workspace
    return workspaces.choose(named, str(settings) if settings else None, os.environ, Path.cwd())


def runs_folder(named: str | None) -> Path:
    return workspace(named).runs


def all_runs(named: str | None) -> tuple[RunView, ...]:
    return ledger.runs(runs_folder(named))


def one_run(named: str | None, word: str | None) -> RunView:
    """The run a person means; one that ended while nobody watched is judged and written down now.

    A run that another machine watches, on a volume that both share, is left to that machine; one on a disk that takes
    no writes is told as it is.
    """
    view = ledger.find(runs_folder(named), word)
    look = StatusReader(view.path).look()
    if look.elsewhere and look.state in UNDER_WAY:
        return replace(view, state=look.view.record.state if look.view.record else view.state)
    try:
        return judge_ended(view)
    except OSError:
        return view


def take_over(view: RunView, screen: Reporter, after: AfterRun) -> RunView:
    """Go on watching a trainer whose runner was killed, to its end."""
    adopt_run(view, screen, Grace(), after)
    return ledger.view(view.path)


def exit_code(view: RunView) -> int:
    """0 for a run that goes on or succeeded, else the code of how it ended."""
    if view.record is None or view.state == "lost":
        return UsageError.exit_code if view.record is None else TrainingFailedError.exit_code
    ended = ended_as(view.record)
    return ended.exit_code if ended else 0


def log_lines(view: RunView, count: int, *, follow: bool) -> Iterator[str]:
    """The last lines of the trainer's log, then, if asked for, the new ones as they come."""
    log = readable(view.log)
    if view.record is None and not log.is_file():
        raise UsageError(f"{view.problem}, and there is no {log.name} beside it")
    if view.state not in LIVE and not log.is_file():
        raise UsageError(f"{log}: there is no log", hint=view.problem)
    tail, rest = Tail(log, log.stat().st_size if log.is_file() else 0), b""
    yield from last_lines(log, count)
    while follow:
        follow = ledger.view(view.path).state in LIVE  # what came before its end is still told
        if follow:
            time.sleep(FOLLOW_SECONDS)
        data = rest + b"".join(tail.read())
        whole = data[: max(data.rfind(b"\n"), data.rfind(b"\r")) + 1]
        rest = data[len(whole) :]
        yield from (line.rpartition("\r")[2] for line in whole.decode("utf-8", "replace").splitlines() if line.strip())


def stop(view: RunView, when: When, screen: Reporter, after: AfterRun, *, wait: bool = True) -> RunView:
    """Stop a run; returns the run as it then is. A second request is harder than the first.

    A runner on this machine that is to stop now gets a signal; every other request is written into the run's folder.
    A run whose runner is gone is adopted by this process until the moment to stop has come.
    """
    watcher = StatusReader(view.path)
    look = watcher.look()
    if look.state not in LIVE or look.view.record is None:
        raise UsageError(f"run {view.run_id} is {look.state}", hint="there is nothing to stop")
    before, runner = stop_request.read(view.path), look.view.runner
    wanted = stop_request.escalated(before, when, time.time(), look.view.record.attempt)
    frozen = runner is not None and runner.alive() and state_of(runner.pid) in FROZEN
    if frozen and not look.elsewhere:
        screen.event(f"its runner (process {runner.pid if runner else '?'}) is frozen: stopping past it", lasting=True)
    if not look.elsewhere and (frozen or wanted.when == "now" or look.view.record.process is None):
        screen.event(
            f"stopping {view.name}/{view.run_id}; a checkpoint that is being written is finished first", lasting=True
        )
        with contextlib.suppress(OSError):  # the signal stops it; the file says that a person wanted that
            stop_request.write(view.path, replace(wanted, when="now", asks=0))
        return stop_run(look.view, Grace())
    screen.event(stop_request.described(stop_request.write(view.path, wanted)), lasting=True)
    if look.state == "orphaned":
        adopt_run(look.view, screen, Grace(), after)
    elif wait and _waited(watcher, screen, Pulse(look.view)):
        screen.event("its runner does not answer: stopping past it", lasting=True)
        return stop_run(ledger.view(view.path), Grace())
    return ledger.view(view.path)


def _waited(watcher: StatusReader, screen: Reporter, pulse: Pulse) -> bool:
    """Until the run has ended; True: its runner hangs. Ctrl-C ends only the waiting: the stop request stays."""
    while (look := watcher.look()).state in LIVE:
        if pulse.stuck():
            return True
        left = "" if look.seconds_left is None else f", the whole run has {duration(look.seconds_left)} left"
        screen.event(f"waiting: {look.phase}, step {look.step}/{look.total or '?'}{left}", lasting=False)
        time.sleep(LOOK_SECONDS)
    return False
