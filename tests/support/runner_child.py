"""A runner of its own process: watches one command, leaves markers and a record, and writes down the outcome."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace as Namespace

from kohya_runner.diagnosis.events import CheckpointStarted, ModulesMade, Step
from kohya_runner.engines.arguments import Command
from kohya_runner.record import record
from kohya_runner.record.process_identity import this_process
from kohya_runner.record.record import Record, Timings
from kohya_runner.run.stop_sequence import Grace
from kohya_runner.run.supervise import Watch, supervise


def main(run_dir: Path, settings: dict) -> None:
    modules = {}
    begun = Record(
        run_id=run_dir.name, name=run_dir.parent.name, practice=True, argv=tuple(settings["argv"]), cwd=str(run_dir),
        final=settings["final"], runner=this_process(), timings=Timings(queued=1.0),
    )  # fmt: skip

    def started(process):
        import time

        running = begun.changed(state="running", process=process, timings=Timings(queued=1.0, started=time.time()))
        record.write(run_dir, running)
        (run_dir / "marker started.part").write_text(str(process.pid))
        (run_dir / "marker started.part").rename(run_dir / "marker started")

    def happened(event):
        match event:
            case CheckpointStarted(path):
                (run_dir / f"marker saving {path.name}").touch()
            case Step(step=step) if step > 0:
                (run_dir / "marker stepping").touch()
            case ModulesMade(what, number, enabled) if enabled:
                modules[what] = number

    onlooker = Namespace(event=happened, tick=lambda: None)
    watch = Watch(run_dir / "trainer.log", run_dir / "output", (onlooker,), started, grace=Grace(*settings["grace"]))
    outcome = supervise(Command(tuple(settings["argv"]), run_dir, {}), watch, environ=os.environ)
    said = {**asdict(outcome), "fault": repr(outcome.fault) if outcome.fault else "", "modules": modules}
    (run_dir / "outcome.json").write_text(json.dumps(said), encoding="utf-8")


main(Path(sys.argv[1]), json.loads(sys.argv[2]))
