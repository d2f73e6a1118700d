"""The page of a run: one HTML file with everything in it, for a browser without a network."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kohya_runner import __version__
from kohya_runner.dataset.picture import thumbnails
from kohya_runner.errors import UsageError
from kohya_runner.record.ledger import RunView
from kohya_runner.record.metrics_file import Metrics, last_lines
from kohya_runner.record.record import Record, why_ended
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.run.run_status import RunStatus, StatusReader, phase_times
from kohya_runner.safe_files import write_text
from kohya_runner.show.charts import Chart, ChartCurve, Marks, chart, smoothed
from kohya_runner.text import duration, printable, size, template

TEMPLATE = Path(__file__).with_name("run_page.html.j2")
SAMPLES = 240  # how many sample images are drawn, the latest; more would be a file no browser likes to open
LOG_LINES = 60
LONGEST = 4000  # characters of one value of the recipe
SIZES = ((1100, 320), (400, 260))
"""Each picture for a wide and for a narrow window: letters that shrink with the picture could not be read."""
MOST_RATES = 8
PICTURES = (".png", ".jpg", ".jpeg", ".webp")

Row = tuple[str, str]


def write(view: RunView, output: Path | None) -> Path:
    """Write the page of a run, into its folder by default; where it is."""
    path = output or RunPaths(view.path).report
    if view.record is None:
        raise UsageError(f"{view.path}: {view.problem}")
    try:
        write_text(path, report_html(StatusReader(view.path).look(), view.record))
    except OSError as fault:
        raise UsageError(f"{path}: {fault.strerror or fault}", hint="name another file with --output") from fault
    return path


def report_html(look: RunStatus, record: Record) -> str:
    page = template(TEMPLATE).render(
        version=__version__, name=f"{record.name}/{record.run_id}", practice=record.practice, state=look.state,
        why=look.view.problem or why_ended(record), rows=tuple(_summary(look, record)), findings=record.findings,
        loss=loss_charts(look.metrics, record), rates=_rate_charts(look.metrics, record),
        samples=_samples(RunPaths(look.view.path).samples), checkpoints=tuple(map(checkpoint_row, record.checkpoints)),
        phases=tuple(_phases(look, record)), recipe=tuple(_leaves(record.recipe)), machine=tuple(_machine(record)),
        packages=sorted(record.trainer.packages.items()), env=sorted(record.env.items()),
        command=shlex.join(record.argv), log=last_lines(look.view.log, LOG_LINES), made=_time(look.now),
    )  # fmt: skip
    return printable(page)


def _summary(look: RunStatus, record: Record) -> Iterator[Row]:
    yield "steps", f"{look.step} of {look.total or '?'}, epoch {look.epoch or 0} of {record.epochs_planned or '?'}"
    if look.loss is not None:
        yield "loss", f"{look.loss:.5g} at the end, the trainer's running mean"
    if look.seconds_gone is not None:
        began = record.timings.queued or record.timings.started
        yield "time", f"{duration(look.seconds_gone)}, from {_time(began)}"
    if look.seconds_per_step:
        yield "speed", f"{look.seconds_per_step:.4g} s a step, saves and samples included"
    if (cost := look.cost(look.seconds_gone)) is not None:
        yield "cost", f"{cost:.2f} at {look.price:g} an hour"
    if (spent := look.spending) is not None:
        yield from spent.rows()
    data = record.dataset
    folders = data.get("folders") or []
    names = ", ".join(str(f.get("name")) for f in folders if isinstance(f, dict))
    yield "dataset", f"{data.get('images', '?')} images, {data.get('captions', '?')} captions: {names}"
    yield "exit", _exit(record)


def _exit(record: Record) -> str:
    if record.exit is None:
        return "it has not ended"
    code, signal = record.exit.code, record.exit.signal
    how = f"signal {signal}" if signal else f"exit code {code}" if code is not None else "exit code not known"
    memory = f", at most {size(record.exit.peak_rss)} of memory" if record.exit.peak_rss else ""
    return ("stopped as you asked" if record.exit.asked else how) + memory


def checkpoint_row(kept: Any) -> dict[str, Any]:
    state = "removed by the trainer" if kept.removed else "whole" if kept.complete else "incomplete"
    place = f"epoch {kept.epoch}" if kept.epoch else f"step {kept.step}" if kept.step else ""
    return {"file": kept.file, "place": place, "size": size(kept.bytes), "modules": kept.modules or "",
            "sha256": kept.sha256, "state": state, "good": kept.complete and not kept.removed}  # fmt: skip


def sample_files(folder: Path) -> list[Path]:
    """The trainer's own sample images, in the order in which they were made."""
    try:
        return sorted(
            (p for p in folder.iterdir() if p.suffix.lower() in PICTURES), key=lambda p: (p.stat().st_mtime, p)
        )
    except OSError:
        return []


def _samples(folder: Path) -> dict[str, Any]:
    paths = sample_files(folder)
    shown = paths[-SAMPLES:]
    drawn = zip(shown, thumbnails(shown), strict=True)
    cards = [{"name": path.name, "picture": picture} for path, picture in drawn]
    return {"cards": cards, "left_out": len(paths) - len(shown)}


def _phases(look: RunStatus, record: Record) -> Iterator[dict[str, Any]]:
    found = phase_times(look.metrics, record)
    whole = sum(one.seconds for one in found) or 1.0
    for one in found:
        seconds = f"{one.seconds:.1f} s" if one.seconds < 60 else duration(one.seconds)
        yield {"phase": one.phase, "time": seconds if one.sure else f"about {seconds}", "times": one.times,
               "share": round(100 * one.seconds / whole, 1)}  # fmt: skip


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str, str]]:
    """(key, value, source) of everything the recipe says, in its order."""
    if isinstance(value, dict) and "source" in value and "value" in value:
        shown = value["value"]
        text = "null" if shown is None else str(shown).lower() if isinstance(shown, bool) else str(shown)
        yield ".".join(path), text[:LONGEST], str(value["source"])
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _leaves(one, (*path, str(key)))


def _machine(record: Record) -> Iterator[Row]:
    trainer = record.trainer
    yield "trainer", trainer.path or "not known"
    if trainer.commit:
        yield "commit", trainer.commit
    if trainer.python:
        yield "python", trainer.python
    for gpu in record.gpus:
        yield "GPU", f"{gpu.get('name')}, {size(int(gpu.get('bytes') or 0))}, driver {gpu.get('driver') or '?'}"
    if not record.gpus:
        yield "GPU", "none was seen"
    yield "folder", record.cwd
    yield "fingerprint", record.fingerprint or "none"


def _time(t: float | None) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(t)) if t else "?"


def loss_charts(metrics: Metrics, record: Record) -> tuple[Chart, ...]:
    """The trainer's running mean and, where its events were kept, the loss of each step, smoothed."""
    mean = ChartCurve("running mean", tuple((float(s.step), s.loss) for s in metrics.steps if s.loss is not None))
    own = [(float(s.step), s.current) for s in metrics.steps if s.current is not None]
    curves = [mean]
    if own:
        curves.append(ChartCurve("each step", tuple(own), faint=True))
        curves.append(ChartCurve("each step, smoothed", tuple(smoothed(own))))
    return _both(curves, metrics, record) if mean.points or own else ()


def _rate_charts(metrics: Metrics, record: Record) -> tuple[Chart, ...]:
    """The learning rates by the trainer's names for them."""
    names = list(dict.fromkeys(name for step in metrics.steps for name in step.lr))[:MOST_RATES]
    curves = [
        ChartCurve(name, tuple((float(s.step), s.lr[name]) for s in metrics.steps if name in s.lr)) for name in names
    ]
    return _both(curves, metrics, record) if curves else ()


def _both(curves: Sequence[ChartCurve], metrics: Metrics, record: Record) -> tuple[Chart, ...]:
    marks = Marks(
        epochs=[(mark.step or 0, mark.epoch or 0) for mark in metrics.of("begins")],
        saves=[(mark.step or 0, mark.name) for mark in metrics.of("checkpoint")],
        total=record.steps_planned,
    )
    found = [chart(curves, marks, width, height) for width, height in SIZES]
    return tuple(one for one in found if one is not None)
