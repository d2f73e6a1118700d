"""``kohya-runner diagnose``: why a training failed, from its log."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from kohya_runner.commands import remote
from kohya_runner.diagnosis.diagnose import Diagnosis, lines, of_run
from kohya_runner.diagnosis.diagnose import diagnose as of_log
from kohya_runner.diagnosis.lines import read_log
from kohya_runner.errors import UsageError
from kohya_runner.record.record import LIVE
from kohya_runner.run import views
from kohya_runner.show import console

UNEXPLAINED = 8


@click.command()
@click.argument("what", metavar="LOGFILE|RUN|-", required=False)
@click.option("--workspace", metavar="DIR", help="Where caches, datasets, models and runs live.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, nothing else.")
def diagnose(what: str | None, workspace: str | None, as_json: bool) -> int:  # noqa: FBT001
    """Why did it fail? Reads any log of sd-scripts, kohya_ss's too; - is stdin, a name is a run (default: the latest).

    Exit code 0: a cause was found, or the log shows no failure to explain. 8: it failed, and no known cause fits.
    """
    found, name, goes_on = _found(what, workspace)
    if as_json:
        console.json_object({"version": 1, "ok": found.understood, "log": name, **found.as_json()})
    else:
        for number, line in enumerate(lines(found)):
            console.say(line, bold=number == 0, fg="red" if number == 0 and found.outcome == "failed" else None)
    return 0 if found.understood or goes_on else UNEXPLAINED


def _found(what: str | None, workspace: str | None) -> tuple[Diagnosis, str, bool]:
    """The diagnosis and the name of what was read (stdin, a file, else a run), and whether the run is still going."""
    if what == "-":
        return of_log(read_log(sys.stdin.buffer)), "-", False
    if what and os.path.isfile(what):
        with Path(what).open("rb") as file:
            return of_log(read_log(file)), what, False
    if what and "\0" in what:
        raise UsageError("a name cannot hold a zero byte")
    remote.refresh(workspace, what)
    view = views.one_run(workspace, what)
    if view.record is None:
        raise UsageError(f"{view.path}: {view.problem}")
    if not view.log.is_file():
        raise UsageError(f"{view.log}: there is no log", hint=view.problem)
    return of_run(view.path, view.record), str(view.log), view.state in LIVE
