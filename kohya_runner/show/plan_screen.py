"""The screen of a plan, and findings on any screen: on a terminal wrapped under themselves, elsewhere a line each."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from kohya_runner.findings import Finding, Severity
from kohya_runner.plan.report import rows, verdict
from kohya_runner.text import plain

if TYPE_CHECKING:
    from rich.console import Console

    from kohya_runner.plan.value import Plan

STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.INFO: "dim"}
LABEL = 10
MARK = 8


def show(console: Console, made: Plan, *, argv: bool = False) -> None:
    """What else a recipe does, the verdict, how long, where the space goes, what is wrong (worst first), the command.

    A command of forty options pushes all the rest off a terminal: there it is shown if it is asked for with ``argv``.
    """
    if made.consequences:
        console.print(Text("this recipe will also:", style="bold yellow"))
        for one in made.consequences:
            allowed = "" if one.allowed else f"   (needs --trust {one.key})"
            hanging(console, Text("  - "), Text(plain(f"{one.text}   {one.where}{allowed}")), 4)
        console.print()
    text, severity = verdict(made)
    console.print(text, style=STYLES[severity] if severity is not Severity.INFO else "bold green")
    console.print()
    for label, text in rows(made):
        hanging(console, Text(f"{label:<{LABEL}}", style="bold"), Text(plain(text)), LABEL)
    shown = [f for f in made.findings if f.code != "args.default"]
    if shown:
        console.print()
        findings(console, sorted(shown, key=lambda f: list(Severity).index(f.severity)))
    if made.command is not None and (argv or console.soft_wrap):
        where = plain(shlex.quote(str(made.command.cwd)))
        lines = "\n".join(f"$ {plain(command.shown())}" for command in made.commands)
        console.print(Text(f"\n$ cd {where}\n{lines}", style="dim"), soft_wrap=True)
    elif made.command is not None and made.ok:
        words = shlex.join(("kohya-runner", "plan", str(made.request.recipe), "--argv"))
        console.print(Text(f"\nthe trainer's command line: {plain(words)}", style="dim"))


def findings(console: Console, found: Sequence[Finding]) -> None:
    """Each with its place and its hint."""
    for finding in found:
        line = Text(f"{finding.code}  ", style="dim")
        line.append(f"{plain(finding.where)}: " if finding.where else "", style="none")
        line.append(plain(finding.message), style="none")
        hanging(console, Text(f"{finding.severity.value:<{MARK}}", style=STYLES[finding.severity]), line, MARK)
        if finding.hint:
            hanging(console, Text("         "), Text(f"-> {plain(finding.hint)}", style="cyan"), MARK + 1)


def hanging(console: Console, label: Text, body: Text, width: int) -> None:
    """One line; where a terminal wraps it, what follows stands below the body and not below the label."""
    if console.soft_wrap:
        console.print(label.append_text(body))
        return
    grid = Table.grid()
    grid.add_column(width=width, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(label, body)
    console.print(grid)
