"""What ``watch`` shows of a run: lines with the names of their styles, made for a width and a height."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Iterator
from typing import Any

from kohya_runner.diagnosis.progress import TRAINING
from kohya_runner.record.record import LIVE
from kohya_runner.run.run_status import QUIET, RunStatus
from kohya_runner.run.stop_request import described
from kohya_runner.show.charts import Window, braille
from kohya_runner.show.run_screen import next_command
from kohya_runner.text import duration, plain, size

Line = tuple[tuple[str, str], ...]  # pieces of (style, text)

STATES = {"running": "good", "succeeded": "good", "starting": "plain", "stopped": "warning", "orphaned": "warning",
          "silent": "warning", "failed": "error", "lost": "error", "unreadable": "error"}  # fmt: skip
SEVERITIES = {"error": "error", "warning": "warning"}
MOST_CHECKPOINTS = 3
MOST_FINDINGS = 3
LOG_SHARE = 6
PLOT = (4, 14)  # lines, at least and at most
LABEL = 9  # columns left of the curve
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_GAPS = re.compile(r" {3,}")  # the columns of log records


def screen(look: RunStatus, width: int, height: int) -> list[Line]:
    """The whole screen: what matters most is kept where it is low, the log and the curve get the rest."""
    top = [_title(look), *_progress(look, width), *notes(look)]
    bottom = [*_checkpoints(look), *_findings(look)]
    foot: Line = (("soft", f"q leaves the run alone   stop it: kohya-runner stop {_name(look)}"),)
    room = height - len(top) - 1
    bottom = bottom[: max(0, room - PLOT[0] - 3)]
    room -= len(bottom)
    log = min(LOG_SHARE, max(0, room - PLOT[0] - 3))
    plot = _plot(look, width, min(PLOT[1], max(0, room - log - 3)))
    log = max(0, room - len(plot) - 1)
    lines = [*top, *plot, *bottom, *_log(look, log)]
    lines += [()] * (height - 1 - len(lines))
    return [*lines[: height - 1], foot]


def _name(look: RunStatus) -> str:
    return f"{look.view.name}/{look.view.run_id}"


def _title(look: RunStatus) -> Line:
    record = look.view.record
    practice = (("warning", "  PRACTICE"),) if record and record.practice else ()
    state = look.state + (" on another machine" if look.elsewhere and look.state in LIVE else "")
    return (("bold", _name(look)), ("plain", "  "), (STATES.get(look.state, "plain"), state), *practice)


def _progress(look: RunStatus, width: int) -> Iterator[Line]:
    yield (("plain", phase(look)),)
    share = min(1.0, look.step / look.total) if look.total else 0.0
    numbers = f" {share:4.0%}  step {look.step}/{look.total or '?'}{epochs(look)}"
    cells = max(10, width - len(numbers) - 1)
    full = int(share * cells)
    yield (("good", "━" * full), ("soft", "─" * (cells - full)), ("bold", numbers))
    free = "" if look.free_bytes is None else f"{size(look.free_bytes)} free"
    yield from _flowing((loss(look), speed(look), times(look), money(look), free), width)


def _flowing(pieces: Iterable[str], width: int) -> Iterator[Line]:
    """The pieces on as many lines as they need."""
    line = ""
    for piece in filter(None, pieces):
        if line and len(line) + 2 + len(piece) > width:
            yield (("plain", line),)
            line = ""
        line = f"{line}  {piece}" if line else piece
    if line:
        yield (("plain", line),)


def phase(look: RunStatus) -> str:
    """What the trainer does, or how it ended."""
    record = look.view.record
    if look.state not in LIVE:
        return look.view.problem or look.state
    gone = ""
    marks = look.metrics.of("phase")
    if marks and look.phase != TRAINING:
        gone = f"{f' {look.work}' if look.work else ''}, {duration(look.now - marks[-1].t)}"
    if look.state == "starting":
        return "preparing" if record and record.process is None else "starting the trainer"
    return f"{look.phase}{gone}"


def epochs(look: RunStatus) -> str:
    """``  epoch 2/10``."""
    record = look.view.record
    return f"  epoch {look.epoch}/{record.epochs_planned or '?'}" if look.epoch and record else ""


def loss(look: RunStatus) -> str:
    """``loss 0.0912``."""
    if look.loss is None:
        return ""
    return f"loss {look.loss:.4f}" if math.isfinite(look.loss) else f"loss {look.loss}"


def speed(look: RunStatus) -> str:
    """``1.05 s/step``."""
    return f"{look.seconds_per_step:.2f} s/step" if look.seconds_per_step else ""


def times(look: RunStatus) -> str:
    gone = "" if look.seconds_gone is None else f"{duration(look.seconds_gone)} gone"
    left = "" if look.seconds_left is None else f"{duration(look.seconds_left)} left"
    return ", ".join(filter(None, (gone, left)))


def money(look: RunStatus) -> str:
    spent = look.cost(look.seconds_gone)
    if spent is None:
        return ""
    whole = look.cost(None if look.seconds_left is None else (look.seconds_gone or 0) + look.seconds_left)
    return f"{spent:.2f} spent so far" + (f", {whole:.2f} expected at the end" if whole is not None else "")


def notes(look: RunStatus) -> Iterator[Line]:
    """What a person should know now."""
    if look.stop_request and look.state in LIVE:
        yield (("warning", described(look.stop_request)),)
    if look.state == "orphaned":
        yield (("warning", f"its runner is gone and the trainer still runs: kohya-runner watch {_name(look)} --adopt"),)
    if said := quiet(look):
        yield (("warning", said),)
    if look.state == "silent" and look.last_sign is not None:
        gone = duration(look.now - look.last_sign)
        yield (("warning", f"no sign of life for {gone}: its machine is gone, or cannot write here"),)
    if isinstance(look.loss, float) and not math.isfinite(look.loss):
        yield (("error", "the loss is NaN or infinite: all training from here on is worthless"),)


QUIET_STEPS = 5  # times the usual pace of the steps


def quiet(look: RunStatus) -> str:
    """How long the trainer has said nothing, once that is long for what it does; what is usual, where that is known."""
    if look.state not in ("running", "orphaned") or look.quiet is None:
        return ""
    if look.phase == TRAINING:
        pace = look.seconds_per_step or 0.0
        least, usual = QUIET_STEPS * pace, f": usual is a step every {duration(pace)}" if pace else ""
    else:
        least = look.usual or 0.0
        usual = f": it took {duration(least)} in the run before" if least else ""
    return f"no line for {duration(look.quiet)} while {look.phase}{usual}" if look.quiet >= max(QUIET, least) else ""


def _plot(look: RunStatus, width: int, height: int) -> list[Line]:
    """The curve of the loss over the whole length of the run, with the epochs below; nothing without two points."""
    points = [(float(s.step), s.loss) for s in look.metrics.steps if s.loss is not None]
    begun = points[len(points) // 50 :]  # a steep beginning would leave a flat line of the rest
    window = Window.around(begun, float(look.total) if look.total else None) if len(points) > 1 else None
    if window is None or height < PLOT[0]:
        return []
    wide = width - LABEL - 1
    drawn = braille(points, window, wide, height)
    labels = {0: f"{window.high:.4f}", height - 1: f"{window.low:.4f}", height // 2: "loss"}
    lines: list[Line] = [()]
    lines += [(("soft", f"{labels.get(n, ''):>{LABEL - 1}} "), ("curve", line)) for n, line in enumerate(drawn)]
    return [*lines, (("soft", f"{'epoch':>{LABEL - 1}} {_axis(look, window, wide)}"),)]


def _axis(look: RunStatus, window: Window, wide: int) -> str:
    """Where each epoch begins; a number that would touch the one before is left out."""
    axis = [" "] * wide
    free = 0
    for mark in look.metrics.of("begins"):
        place = int(((mark.step or 0) - window.left) / (window.right - window.left) * wide)
        text = str(mark.epoch)
        if max(0, place) >= free and max(0, place) + len(text) <= wide:
            axis[max(0, place) : max(0, place) + len(text)] = text
            free = max(0, place) + len(text) + 1
    return "".join(axis).rstrip()


def _checkpoints(look: RunStatus) -> Iterator[Line]:
    kept = [c for c in look.view.record.checkpoints if not c.removed] if look.view.record else []
    if not kept:
        return
    yield ()
    yield (("soft", f"{len(kept)} checkpoint{'s' if len(kept) > 1 else ''}, the last ones first"),)
    for c in reversed(kept[-MOST_CHECKPOINTS:]):
        state = f"{size(c.bytes)}, {c.modules} modules, {c.sha256[:12]}" if c.complete else "being written"
        yield (("good" if c.complete else "warning", "  " + plain(c.file)), ("soft", f"   {state}"))


def _findings(look: RunStatus) -> Iterator[Line]:
    found: list[dict[str, Any]] = list(look.view.record.findings) if look.view.record else []
    shown = [f for f in found if f.get("severity") in SEVERITIES]
    if shown:
        yield ()
    for f in shown[:MOST_FINDINGS]:
        style = SEVERITIES[str(f["severity"])]
        yield ((style, f"{f['severity']} "), ("plain", plain(f"{f.get('code', '')}  {f.get('message', '')}")))
    if len(shown) > MOST_FINDINGS:
        yield (("soft", f"and {len(shown) - MOST_FINDINGS} more: kohya-runner report {_name(look)}"),)


def _log(look: RunStatus, number: int) -> list[Line]:
    if number < 1 or not look.lines:
        return []
    return [(), *((("soft", _GAPS.sub("  ", plain(_ANSI.sub("", line)))),) for line in look.lines[-number:])]


def line(look: RunStatus) -> str:
    """The run in one line, for where nothing can be redrawn."""
    parts = (f"{phase(look)}{epochs(look)}", f"step {look.step}/{look.total or '?'}", loss(look), speed(look))
    practice = "PRACTICE " if look.view.record and look.view.record.practice else ""
    return practice + ", ".join(filter(None, (*parts, times(look), money(look), quiet(look))))


def farewell(look: RunStatus, where: str = "") -> list[Line]:
    """What stays on the terminal after the full screen is gone: how it stands, and what to do next.

    ``where`` is the option that names the workspace, if it was given.
    """
    name = shlex.quote(_name(look))
    if look.state in (*LIVE, "silent"):
        todo = f"it goes on: kohya-runner watch {name}"
    elif look.state == "succeeded" and look.view.record:
        todo = f"next: {next_command(look.view.record)}"
    else:
        todo = f"why: kohya-runner {'report' if look.state == 'stopped' else 'diagnose'} {name}"
    return [_title(look), (("plain", line(look)),), *list(_checkpoints(look))[1:], (("soft", f"{todo}{where}"),)]


def as_json(look: RunStatus) -> dict[str, Any]:
    record = look.view.record
    loss = None if look.loss is None else look.loss if math.isfinite(look.loss) else str(look.loss)
    kept = [c.model_dump() for c in record.checkpoints if not c.removed] if record else []
    return {
        "t": round(look.now, 2), "name": look.view.name, "run_id": look.view.run_id, "state": look.state,
        "elsewhere": look.elsewhere, "problem": look.view.problem, "phase": look.phase, "step": look.step,
        "total": look.total, "epoch": look.epoch, "epochs": record.epochs_planned if record else None, "loss": loss,
        "lr": dict(next((one.lr for one in reversed(look.metrics.steps) if one.lr), {})),
        "seconds_per_step": look.seconds_per_step, "seconds_gone": look.seconds_gone,
        "seconds_left": look.seconds_left, "cost": look.cost(look.seconds_gone), "free_bytes": look.free_bytes,
        "stop_asked": look.stop_request.when if look.stop_request else None, "checkpoints": kept,
    }  # fmt: skip
