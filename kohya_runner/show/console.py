"""What people see: the only module that prints, and the only importer of rich. Results to stdout, talk to stderr."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from kohya_runner.errors import RunnerError
from kohya_runner.findings import Finding, finding_json
from kohya_runner.text import duration, plain, visible, visible_json

if TYPE_CHECKING:
    from rich.console import Console

    from kohya_runner.engines.catalogue import ModelRow, OptionRow
    from kohya_runner.machine.doctor import Report
    from kohya_runner.plan.value import Plan


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    class SanitisedConsole(Console):
        """Rich itself ends the process with 1 where the reader of a pipe has left."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

        def process_renderables(self, renderables: list[Any]) -> list[Any]:
            """What is drawn, with what a terminal would obey in a stranger's text shown as its code (a render hook)."""
            return [_Cleaned(one) for one in renderables]

    stream = sys.stderr if stderr else sys.stdout
    console = SanitisedConsole(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=not stream.isatty())
    hook: Any = console
    console.push_render_hook(hook)
    return console


class _Cleaned:
    def __init__(self, drawn: Any) -> None:
        self.drawn = drawn

    def __rich_console__(self, console: Console, options: Any) -> Iterator[Any]:
        """Its segments; those that move the cursor are rich's own."""
        from rich.segment import Segment

        for part in console.render(self.drawn, options):
            yield part if part.control else Segment(visible(part.text), part.style)


def json_object(value: Mapping[str, Any]) -> None:
    """One object on stdout and nothing else."""
    text = visible_json(json.dumps(value, indent=2, ensure_ascii=False)) + "\n"
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeError:  # what the locale cannot show is written as JSON's own escapes
        text = json.dumps(value, indent=2) + "\n"
    sys.stdout.write(text)


def say(text: str, **style: Any) -> None:
    """A line of a result on stdout; ``style`` as click has it."""
    click.secho(visible(text), **style)


def note(text: str) -> None:
    """A line for the person, on stderr; where nobody reads that any more, for nobody."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{visible(text)}\n")
        sys.stderr.flush()


def fault(error: RunnerError) -> None:
    """Why a command ended, what to do, and every finding behind it."""
    console = _console(stderr=True)
    _findings(console, [f for f in error.findings if f.message != error.message])
    console.print(f"kohya-runner: {error.message}", style="bold red")
    if error.hint:
        console.print(f"  {error.hint}")


def fault_json(error: RunnerError) -> None:
    """The same as one object: ``ok`` false, the exit code, the message, the findings."""
    found = [finding_json(finding) for finding in error.findings]
    said = {"exit_code": error.exit_code, "message": error.message, "hint": error.hint}
    json_object({"version": 1, "ok": False, "error": said, "findings": found})


def _findings(console: Console, findings: Sequence[Finding]) -> None:
    if findings:
        from kohya_runner.show.plan_screen import findings as show

        show(console, findings)


def summary(rows: Iterable[tuple[str, str]], findings: Sequence[Finding], verdict: str, *, good: bool) -> None:
    """What was found, what is wrong with it, and one line that says what it comes to."""
    console = _console()
    _hanging(tuple(rows))
    console.print()
    _findings(console, findings)
    console.print(f"\n{verdict}" if findings else verdict, style="bold green" if good else "bold red")


def plan(made: Plan, *, argv: bool = False) -> None:
    from kohya_runner.show.plan_screen import show

    show(_console(), made, argv=argv)


def table(headings: Sequence[str], lines: Sequence[Sequence[str]], *, empty: str) -> None:
    """Rows under headings; plain columns where stdout is not a terminal."""
    from rich.table import Table
    from rich.text import Text

    if not lines:
        note(empty)
        return
    grid = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for line in lines:
        grid.add_row(*(Text(plain(cell)) for cell in line))
    console = _console()
    if not sys.stdout.isatty():
        console.width = 400
    console.print(grid)


def scan_progress(*, quiet: bool) -> Callable[[str, int, int], None] | None:
    """How far the reading of a dataset is: redrawn on a terminal, silent elsewhere and when it is quick.

    Without a total it is a wait, and ``done`` its seconds; where nothing can be redrawn that is told once.
    """
    if quiet:
        return None
    started = last = time.monotonic()
    terminal, waits = sys.stderr.isatty(), set[str]()

    def show(what: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        finished = done >= total and not (what and not total)
        if not terminal and what and not total and what not in waits:
            waits.add(what)
            note(what)
        if not terminal or now - started < 1 or (now - last < 0.1 and not finished):
            return
        last = now
        left = (now - started) / max(done, 1) * (total - done)
        line = f"\r{what}: {f'{done}/{total}, {duration(left)} left' if total else duration(done)}\x1b[K"
        sys.stderr.write("\r\x1b[K" if finished else line)
        sys.stderr.flush()

    return show


class TerminalScreen:
    """The running trainer: one line that is redrawn on a terminal, plain lines now and then elsewhere."""

    def __init__(self, *, quiet: bool, practice: bool) -> None:
        self.quiet, self.practice = quiet, practice
        self.terminal = sys.stderr.isatty()
        self.last_line, self.last_time = "", 0.0

    def event(self, line: str, *, lasting: bool) -> None:
        """Show a line; a lasting one stays, another is overwritten by the next (every 30 s where nothing can be)."""
        line = visible(line)
        if self.quiet or line == self.last_line:
            return
        mark = "PRACTICE " if self.practice else ""
        now = time.monotonic()
        with contextlib.suppress(OSError, ValueError):  # a reader that leaves is no reason to end a run
            if self.terminal:
                sys.stderr.write(f"\r\x1b[K{mark}{line}" + ("\n" if lasting else ""))
            elif lasting or now - self.last_time >= 30:
                sys.stderr.write(f"{mark}{line}\n")
                self.last_time = now
            sys.stderr.flush()
        self.last_line = line

    def notice(self, line: str) -> None:
        """Show a line that stays, also where JSON was asked for: a wait of minutes must not look like a hang."""
        if self.quiet:
            note(line)
        else:
            self.event(line, lasting=True)

    def close(self) -> None:
        if self.terminal and not self.quiet:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write("\r\x1b[K")
                sys.stderr.flush()


@contextlib.contextmanager
def live(*, quiet: bool, practice: bool) -> Iterator[TerminalScreen]:
    screen = TerminalScreen(quiet=quiet, practice=practice)
    if practice:
        screen.event(
            "=" * 60 + "\nPRACTICE: a stand-in process, not the trainer. Nothing is learnt.\n" + "=" * 60, lasting=True
        )
    try:
        yield screen
    finally:
        screen.close()


def options(found: Sequence[OptionRow], *, as_json: bool) -> None:
    if as_json:
        json_object({"version": 1, "options": [row._asdict() for row in found]})
        return
    from rich.text import Text

    from kohya_runner.show.plan_screen import hanging

    console, several = _console(), len({script for row in found for script in row.scripts}) > 1
    for row in found:
        of = f"   {len(row.scripts)} script(s)" if several else ""
        default = f", default {row.default}" if row.default else ""
        console.print(Text(row.name, style="bold").append(f"   {row.takes}{default}{of}   {row.where}", style="none"))
        for text in filter(None, (row.help, row.note)):
            hanging(console, Text("    "), Text(plain(text)), 4)
    if not any(row.help for row in found):
        note("what each does is read from the trainer's checkout, which is not here yet: kohya-runner setup")


def models(found: Sequence[ModelRow], *, as_json: bool, family: str | None) -> None:
    """The answer of ``kohya-runner models``: a line for each family; of one family everything."""
    if as_json:
        json_object({"version": 1, "models": [row._asdict() for row in found]})
        return
    by_state: dict[str, dict[str, list[str]]] = {}
    for row in found:
        by_state.setdefault(row.state, {}).setdefault(f"{row.family:<16} {row.title}", []).append(row.method)
    if family is not None:
        lines = [(r.method, r.detail if r.state == "supported" else f"{r.state}: {r.detail}") for r in found]
        _hanging([(next(iter(by_state["supported"])), ""), *lines])
        return
    _hanging([(name, ", ".join(methods)) for name, methods in by_state["supported"].items()])
    near = "; ".join(f"{name.split()[0]}: {', '.join(methods)}" for name, methods in by_state["stand-in"].items())
    say("")
    _hanging([("stand-in", near)])
    yet = [title.split(maxsplit=1)[1] for title in by_state["not by a recipe yet"]]
    why = next(row.detail for row in found if row.state == "not by a recipe yet")
    say(f"\n{why}:")
    _hanging([("", ", ".join(yet))])
    never = sum(map(len, by_state["not available upstream"].values()))
    say(f"not available upstream: {never} others\n\nscripts, recipes and reasons: kohya-runner models FAMILY")


def _hanging(rows: Sequence[tuple[str, str]]) -> None:
    from rich.text import Text

    from kohya_runner.show.plan_screen import hanging

    console, wide = _console(), max((len(label) for label, _ in rows), default=0) + 2
    for label, text in rows:
        hanging(console, Text(f"{label:<{wide}}", style="bold"), Text(plain(text)), wide)


def doctor(report: Report, *, as_json: bool) -> None:
    if as_json:
        json_object(report.as_json())
        return
    text = "this machine cannot train yet" if report.exit_code else "this machine can train"
    summary(report.rows, report.findings, text, good=not report.exit_code)


def rules(found: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        json_object(found)
        return
    lines = [(r["code"], r["severity"], r["fails"], r["upstream"]) for r in found["rules"]]
    table(("rule", "severity", "the trainer fails", "upstream line"), lines, empty="no rules")
    others = [(c["code"], " or ".join(c["severity"]), c["summary"]) for c in found["codes"]]
    table(("other codes", "severity", "meaning"), others, empty="no codes")
