"""Runs that have ended, with real files, for what comes after them."""

from __future__ import annotations

import hashlib

from kohya_runner.record import record
from kohya_runner.record.record import Exit, Record, SavedCheckpoint, Timings

DIAGNOSIS = {
    "causes": [{"code": "out-of-vram", "cause": "the GPU's memory is full", "fixes": ["args: {a: 1}", "b", "c"]}]
}


def ended(folder, state="succeeded", why="", **values):
    """A run in a folder of its own: its record is written, its last checkpoint lies there."""
    run_dir = folder / "runs" / "my cat" / "001"
    (run_dir / "output").mkdir(parents=True)
    data = b"weights" * 100
    (run_dir / "output" / "my cat.safetensors").write_bytes(data)
    kept = SavedCheckpoint(
        file="my cat.safetensors", bytes=len(data), complete=True, epoch=2, sha256=hashlib.sha256(data).hexdigest()
    )
    made = Record(
        **{
            "state": state, "run_id": "001", "name": "my cat", "argv": (), "cwd": "/", "final": "my cat.safetensors",
            "output_dir": "output", "log": "trainer.log", "checkpoints": (kept,), "steps_seen": 40, "steps_planned": 40,
            "timings": Timings(started=1000.0, ended=8200.0), "exit": Exit(why=why), **values,
        }
    )  # fmt: skip
    record.write(run_dir, made)
    return run_dir, made
