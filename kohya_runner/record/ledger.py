"""The runs of a workspace, as their records and the living processes show them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.artefact.lora import judge
from kohya_runner.errors import UsageError
from kohya_runner.record import record as records
from kohya_runner.record.process_identity import ProcessId
from kohya_runner.record.record import UNDER_WAY, Record, RecordError, RunState
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.safe_files import link_out, read_json, status
from kohya_runner.text import did_you_mean

AWAY: dict[str, RunState] = dict.fromkeys(("renting", "sending", "waiting", "running"), "starting")
"""Phases of a run on another machine in which it goes on, and its state until a record of it is here."""


@dataclass(frozen=True, slots=True)
class RunView:
    """One run as it stands now. Without a record (``unreadable``) only its folder is known."""

    path: Path
    state: RunState
    record: Record | None = None
    problem: str = ""

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def name(self) -> str:
        return self.path.parent.name

    @property
    def trainer(self) -> ProcessId | None:
        return self.record.process if self.record else None

    @property
    def log(self) -> Path:
        """The trainer's output; that of the last attempt where no record names it."""
        found = self.path / self.record.log if self.record else RunPaths(self.path).newest_log()
        return found if link_out(self.path, found) is None else Path(os.devnull)

    @property
    def output_dir(self) -> Path:
        return self.path / self.record.output_dir if self.record else RunPaths(self.path).output

    @property
    def runner(self) -> ProcessId | None:
        return self.record.runner if self.record else None


def runs(*runs_dirs: Path) -> tuple[RunView, ...]:
    """All runs, the oldest first. ``OSError`` where a folder is there and cannot be read: that is not "no runs"."""
    return tuple(sorted(map(view, filter(_is_run, folders(*runs_dirs))), key=_age))


def folders(*runs_dirs: Path) -> Iterator[Path]:
    """All that may be runs; ``OSError`` as of ``runs``."""
    return (path for folder in runs_dirs for name in _folders(folder) for path in _folders(name))


def _folders(path: Path) -> list[Path]:
    try:
        return [
            inner for inner in path.iterdir()
            if inner.is_dir() or (inner.is_symlink() and not inner.exists() and inner.name[0] != ".")
        ]  # fmt: skip
    except FileNotFoundError:
        if path.is_symlink():  # to a volume that is away
            raise
        return []


def _is_run(path: Path) -> bool:
    """Whether it has a record, or is called as a run is and holds what a trainer writes."""
    paths = RunPaths(path)
    try:
        if paths.record.exists() or paths.record.is_symlink() or paths.remote.exists() or not path.exists():
            return True
    except OSError:  # ``view`` says it, and the other runs are shown
        return True
    return path.name.isdecimal() and (paths.output.is_dir() or paths.newest_log().is_file())


def view(run_dir: Path) -> RunView:
    """One run, whatever state its folder is in."""
    paths = RunPaths(run_dir)
    try:
        here, away = paths.record.exists(), read_json(paths.remote)
        damaged = not away and paths.remote.exists()
    except OSError as fault:
        return RunView(run_dir, "unreadable", problem=f"{run_dir}: {fault.strerror}")
    phase, told = str(away.get("phase")), f"at {away.get('place')}: {away.get('said') or away.get('note')}"
    if away and not here:
        return RunView(run_dir, AWAY.get(phase, "failed"), problem=f"{phase} {told}")
    try:
        record = records.read(run_dir)
    except RecordError as fault:
        return RunView(run_dir, "unreadable", problem=fault.message)
    if damaged and record.state in UNDER_WAY:  # whose processes these are is not known
        return RunView(run_dir, "unreadable", problem=f"{paths.remote}: cannot be read")
    if away and record.state in UNDER_WAY:  # its processes are another machine's
        return RunView(run_dir, record.state if phase in AWAY else "lost", record, f"{phase} {told}")
    state, problem = _effective(run_dir, record)
    return RunView(run_dir, state, record, problem)


def find(runs_dir: Path, word: str | None) -> RunView:
    """The run a person means: by id, by name (its latest), by the beginning of either; None is the latest of all."""
    known = runs(runs_dir)
    if not known:
        raise UsageError(f"no runs in {runs_dir}", hint="start one with: kohya-runner launch RECIPE")
    if word is None:
        return known[-1]
    exact = [v for v in known if word in (v.run_id, f"{v.name}/{v.run_id}")] or [v for v in known if v.name == word]
    if exact:
        return exact[-1]
    begun = [v for v in known if word and (v.run_id.startswith(word) or v.name.startswith(word))]
    if begun and (len({v.name for v in begun}) == 1 or len(begun) == 1):
        return begun[-1]
    near = begun or known
    hint = did_you_mean(word, dict.fromkeys(v.name for v in near)) or did_you_mean(word, [v.run_id for v in near])
    raise UsageError(f"no run '{word}' in {runs_dir}", hint=hint)


def done_before(known: Sequence[RunView], name: str, fingerprint: str) -> RunView | None:
    """The last run that succeeded with the same options, data and trainer, and whose file is still there."""
    for found in reversed(known):
        kept = found.record
        if kept and found.name == name and kept.fingerprint == fingerprint != "" and found.state == "succeeded":
            return found if (found.path / kept.output_dir / kept.final).is_file() else None
    return None


def _effective(run_dir: Path, record: Record) -> tuple[RunState, str]:
    if record.state not in UNDER_WAY or (record.runner and record.runner.alive()):
        return record.state, records.why_ended(record)
    if record.process and record.process.alive():
        return "orphaned", "its runner is gone; the trainer still runs"
    started = record.timings.started
    final = run_dir / record.output_dir / record.final
    never = "the trainer was never started"
    bad = next((c for c in record.checkpoints if c.nonfinite and not c.removed), None)
    earlier = record.earlier.get(record.final, "")
    problem = judge(final, earlier, record.modules, practice=record.practice, holds=record.holds) if started else never
    problem = problem or (f"{bad.file} {bad.problem}" if bad else "")
    return ("lost", f"its runner is gone; {problem}") if problem else ("succeeded", "")


def _age(view: RunView) -> tuple[float, str]:
    if view.record is None:
        there = status(RunPaths(view.path).record) or status(view.path)
        return there.st_mtime if there else 0.0, view.run_id
    return view.record.timings.queued or view.record.timings.started or 0.0, view.run_id
