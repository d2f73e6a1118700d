"""What ``launch --rehearse`` shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from kohya_runner.errors import UsageError

if TYPE_CHECKING:
    from kohya_runner.run.rehearsal.rehearse import Rehearsal


def only_one_of(*, go: bool, resume: bool) -> None:
    """Refuse options of ``launch`` that make no sense together."""
    if go:
        raise UsageError("--go goes with --rehearse", hint="add --rehearse, or leave --go out")
    if resume:
        hint = "a run that goes on was measured already; leave one of them out"
        raise UsageError("--resume does not go with --rehearse", hint=hint)


def rehearsed(made: Any, *, as_json: bool, quiet: bool) -> Any:
    """Run the rehearsal of a plan, watched, and show what it measured; the rehearsal."""
    from kohya_runner.finish.after import AFTER_RUN
    from kohya_runner.run.rehearsal.rehearse import rehearse
    from kohya_runner.show import console

    with console.live(quiet=quiet, practice=made.request.practice) as screen:
        found = rehearse(made, screen, AFTER_RUN)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=2, ensure_ascii=False))
    elif not quiet:
        _show(found)
    return found


def _show(found: Rehearsal) -> None:
    click.echo()
    for label, text in found.rows():
        click.echo(f"{label:<12}{text}")
    click.echo()
    for finding in found.findings:
        click.echo(f"{finding.severity.value:<8}{finding.code}  {finding}")
    click.echo("the whole run is refused" if found.exit_code else "the whole run can go: launch it, or add --go")
