"""``watch``, ``stop``, ``metrics`` and ``report``: a run that is going on anywhere, or has ended."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import click

from kohya_runner.commands import remote
from kohya_runner.commands.entry import ServingCommand, as_path, complete_runs, served, serving_options
from kohya_runner.errors import RunExistsError
from kohya_runner.finish.after import AFTER_RUN
from kohya_runner.plan.value import Plan
from kohya_runner.record import ledger
from kohya_runner.record.metrics_file import read
from kohya_runner.record.record import LIVE
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.run import detached, takeover, views
from kohya_runner.run.event_files import event_file, step_json
from kohya_runner.run.run_status import RunStatus, StatusReader
from kohya_runner.run.stop_request import When
from kohya_runner.run.stop_sequence import Grace
from kohya_runner.safe_files import readable
from kohya_runner.show import console, watch_lines
from kohya_runner.show.live_page import LivePage
from kohya_runner.show.run_page import write
from kohya_runner.text import plain, visible_json

_RUN = click.argument("run", required=False, shell_complete=complete_runs)
_WORKSPACE = click.option("--workspace", metavar="DIR", help="Where caches, datasets, models and runs live.")
LINE_EVERY = 30.0


def attend(child: int, made: Plan, *, as_json: bool) -> int:
    """The foreground of a detached launch: show it until the trainer is there, then say how to watch it."""
    run_dir = made.ready.run_dir
    code, record = detached.follow_launch(child, run_dir, console.note)
    if code or record is None:
        return code
    name = f"{run_dir.parent.name}/{run_dir.name}"
    trainer = record.process.pid if record.process else None
    if as_json:
        facts = {"name": run_dir.parent.name, "run_id": run_dir.name, "path": str(run_dir), "state": record.state}
        console.json_object({"version": 1, "ok": True, **facts, "runner": child, "trainer": trainer})
        return 0
    console.say(name)
    where = f" --workspace {made.request.workspace}" if made.request.workspace else ""
    console.note(f"{name} runs without this terminal (runner {child}, trainer {trainer})")
    for word in ("watch", "logs -f", "stop"):
        console.note(f"    kohya-runner {word} {name}{where}")
    return 0


@click.command(cls=ServingCommand)
@_RUN
@_WORKSPACE
@serving_options
@click.option("--adopt", is_flag=True, help="If its runner is gone: start another one in the background first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, whenever something has changed.")
def watch(run: str | None, workspace: str | None, adopt: bool, as_json: bool, **page: Any) -> int:  # noqa: FBT001
    """Watch a run live; q or Ctrl-C leaves it alone."""
    if (stays := remote.stay_of(workspace, run)) is None:
        return watch_run(workspace, run, WatchOptions(as_json, adopt, page))
    if stays.now().phase in ("renting", "sending"):
        stays.begin()

    def over() -> None:
        with remote.told():
            remote.closed(stays)

    return remote.watched(stays, lambda: watch_run(workspace, run, WatchOptions(as_json, False, page, over)))


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How a run is watched; ``over`` is done at its end although a page stays."""

    as_json: bool = False
    adopt: bool = False
    page: Mapping[str, Any] = field(default_factory=lambda: {"serve": None, "bind": None})
    over: Callable[[], None] | None = None


def watch_run(workspace: str | None, run: str | None, how: WatchOptions) -> int:
    """The screen of ``watch``, or lines, until the run has ended or is left alone; the exit code."""
    view = ledger.find(views.runs_folder(workspace), run)
    watcher = StatusReader(view.path)
    try:
        if how.adopt and view.state == "orphaned" and not _adopted(view):
            return 0
        if (server := served(view.path, **how.page)) is not None:
            for line in server.told():
                console.note(line)
            with server.serving() as shown:
                look = _followed(watcher, as_json=how.as_json, page=shown, over=how.over)
        elif how.as_json or not sys.stdout.isatty():
            look = _followed(watcher, as_json=how.as_json)
        else:
            from kohya_runner.show import watch_screen

            look = watch_screen.watch(watcher, f" --workspace {shlex.quote(workspace)}" if workspace else "")
    except KeyboardInterrupt:
        return 0
    return views.exit_code(look.view) if not look.elsewhere else 0


def _adopted(view: Any) -> bool:
    """In the parent true, once the run has a runner again; in the child, which is that runner, false at its end."""
    child = detached.fork_runner()
    if child:
        detached.follow(child, view.path, console.note)
        return True
    detached.redirect_output(view.path)
    with console.live(quiet=False, practice=False) as screen:
        takeover.adopt_run(view, screen, Grace(), AFTER_RUN)
    return False


def _followed(
    watcher: Any, *, as_json: bool, page: LivePage | None = None, over: Callable[[], None] | None = None
) -> RunStatus:
    """One line whenever something changes, to the end of the run; a page stays longer, until Ctrl-C."""
    last, last_time = None, 0.0
    while True:
        look: RunStatus = watcher.look()
        ended = look.state not in (*LIVE, "silent")
        if page is not None:
            page.show(look)
        changed = (look.state, look.phase, look.epoch, len(look.view.record.checkpoints if look.view.record else ()))
        now = time.monotonic()
        if as_json and (changed, look.step) != last:
            console.say(visible_json(json.dumps(watch_lines.as_json(look), ensure_ascii=False)))
        elif not as_json and (changed != last or (ended and page is None) or now - last_time >= LINE_EVERY):
            console.say(plain(watch_lines.line(look)))
            last_time = now
        if ended and page is None:
            return look
        if over is not None and ended and look.view.record is not None:
            over()
            over = None
        if ended and changed != last:
            console.note("its page stays until Ctrl-C")
        last = (changed, look.step) if as_json else changed
        time.sleep(0.5)


@click.command()
@_RUN
@_WORKSPACE
@click.option("--now", "when", flag_value="now", help="At once; a checkpoint that is being written is finished.")
@click.option("--after-step", "when", flag_value="after-step", help="Once the step that is being made is done.")
@click.option("--after-save", "when", flag_value="after-save", help="Once the next checkpoint is whole.")
@click.option("--no-wait", is_flag=True, help="Leave the stop request and do not wait for the end.")
def stop(run: str | None, workspace: str | None, when: When | None, no_wait: bool) -> int:  # noqa: FBT001
    """Stop a run now, after the step or after the next save; a second request stops harder."""
    if stays := remote.stay_of(workspace, run):
        return remote.stop(stays, now=when != "after-save", wait=not no_wait)
    view = views.one_run(workspace, run)
    with console.live(quiet=False, practice=False) as screen:
        view = views.stop(view, when or "now", screen, AFTER_RUN, wait=not no_wait)
    console.note(f"{view.name}/{view.run_id}: {view.problem or view.state}")
    return RunExistsError.exit_code if view.state in LIVE and not no_wait else 0


@click.command()
@_RUN
@_WORKSPACE
@click.option("--output", type=click.Path(), callback=as_path, help="The file to write; report.html in its folder.")
def report(run: str | None, workspace: str | None, output: Any) -> None:
    """Write one self-contained HTML page about a run: recipe, curves, samples, checkpoints, timings."""
    remote.refresh(workspace, run)
    view = ledger.find(views.runs_folder(workspace), run)
    readable(RunPaths(view.path).metrics)
    console.note(f"wrote {write(view, output)}")


@click.command()
@_RUN
@_WORKSPACE
@click.option("--tensorboard", metavar="DIR", type=click.Path(), callback=as_path,
              help="Write them as an event file into this folder.")  # fmt: skip
def metrics(run: str | None, workspace: str | None, tensorboard: Any) -> None:
    """Loss, speed and learning rates of a run, a JSON object for each step, or for TensorBoard."""
    remote.refresh(workspace, run)
    view = ledger.find(views.runs_folder(workspace), run)
    readable(RunPaths(view.path).metrics)
    found = read(view.path)
    if tensorboard is not None:
        console.note(f"wrote {event_file(view, found, tensorboard)}")
        return
    for step in found.steps:
        click.echo(json.dumps(step_json(step)))
