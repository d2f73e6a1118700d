"""``launch --rehearse``: the real recipe for a few steps and one save, then exact figures for the whole run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kohya_runner.artefact.lora import inspect
from kohya_runner.diagnosis.events import Step
from kohya_runner.diagnosis.progress import Stream
from kohya_runner.engines.support import INITIAL_STEP
from kohya_runner.errors import NoCheckpointError, exit_code
from kohya_runner.findings import Finding, finding_json
from kohya_runner.machine.disk import DiskItem, DiskPlan, disk_plan
from kohya_runner.machine.host import PeakGpuMemory, read_host
from kohya_runner.plan.cost import Speed, TimePlan, budget_findings
from kohya_runner.plan.rehearsal import WARM_UP, Saves, rehearsed, saves_of
from kohya_runner.plan.value import Plan
from kohya_runner.record import lock, record
from kohya_runner.record.metrics_file import Tail
from kohya_runner.record.record import Record
from kohya_runner.record.resume_point import LAST_OF_STATE
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.run import launch
from kohya_runner.run.class_painting import with_class_images
from kohya_runner.run.observers import AfterRun, Reporter
from kohya_runner.text import child_environment, duration, size


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
    """The trainer notes the time just before it writes (train_network.py:879)."""
    try:
        return max(0.0, final.stat().st_mtime - float(inspect(final).metadata["ss_training_finished_at"]))
    except (KeyError, ValueError):  # no_metadata
        return 0.0


def _state_seconds(state: Path) -> float:
    try:
        return max(0.0, (state / LAST_OF_STATE).stat().st_mtime - (state / INITIAL_STEP.numbers).stat().st_mtime)
    except OSError:
        return 0.0


def _sample_seconds(folder: Path) -> float | None:
    """From the first picture of a round to its last, and as long again as one took."""
    times = sorted(p.stat().st_mtime for p in folder.glob("*.png")) if folder.is_dir() else []
    if len(times) < 2:
        return None
    return (times[-1] - times[0]) / (len(times) - 1) * len(times)


WORKER = "rehearsal_load_worker.py"
LOAD_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a rehearsal showed, and what that means for the whole run."""

    run_dir: Path
    practice: bool
    loaded: str
    measured: Measured
    saves: Saves
    time: TimePlan
    disk: DiskPlan
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0, or the code of what stands against the whole run."""
        return exit_code(self.findings)

    def rows(self) -> Iterator[tuple[str, str]]:
        m, mark = self.measured, "   PRACTICE: these figures are not the trainer's" if self.practice else ""
        yield "speed", f"{m.seconds_per_step:.3f} s a step over {m.steps} steps, without the warm-up{mark}"
        yield "set-up", f"{duration(m.setup)} to the first step"
        yield "checkpoint", f"{size(m.checkpoint_bytes)}, {m.checkpoint_seconds:.1f} s to write; {self.loaded}"
        if m.state_bytes is not None:
            yield "state", f"{size(m.state_bytes)}, {m.state_seconds or 0:.1f} s to write"
        if self.saves.samples:
            took = "not measured" if m.sample_seconds is None else f"{m.sample_seconds:.1f} s each"
            yield "samples", f"{self.saves.samples} rounds of sample pictures, {took}"
        yield "GPU", "no GPU seen" if m.peak_vram is None else f"{size(m.peak_vram)} in use at the peak (all programs)"
        yield "RAM", f"{size(m.peak_ram)} at the peak (the largest process)"
        yield "disk", ", ".join(f"{i.what} {size(i.bytes)}" for use in self.disk.uses for i in use.items)
        yield "whole run", str(self.time)

    def as_json(self) -> dict[str, Any]:
        """The object of ``launch --rehearse --json`` (docs/resume.md)."""
        items = [{"what": i.what, "bytes": i.bytes} for use in self.disk.uses for i in use.items]
        seconds = self.measured.whole_run(self.time.steps, self.saves)
        return {
            "version": 1,
            "ok": not self.exit_code,
            "practice": self.practice,
            "rehearsal": str(self.run_dir),
            "loaded": self.loaded,
            "measured": asdict(self.measured),
            "whole_run": {**self.time.as_json(), "seconds": seconds, "checkpoints": self.saves.checkpoints,
                          "states": self.saves.states, "sample_rounds": self.saves.samples, "disk": items},
            "findings": [finding_json(f) for f in self.findings],
        }  # fmt: skip


def rehearse(plan: Plan, screen: Reporter, after: AfterRun, environ: Mapping[str, str] | None = None) -> Rehearsal:
    """Run the rehearsal of a plan that is ready; its files are removed again, its record and log stay.

    Raises what ``launch.run`` raises, and ``NoCheckpointError`` where the file that it saved cannot be loaded.
    """
    env = dict(os.environ if environ is None else environ)
    plan = with_class_images(plan, screen, env)
    made, name = rehearsed(plan), plan.workspace.runs / plan.name
    lock.take(name, "rehearsal")
    output = RunPaths(made.ready.run_dir).output
    try:
        with PeakGpuMemory(env) as gpu_memory:
            ended = launch.run(made, launch.Policy(again=True), screen, after, env)
        measured = replace(read(made.ready.run_dir, ended), peak_vram=gpu_memory.peak)
        loaded = _load(made, output / ended.final)
        return _judged(plan, made.ready.run_dir, measured, loaded=loaded, ended=ended)
    finally:
        shutil.rmtree(output, ignore_errors=True)
        lock.release(name, "rehearsal")


def _judged(plan: Plan, run_dir: Path, measured: Measured, *, loaded: str, ended: Record) -> Rehearsal:
    saves, total, recipe = saves_of(plan), plan.ready.steps.total, plan.loaded.recipe
    speed = round(measured.effective(total, saves), 4)
    timings = ended.timings.model_copy(update={"seconds_per_step": speed})
    record.write(run_dir, ended.changed(timings=timings))  # later plans count with it
    price = recipe.budget.price_per_hour if recipe else None
    time = TimePlan(total, Speed(speed, measured.setup, f"rehearsal {ended.name}/{ended.run_id}"), price)
    disk = _disk(plan, measured)
    found = disk.findings
    if recipe is not None:
        places = {key: plan.loaded.where("budget", key) for key in type(recipe.budget).model_fields}
        each = plan.ready.steps.steps_per_epoch
        found = (*found, *budget_findings(recipe.budget, time, steps_per_epoch=each, places=places))
    return Rehearsal(run_dir, plan.request.practice, loaded, measured, saves, time, disk, found)


def _disk(plan: Plan, measured: Measured) -> DiskPlan:
    """The files of the whole run by their true sizes; the room they need at once."""
    saves, output = plan.ready.steps.saves, RunPaths(plan.ready.run_dir).output
    items = [DiskItem("checkpoints", measured.checkpoint_bytes * saves.most_checkpoints, output)]
    if measured.state_bytes is not None:
        items.append(DiskItem("training states", measured.state_bytes * saves.most_states, output))
    return disk_plan(items, read_host((plan.workspace.root, plan.workspace.runs), environ=os.environ).filesystems)


def _load(plan: Plan, final: Path) -> str:
    """Load the saved file as the trainer would; what was seen of it."""
    if plan.request.practice or plan.python is None:
        return f"{inspect(final).tensors} tensors by its header"
    worker = Path(__file__).with_name(WORKER)
    done = subprocess.run(
        (str(plan.python.path), str(worker), str(final)),
        env={**child_environment(os.environ), **plan.ready.command.env},
        capture_output=True, text=True, timeout=LOAD_SECONDS, check=False,
    )  # fmt: skip
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
        tensors, finite = int(found["tensors"]), bool(found["finite"])
    except (ValueError, IndexError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise NoCheckpointError(f"{final.name}, saved by the rehearsal, cannot be loaded: {last}") from None
    if not finite:
        hint = "lower the learning rate, or train in bf16"
        raise NoCheckpointError(f"{final.name} contains NaN or infinity after the rehearsal's steps", hint=hint)
    return f"loaded again: {tensors} tensors, all finite"
