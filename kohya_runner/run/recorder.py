"""Keeps a run's record true while the trainer runs, and judges the run at its end by the files it left."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from kohya_runner.run import artefact, checkpoints, record
from kohya_runner.run.events import Checkpoint, Epoch, Event, Finished, Modules, NoData, Removed, Step

if TYPE_CHECKING:
    from pathlib import Path

    from kohya_runner.run.identity import ProcessId
    from kohya_runner.run.supervise import Outcome

LOOK_SECONDS = 1.0
WRITE_SECONDS = 5.0
"""How often the numbers of the running trainer are put on the disk; states and checkpoints are put there at once."""


class Recorder:
    """One run's record. Every change of state or of the checkpoints is on the disk before the method returns."""

    def __init__(self, run_dir: Path, begun: record.Record) -> None:
        """``begun`` is what is known before the launch."""
        self.run_dir = run_dir
        self.now = begun
        self.finished = self.no_data = False
        self._enabled: dict[str, int] = {}
        self._written = self._looked = 0.0
        self._changed = False
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
        """The trainer is there."""
        timings = self.now.timings.model_copy(update={"started": time.time()})
        self.now = self.now.changed(state="running", process=record.Process.of(process), timings=timings)
        self.save()

    def tick(self) -> None:
        """Now and then look for new checkpoints and put the numbers on the disk."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._look()
        if self._changed and time.monotonic() - self._written > WRITE_SECONDS:
            self.save()

    def _look(self) -> None:
        """Take in the checkpoints as they lie there: size, modules, hash of each that is whole."""
        seen = checkpoints.found(self.run_dir / self.now.output_dir, self.now.checkpoints, self._since)
        seen = tuple(self._last_epoch(c) for c in seen)
        self._looked = time.monotonic()
        if seen != self.now.checkpoints:
            self.now = self.now.changed(checkpoints=seen)
            self.save()

    def _last_epoch(self, checkpoint: record.Checkpoint) -> record.Checkpoint:
        """The file without a number is the last epoch."""
        if checkpoint.file != self.now.final or checkpoint.epoch is not None:
            return checkpoint
        return checkpoint.model_copy(update={"epoch": self.now.epochs_planned})

    @property
    def _since(self) -> float:
        return self.now.timings.started or self.now.timings.queued or 0.0

    def abandoned(self, why: str, *, stopped: bool) -> None:
        """Something stood in the way before the trainer was there, or somebody stopped it."""
        if self.now.state == "starting":
            timings = self.now.timings.model_copy(update={"ended": time.time()})
            state: record.State = "stopped" if stopped else "failed"
            self.now = self.now.changed(state=state, timings=timings, exit=record.Exit(why=why))
            self.save()

    def event(self, event: Event) -> None:
        """Take in what the trainer said."""
        match event:
            case Step():
                self._step(event)
            case Epoch():
                self.now = self.now.changed(epochs_seen=event.number)
            case Modules() if event.enabled:
                self._enabled[event.what] = event.number
            case Checkpoint() | Removed():
                self._looked = 0.0
            case Finished():
                self.finished = True
            case NoData():
                self.no_data = True
            case _:
                pass

    def _step(self, event: Step) -> None:
        timings = self.now.timings
        if event.step > 0 and timings.first_step is None:
            timings = timings.model_copy(update={"first_step": time.time()})
        if event.step > 1 and timings.first_step is not None:
            # by our own clock: the trainer's bar forgets the time of its saves (unpause, train_network.py:1494)
            seconds = round((time.time() - timings.first_step) / (event.step - 1), 4)
            timings = timings.model_copy(update={"seconds_per_step": seconds})
        loss = self.now.loss if event.loss is None else event.loss if math.isfinite(event.loss) else str(event.loss)
        self.now = self.now.changed(steps_seen=max(event.step, self.now.steps_seen), timings=timings, loss=loss)
        self._changed = True

    @property
    def expected_modules(self) -> int | None:
        """LoRA modules the trainer said it trains; None where it did not say."""
        return sum(self._enabled.values()) if self._enabled else None

    def finish(self, outcome: Outcome) -> record.Record:
        """Judge, hash, and write the last state. Where nobody watched the end the outcome has no code."""
        output = self.run_dir / self.now.output_dir
        self._look()
        expected, practice = self.expected_modules or self.now.modules, self.now.practice
        problem = artefact.judge(output / self.now.final, self._since, expected, practice=practice)
        state, why = self._verdict(outcome, problem)
        self.now = self.now.changed(
            state=state,
            checkpoints=checkpoints.hashed(output, self.now.checkpoints),
            modules=expected,
            timings=self.now.timings.model_copy(update={"ended": outcome.ended}),
            exit=_exit(outcome, why),
        )
        self.save()
        self._diagnose()
        return self.now

    def _diagnose(self) -> None:
        """Why it failed, from its log; a fault in there must not cost the record of the run."""
        if self.now.state not in ("failed", "lost"):
            return
        from kohya_runner.run.diagnosis.report import of_run

        try:
            self.now = self.now.changed(diagnosis=of_run(self.run_dir, self.now).as_json())
        except Exception:  # noqa: BLE001 - as above
            return
        self.save()

    def _verdict(self, outcome: Outcome, problem: str) -> tuple[record.State, str]:
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
        return "failed", problem if code == 0 else "; ".join(filter(None, (f"the trainer ended with {ended}", problem)))


def _exit(outcome: Outcome, why: str) -> record.Exit:
    """``stop`` only where it is why the run failed: a trainer may have come to its end all the same."""
    stop = outcome.stop.code if outcome.stop and why == outcome.stopped else ""
    return record.Exit(code=outcome.returncode, signal=outcome.signal, why=why, stop=stop, peak_rss=outcome.peak_rss)
