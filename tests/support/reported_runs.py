"""A run's folder as a long run would have left it, with everything that a page can show; nothing was trained."""

from __future__ import annotations

import math
import random
import time

import PIL.Image

from kohya_runner.record import record
from kohya_runner.record.metrics_file import Appender
from kohya_runner.record.record import Exit, Record, RecordedTrainer, SavedCheckpoint, Timings

NASTY = '<script>alert("x")</script>{{ 7 * 7 }}\' onload=alert(1) "'
START = 1_764_000_000.0
EPOCHS, PER_EPOCH = 10, 100


def recorded(run_dir, **changes):
    """Write the record of a run that succeeded."""
    value = {"value": NASTY, "source": f"my {NASTY}.yaml:3:7"}
    made = Record(
        run_id=run_dir.name, name=run_dir.parent.name, state="succeeded", argv=("/usr/bin/python", f"--x={NASTY}"),
        cwd="/opt/sd", final="cat.safetensors", log="trainer.log", output_dir="output",
        recipe={
            "name": value, "args": {"learning_rate": {"value": 0.0001, "source": "cat.yaml:5:3"}, NASTY: value},
            "datasets": {"0": {"images": {"value": "pictures", "source": "cat.yaml:9:5"}}},
            "budget": {"price_per_hour": {"value": 0.5, "source": "cat.yaml:12:1"}},
        },
        env={"HF_HOME": NASTY}, trainer=RecordedTrainer(path="/opt/sd", commit="48d368fa", packages={"torch": NASTY}),
        dataset={"images": 203, "captions": 203, "folders": [{"name": NASTY}]},
        findings=({"severity": "warning", "code": "disk.low", "message": NASTY, "where": NASTY, "hint": NASTY},),
        gpus=({"name": NASTY, "bytes": 24 << 30, "driver": "550"},), steps_planned=EPOCHS * PER_EPOCH,
        steps_seen=EPOCHS * PER_EPOCH, epochs_planned=EPOCHS, epochs_seen=EPOCHS, loss=0.08, modules=264,
        timings=Timings(queued=START - 40, started=START - 30, first_step=START, ended=START + 1100,
                        seconds_per_step=1.05),
        checkpoints=tuple(
            SavedCheckpoint(file=f"cat-{n:06d}.safetensors", bytes=18_989_424, modules=264, epoch=n, complete=n != 4,
                       removed=n == 2, sha256=f"{n:064x}") for n in range(1, EPOCHS)
        ),
        exit=Exit(code=0, peak_rss=3 << 30),
    )  # fmt: skip
    run_dir.mkdir(parents=True, exist_ok=True)
    record.write(run_dir, made.changed(**changes))


def measured(run_dir, nan_from=None):
    """Write its metrics."""
    file, dice = Appender(run_dir / "metrics.jsonl"), random.Random(4)
    for name, at in (("loading the model", -25), ("caching latents", -15), ("training", 0)):
        file.add({"t": START + at, "phase": name})
    for epoch in range(1, EPOCHS + 1):
        first = (epoch - 1) * PER_EPOCH
        file.add({"t": START + first, "begins": epoch, "of": EPOCHS, "step": first})
        for step in range(first + 1, first + PER_EPOCH + 1, 2):
            loss = math.nan if nan_from and step >= nan_from else 0.08 + 0.1 / math.sqrt(step)
            t, wave = START + step * 1.05, (1 + math.cos(step / 160)) / 2
            file.add({"t": t, "step": step, "epoch": epoch, "loss": loss, "seconds_per_step": 1.0, "elapsed": step})
            rates = {"unet": 1e-4 * wave, "textencoder": 5e-5 * wave, NASTY: 2e-5}
            file.add({"t": t, "step": step, "lr": rates, "current": loss + dice.gauss(0, 0.03)})
        file.add({"t": START + first + PER_EPOCH * 1.05, "phase": "saving a checkpoint"})
        name = f"cat-{epoch:06d}.safetensors"
        file.add({"t": START + first + PER_EPOCH * 1.05, "checkpoint": name, "step": first + PER_EPOCH})


def sampled(run_dir, number=12):
    """Draw its sample images."""
    folder = run_dir / "output" / "sample"
    folder.mkdir(parents=True)
    for n in range(number):
        picture = PIL.Image.linear_gradient("L").resize((64 + 32 * (n % 3), 64)).convert("RGB")
        picture.rotate(30 * n).save(folder / f"cat_e{n // 2 + 1:06d}_{n % 2:02d}_20261124.png")
    (folder / "broken.png").write_bytes(b"no picture")


def alive(run_dir):
    """The same run while it goes on, as far as its record says: this process is its runner."""
    from kohya_runner.record.process_identity import this_process

    here = this_process()
    now = time.time()
    timings = Timings(queued=now - 500, started=now - 490, first_step=now - 480, seconds_per_step=1.05)
    recorded(run_dir, state="running", runner=here, process=here, timings=timings, steps_seen=420, exit=None,
             steps_planned=2000, epochs_planned=20)  # fmt: skip
