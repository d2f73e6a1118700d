"""``stop``: now, after the step, or after the next save, whoever watches the run and on whichever machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kohya_runner.errors import UsageError
from kohya_runner.record import ledger
from kohya_runner.record.run_state import LIVE
from kohya_runner.run.run_status import StatusReader
from kohya_runner.run.stopping import stop_request
from kohya_runner.run.stopping.stop_sequence import Grace
from kohya_runner.run.takeover import adopt_run, stop_run
from kohya_runner.text import duration

if TYPE_CHECKING:
    from kohya_runner.record.ledger import RunView
    from kohya_runner.run.observers import AfterRun, Reporter
    from kohya_runner.run.run_status import RunStatus
    from kohya_runner.run.stopping.stop_request import When

LOOK_SECONDS = 0.25


def stop(view: RunView, when: When, screen: Reporter, after: AfterRun, *, wait: bool = True) -> RunView:
    """Stop a run; what it has become. Asking again while it has not stopped is harder.

    A runner on this machine that is to stop now gets the signal; any other wish is left in the run's folder. A run
    whose runner is gone is stopped by this process, which adopts it for the time until the moment has come.
    """
    watcher = StatusReader(view.path)
    look = watcher.look()
    if look.state not in LIVE or look.view.record is None:
        raise UsageError(f"run {view.run_id} is {look.state}", hint="there is nothing to stop")
    began = look.view.record.timings.started or 0.0
    before = stop_request.read(view.path)
    wanted = stop_request.harder(before if before and before.t >= began else None, when, time.time())
    if not look.elsewhere and (wanted.when == "now" or look.view.record.process is None):
        screen.event(f"stopping {view.name}/{view.run_id}, once a checkpoint being written is whole", lasting=True)
        return stop_run(look.view, Grace())
    screen.event(stop_request.told(stop_request.leave(view.path, wanted)), lasting=True)
    if look.state == "orphaned":
        adopt_run(look.view, screen, Grace(), after)
    elif wait:
        _wait(watcher, screen)
    return ledger.view(view.path)


def _wait(watcher: StatusReader, screen: Reporter) -> None:
    """Until the run has ended. Ctrl-C ends the waiting alone: the wish stays."""
    while (look := watcher.look()).state in LIVE:
        screen.event(_progress(look), lasting=False)
        time.sleep(LOOK_SECONDS)


def _progress(look: RunStatus) -> str:
    left = "" if look.seconds_left is None else f", the whole run has {duration(look.seconds_left)} left"
    return f"waiting: {look.phase}, step {look.step}/{look.total or '?'}{left}"
