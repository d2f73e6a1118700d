"""Keeps a run's record up to date while the trainer runs, and judges the run at its end by its files."""

from __future__ import annotations

import contextlib
import math
import os
import time
from pathlib import Path

from kohya_runner.artefact import lora as artefact
from kohya_runner.diagnosis import events
from kohya_runner.record import attempts, ledger, record
from kohya_runner.record.metrics_file import read
from kohya_runner.record.process_identity import ProcessId, boot_seconds
from kohya_runner.record.record import RecordedState
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.run import checkpoints, exit_causes, stop_request
from kohya_runner.run.checkpoint_check import CheckpointCheck, Expected
from kohya_runner.run.exit_causes import ExitCause
from kohya_runner.run.spending import spending
from kohya_runner.run.supervise import Outcome
from kohya_runner.text import printable

LOOK_SECONDS = 1.0
WRITE_SECONDS = 5.0
"""How often the numbers of the running trainer are put on the disk; states and checkpoints are put there at once."""
RESERVE = 1 << 18
"""Bytes held back so that a full disk cannot keep the last state from the record: several times a usual record."""


class Recorder:
    """One run's record. Every change of state or of the checkpoints is on the disk before the method returns."""

    def __init__(self, run_dir: Path, begun: record.Record) -> None:
        self.run_dir = run_dir
        self.now = begun
        self.finished = self.no_data = False
        self._enabled: dict[str, int] = {}
        self._check = CheckpointCheck(run_dir / begun.output_dir)
        self._written = self._looked = 0.0
        self._first = max(0.0, (begun.timings.first_step or 0.0) - (begun.timings.started or 0.0))
        self._whole: set[str] = {c.file for c in begun.checkpoints if c.complete}
        self._removed: set[str] = {c.file for c in begun.checkpoints if c.removed}  # by the trainer itself
        self._changed = False
        # random, for some file systems keep no zeros; a full disk holds nothing back
        with contextlib.suppress(OSError):
            RunPaths(run_dir).disk_reserve.write_bytes(os.urandom(RESERVE))
        self.save()

    def save(self) -> None:
        """Put the record on the disk; where that is full now, the next look tries again."""
        try:
            record.write(self.run_dir, self.now)
        except OSError:
            self._changed = True
            return
        self._written = time.monotonic()
        self._changed = False

    def started(self, process: ProcessId) -> None:
        timings = self.now.timings
        if timings.started is None:
            timings = timings.model_copy(update={"started": time.time(), "boot": boot_seconds()})
        self.now = self.now.changed(state="running", process=process, timings=timings)
        self.save()

    def fetched(self, seconds: float) -> None:
        timings = self.now.timings.model_copy(update={"fetching": round(seconds, 1)})
        self.now = self.now.changed(timings=timings)

    def tick(self) -> None:
        """Look for new checkpoints now and then, check those that are waiting, write the record."""
        self._judged(self._check.check_some(self.now.checkpoints, self._expected))
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._look()
        if self._changed and time.monotonic() - self._written > WRITE_SECONDS:
            self.save()

    def _look(self) -> None:
        """List the checkpoints in the output folder, with size and modules of each."""
        seen = checkpoints.found(self.run_dir / self.now.output_dir, self.now.checkpoints, self.now.earlier)
        self._looked = time.monotonic()
        self._judged(tuple(self._last_epoch(c) for c in seen))

    def _judged(self, seen: tuple[record.SavedCheckpoint, ...]) -> None:
        if seen != self.now.checkpoints:
            self._whole |= {c.file for c in self.now.checkpoints if c.complete}
            self.now = self.now.changed(checkpoints=seen)
            self.save()

    def _note_losses(self) -> None:
        """What was whole and is not any more, and was not removed by the trainer: the last file is judged by itself.

        Diffusers removes whole folders of its states without a word.
        """
        for c in self.now.checkpoints:
            if c.file not in self._whole or c.file == self.now.final or "/" in c.file:
                continue
            if c.removed and c.file not in self._removed:
                self.note("checkpoint.gone", f"{c.file} was whole and is gone; the trainer did not remove it")
            elif not c.complete and not c.removed:
                self.note("checkpoint.cut", f"{c.file} was whole and {c.problem}")

    def _last_epoch(self, checkpoint: record.SavedCheckpoint) -> record.SavedCheckpoint:
        """The file without a number is the last epoch."""
        if checkpoint.file != self.now.final or checkpoint.epoch is not None:
            return checkpoint
        return checkpoint.model_copy(update={"epoch": self.now.epochs_planned})

    def abandoned(self, why: str, *, stopped: bool) -> None:
        if self.now.state == "starting":
            timings = self.now.timings.model_copy(update={"ended": time.time()})
            state: RecordedState = "stopped" if stopped else "failed"
            self.now = self.now.changed(state=state, timings=timings, exit=record.Exit(why=why, asked=why == "SIGINT"))
            _give_back(self.run_dir)
            self.save()

    def event(self, event: events.Event) -> None:
        match event:
            case events.Step():
                self._step(event)
            case events.Epoch():
                self.now = self.now.changed(epochs_seen=event.number)
            case events.ModulesMade() if event.enabled:
                self._enabled[event.what] = event.number
            case events.CheckpointStarted():
                self._looked = 0.0
            case events.CheckpointRemoved():
                self._looked = 0.0
                self._removed.add(event.path.name)
            case events.Finished():
                self.finished = True
            case events.NoData():
                self.no_data = True
            case _:
                pass

    def _step(self, event: events.Step) -> None:
        timings, own = self.now.timings, event.step - self.now.first_step
        if own > 0 and timings.first_step is None:
            timings = timings.model_copy(update={"first_step": time.time()})
            self._first = timings.gone or 0.0
        if own > 1 and timings.first_step is not None:
            # by our own clock: the trainer's bar forgets the time of its saves (unpause, train_network.py:1666)
            seconds = round(max(0.0, (timings.gone or 0.0) - self._first) / (own - 1), 4)
            timings = timings.model_copy(update={"seconds_per_step": seconds})
        loss, nan_step = self.now.loss, self.now.nan_step
        if event.loss is not None:
            loss = event.loss if math.isfinite(event.loss) else str(event.loss)
            nan_step = event.step if nan_step is None and not math.isfinite(event.loss) else nan_step
        seen = max(event.step, self.now.steps_seen)
        self.now = self.now.changed(steps_seen=seen, timings=timings, loss=loss, nan_step=nan_step)
        self._changed = True

    def note(self, code: str, text: str) -> None:
        self.now = self.now.changed(notes=(*self.now.notes, record.Note(time=time.time(), code=code, text=text)))
        self.save()

    @property
    def _expected(self) -> Expected:
        family = self.now.recipe.get("family") or {}
        said = sum(self._enabled.values())  # LoRA modules the trainer said it trains
        return Expected(said or self.now.modules, str(family.get("value") or ""))

    def finish(self, outcome: Outcome) -> record.Record:
        """Judge, hash, and write the last state. Where nobody watched the end the outcome has no code."""
        output = self.run_dir / self.now.output_dir
        self._look()
        self._note_losses()
        if outcome.fault is not None:
            gone, kind = "for a while" if isinstance(outcome.fault, OSError) else "from then on", type(outcome.fault)
            told = f"a part of the watch failed, and did not watch {gone}: {kind.__name__}: {outcome.fault}"
            self.note("watch.fault", printable(told))
        expected, practice = self._expected.modules, self.now.practice
        judged = self._check.check_all(self.now.checkpoints, self._expected)
        last, holds = output / self.now.final, self.now.holds
        earlier = self.now.earlier.get(self.now.final, "")
        problem = artefact.judge(last, earlier, expected, practice=practice, holds=holds)
        problem = problem or _content_problem(self.now.final, judged)
        cause = exit_causes.find(outcome, self.now, self.run_dir / self.now.log)
        state, why = self._verdict(outcome, problem, cause)
        self.now = self.now.changed(
            state=state,
            checkpoints=judged,
            modules=expected,
            timings=self._ended(outcome),
            exit=_exit(outcome, why, cause if state in ("failed", "lost") else None).model_copy(
                update={"asked": state == "stopped" and self._asked(why)}
            ),
        )
        self.now = checkpoints.renamed(output, self.now)
        spent = spending(self.run_dir, self.now, read(self.run_dir), state=state)
        self.now = self.now.changed(spending=dict(spent.seconds))
        _give_back(self.run_dir)
        self.save()
        self._diagnose()
        with contextlib.suppress(OSError):  # a full disk is no reason to forget how the run ended
            attempts.close_last(ledger.view(self.run_dir))
        return self.now

    def _asked(self, why: str) -> bool:
        """Whether a person stopped it: what only hears a signal may be a machine that is taken away."""
        request = stop_request.read(self.run_dir)
        return why not in ("SIGTERM", "SIGHUP") or bool(request and request.attempt == self.now.attempt)

    def _ended(self, outcome: Outcome) -> record.Timings:
        """With the end; how long it ran is known where somebody watched it."""
        timings = self.now.timings
        watched = outcome.returncode is not None or outcome.stopped
        return timings.model_copy(update={"ended": outcome.ended, "ran": timings.gone if watched else None})

    def _diagnose(self) -> None:
        """Why it failed, from its log; a fault in there must not cost the record of the run."""
        if self.now.state not in ("failed", "lost"):
            return
        from kohya_runner.diagnosis.diagnose import of_run

        try:
            self.now = self.now.changed(diagnosis=of_run(self.run_dir, self.now).as_json())
        except Exception:  # noqa: BLE001 - as above
            return
        self.save()

    def _verdict(self, outcome: Outcome, problem: str, cause: ExitCause | None) -> tuple[RecordedState, str]:
        """The file decides; how the process ended only says why there is none."""
        code = outcome.returncode
        if not problem and (self.finished or code in (0, None)):
            return "succeeded", ""
        if outcome.stopped:
            return "failed" if outcome.stop else "stopped", outcome.stopped
        if self.no_data:
            return "failed", "the trainer found no data (it then ends with exit code 0)"
        if code is None:
            return "lost", problem
        ended = f"signal {outcome.signal}" if outcome.signal else f"exit code {code}"
        of = f": {cause.why}" if cause else ""
        parts = (f"the trainer ended with {ended}{of}", problem)
        return "failed", problem if code == 0 else "; ".join(filter(None, parts))


def _content_problem(final: str, judged: tuple[record.SavedCheckpoint, ...]) -> str:
    """Why a whole final file is no result, or which other checkpoint shows that it cannot be one."""
    last = [c for c in judged if c.file == final]
    bad = [c for c in (*last, *judged) if (c.problem if c.file == final else c.nonfinite)]
    return f"{bad[0].file} {bad[0].problem}" if bad else ""


def _exit(outcome: Outcome, why: str, cause: ExitCause | None) -> record.Exit:
    """``stop`` only where it is why the run failed: a trainer may have come to its end all the same."""
    stop = outcome.stop.code if outcome.stop and why == outcome.stopped else ""
    named = cause.code if cause else ""
    return record.Exit(
        code=outcome.returncode, signal=outcome.signal, why=why, stop=stop, cause=named, peak_rss=outcome.peak_rss
    )


def _give_back(run_dir: Path) -> None:
    """Free the reserve for what must be written now."""
    with contextlib.suppress(OSError):
        RunPaths(run_dir).disk_reserve.unlink()
