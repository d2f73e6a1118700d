"""A small process of its own that outlives the runner: it stops a run at its budget, and does what follows the run.

Started before the trainer, in its own session. While the runner lives it only watches. Once the runner is gone it stops
the trainer at the deadline as the runner would have done (never in the middle of a checkpoint), writes down how the run
ended, and goes on to the message and the pod. It ends by itself once nothing is left to do.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kohya_runner.errors import RunnerError
from kohya_runner.record import ledger, lock, record
from kohya_runner.record.process_identity import ProcessId, group_of, identify
from kohya_runner.record.record import UNDER_WAY, Record, Timings
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.run import takeover
from kohya_runner.run.guards.state import Deadline, deadline
from kohya_runner.run.stop_sequence import RUN, Grace, ProcessGroup
from kohya_runner.run.supervise import stop_group
from kohya_runner.safe_files import HERE, locked_now, open_for_write

LOOK = 1.0
GRACE_SECONDS = Grace().save_s + Grace().int_s + Grace().term_s + 30.0
"""Seconds that a living runner has, the grace of its own sequence and a little, before its trainer is stopped."""


def start(run_dir: Path, begun: Record, environ: Mapping[str, str]) -> None:
    """Start one for a run that has limits or something to do afterwards; a second one ends at once."""
    limited = deadline(begun.budget) is not None
    if not limited and not any(begun.finish.get(name) for name in ("pod", "notify", "compare", "publish")):
        return
    env = {name: value for name, value in environ.items() if name != RUN}
    handle = open_for_write(RunPaths(run_dir).sentinel_log, os.O_APPEND)
    with os.fdopen(handle, "ab") as log, contextlib.suppress(OSError):
        subprocess.Popen(
            (sys.executable, "-m", "kohya_runner.finish.sentinel", os.path.abspath(run_dir), os.getcwd()),  # noqa: PTH109
            cwd=HERE, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def main(run_dir: Path) -> None:
    """Watch one run until nothing is left to do."""
    with locked_now(RunPaths(run_dir).sentinel_lock) as mine:
        if mine:
            _Watch(run_dir).run()


class _Watch:
    """What is known of the run, and what is done about it."""

    def __init__(self, run_dir: Path) -> None:
        self._dir = run_dir
        self._said: dict[str, Any] = {}
        self._changed = 0
        self._stopped = False

    def run(self) -> None:
        while self._dir.is_dir():
            self._read()
            try:
                if self._said and self._looked():
                    return
            except OSError as fault:  # a disk that is full, a volume that is away: the next look may see more
                _say(f"{fault.filename or self._dir}: {fault.strerror or fault}")
            time.sleep(LOOK)

    def _read(self) -> None:
        path = RunPaths(self._dir).record
        with contextlib.suppress(OSError, ValueError):
            changed = path.stat().st_mtime_ns
            if changed != self._changed:
                self._said, self._changed = json.loads(path.read_bytes()), changed

    def _looked(self) -> bool:
        runner, trainer = self._process("runner"), self._process("process")
        watched = runner is not None and runner.alive()
        if trainer is None and not watched and self._said.get("state") in UNDER_WAY:
            trainer = self._adopted()
        if self._said.get("state") not in UNDER_WAY:
            from kohya_runner.finish import after

            return not after.open_actions(record.read(self._dir)) or (not watched and self._finished())
        if trainer is not None and trainer.alive():
            limit, gone = deadline(self._said.get("budget") or {}), self._gone
            over = limit is not None and gone is not None and gone >= limit.after + (GRACE_SECONDS if watched else 0.0)
            if limit is not None and over and not self._stopped:
                return self._end(trainer, limit, watched=watched)
            return False
        return not watched and self._settled()

    @property
    def _gone(self) -> float | None:
        try:
            return Timings.model_validate(self._said.get("timings") or {}).gone
        except ValueError:
            return None

    def _process(self, key: str) -> ProcessId | None:
        try:
            found = self._said[key]
            return ProcessId(int(found["pid"]), int(found["started"]), str(found["boot_id"]))
        except (KeyError, TypeError, ValueError):
            return None

    def _adopted(self) -> ProcessId | None:
        """A trainer whose runner was killed before it could record the process; it is recorded now."""
        pids = ProcessGroup(ProcessId(0), self._log).members()
        leader = next((identify(pid) for pid in pids if group_of(pid) == pid), None)
        if leader is not None:
            begun = record.read(self._dir)
            timings = begun.timings.model_copy(update={"started": begun.timings.queued})
            record.write(self._dir, begun.changed(state="running", process=leader, timings=timings))
            self._read()
        return leader

    @property
    def _log(self) -> str:
        return str(self._dir / str(self._said.get("log")))

    def _end(self, trainer: ProcessId, limit: Deadline, *, watched: bool) -> bool:
        """Stop the trainer: the budget is spent. A living runner judges the run itself."""
        _say(f"{limit.stop.why}: the trainer (process {trainer.pid}) is stopped")
        if watched:
            self._stopped = True
            output = self._dir / str(self._said.get("output_dir"))
            stop_group(ProcessGroup(trainer, self._log), output, grace=Grace())
            return False
        if not self._held():
            return False
        takeover.end_run(ledger.view(self._dir), Grace(), limit.stop)
        return self._finished()

    def _held(self) -> bool:
        """Take the run over, unless somebody else has just adopted it."""
        try:
            lock.take(self._dir.parent, self._dir.name)
        except RunnerError:
            return False
        return True

    def _settled(self) -> bool:
        """Neither runner nor trainer is there any more: judge the run by what it left."""
        if not self._held():
            return False
        takeover.judge_ended(ledger.view(self._dir))
        lock.release(self._dir.parent, self._dir.name)
        return self._finished()

    def _finished(self) -> bool:
        from kohya_runner.finish import after

        try:
            after.finish(self._dir, record.read(self._dir), _say, os.environ)
        except OSError as fault:  # once: a second time would say everything twice
            _say(f"{fault.filename or self._dir}: {fault.strerror or fault}")
        return True


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        os.chdir(sys.argv[2])
        main(Path(sys.argv[1]))
    except RunnerError as fault:
        _say(f"{type(fault).__name__}: {fault.message}")
