"""What a rehearsal showed: read from its log, its files and its record once it has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.artefact.lora import inspect
from kohya_runner.diagnosis.events import Step
from kohya_runner.diagnosis.progress import Stream
from kohya_runner.engines.support import INITIAL_STEP
from kohya_runner.plan.cost import TimePlan
from kohya_runner.plan.rehearsal import WARM_UP
from kohya_runner.record.metrics_file import Tail
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.record.training_states import LAST

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kohya_runner.plan.rehearsal import Saves
    from kohya_runner.plan.value import Plan
    from kohya_runner.record.record import Record


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds and bytes; None is what could not be seen."""

    steps: int  # measured, without those of the warming up
    seconds_per_step: float
    setup: float
    checkpoint_bytes: int
    checkpoint_seconds: float
    state_bytes: int | None
    state_seconds: float | None
    sample_seconds: float | None
    peak_ram: int | None
    peak_vram: int | None = None

    def whole_run(self, total: int, saves: Saves) -> float:
        """Seconds of the whole run: steps, saves, states and sample pictures."""
        rest = saves.checkpoints * self.checkpoint_seconds + saves.states * (self.state_seconds or 0.0)
        return self.setup + total * self.seconds_per_step + rest + saves.samples * (self.sample_seconds or 0.0)

    def effective(self, total: int, saves: Saves) -> float:
        """Seconds a step with the saves spread over all of them: what later plans count with."""
        return (self.whole_run(total, saves) - self.setup) / max(total, 1)


def read(run_dir: Path, record: Record) -> Measured:
    """Everything but the GPU's memory, which leaves no trace."""
    output, times = run_dir / record.output_dir, record.timings
    steps = _steps(run_dir / record.log)
    pace, count = per_step(steps)
    final = output / record.final
    began = max(0.0, (times.first_step or times.ended or 0.0) - (times.started or 0.0))
    states = [path for name in ("*-state", "checkpoint-*") for path in output.glob(name) if path.is_dir()]
    state = states[0] if states else None
    return Measured(
        steps=count,
        seconds_per_step=pace,
        setup=began,
        checkpoint_bytes=final.stat().st_size,
        checkpoint_seconds=_save_seconds(final),
        state_bytes=sum(p.stat().st_size for p in state.rglob("*") if p.is_file()) if state else None,
        state_seconds=_state_seconds(state) if state else None,
        sample_seconds=_sample_seconds(RunPaths(run_dir).samples),
        peak_ram=record.exit.peak_rss if record.exit else None,
    )


def per_step(steps: tuple[Step, ...]) -> tuple[float, int]:
    """Seconds a step after the warming up, and over how many steps: the bar's mean times its steps is its time."""
    at = {s.step: s.step * s.seconds_per_step for s in steps if s.seconds_per_step is not None and s.step > 0}
    if not at:
        return 0.0, 0
    last = max(at)
    first = min((n for n in at if n >= WARM_UP), default=last) if last > WARM_UP else min(at)
    if first == last:
        return at[last] / last, last
    return max(0.0, at[last] - at[first]) / (last - first), last - first


def _steps(log: Path) -> tuple[Step, ...]:
    stream = Stream()
    events = [event for data in Tail(log).read() for event in stream.feed(data)]
    return tuple(event for event in (*events, *stream.close()) if isinstance(event, Step))


def _save_seconds(final: Path) -> float:
    """The trainer notes the time just before it writes (train_network.py:1298)."""
    try:
        return max(0.0, final.stat().st_mtime - float(inspect(final).metadata["ss_training_finished_at"]))
    except (KeyError, ValueError):  # no_metadata
        return 0.0


def _state_seconds(state: Path) -> float:
    try:
        return max(0.0, (state / LAST).stat().st_mtime - (state / INITIAL_STEP.numbers).stat().st_mtime)
    except OSError:
        return 0.0


def _sample_seconds(folder: Path) -> float | None:
    """From the first picture of a round to its last, and as long again as one took."""
    times = sorted(p.stat().st_mtime for p in folder.glob("*.png")) if folder.is_dir() else []
    if len(times) < 2:
        return None
    return (times[-1] - times[0]) / (len(times) - 1) * len(times)


def time_plan(measured: Measured, plan: Plan, speed: float, run: str) -> TimePlan:
    """The whole run as the plan's own screen shows it."""
    from kohya_runner.plan.cost import Speed

    recipe = plan.loaded.recipe
    price = recipe.budget.price_per_hour if recipe else None
    return TimePlan(plan.ready.steps.total, Speed(speed, measured.setup, run), price)


def as_json(measured: Measured) -> Mapping[str, object]:
    """The ``measured`` object of ``launch --rehearse --json``."""
    return {name: getattr(measured, name) for name in Measured.__dataclass_fields__}
