"""``compare --images``: the sample pictures that a training made on its way, compared like any others."""

from __future__ import annotations

import re
from pathlib import Path

from kohya_runner.compare.comparison import Comparison, Head, Shown
from kohya_runner.compare.metrics import Training
from kohya_runner.compare.settings import SweepSettings
from kohya_runner.compare.verdict import suggest
from kohya_runner.compare.write_up import candidates, measured, write
from kohya_runner.errors import UsageError
from kohya_runner.record.run_paths import COMPARISON, RunPaths

SAMPLE = re.compile(
    r"(?:(?P<name>.*)_)?(?P<when>e\d{6}|\d{6})_(?P<number>\d{2})_(?P<time>\d{14})(?:_(?P<seed>\d+))?\.png"
)
"""``{output_name}_e{epoch:06d}_{i:02d}_{ts}[_{seed}].png`` (library/sampling.py:413); steps have no ``e``."""
OUTPUT = "sample"
MORE = "samples have no second seed; `kohya-runner compare RUN --seeds 42,43,44,45` paints the same epochs with four"


def compare_images(folder: Path, output: Path | None = None) -> Comparison:
    """Compare the samples of one folder: epochs or steps across, the prompts' numbers down.

    Raises ``UsageError``: the folder is not there or holds no sample of the trainer.
    """
    found = _newest(folder)
    run = next((p for p in (folder.parent, *folder.parent.parents[:2]) if RunPaths(p).record.is_file()), folder)
    whens = sorted({when for when, _ in found}, key=lambda when: (int(when.lstrip("e")), when))
    numbers = sorted({number for _, number in found})
    heads = tuple(_head(when) for when in whens)
    # seeds of one prompt may differ from epoch to epoch; what is compared is the prompt's place in the list
    shown = tuple(
        Shown(
            column, row, 0, found.get((when, number)), problem="" if (when, number) in found else "there is no sample"
        )
        for column, when in enumerate(whens)
        for row, number in enumerate(numbers)
    )
    settings = SweepSettings(prompts=tuple(f"sample {number}" for number in numbers), seeds=(0,), samplers=("",))
    table = measured(heads, shown, Training(), settings)
    comparison = Comparison(
        name=f"samples of {folder.parent.name}" if folder.name == OUTPUT else f"samples in {folder.name}",
        folder=output or run / f"{COMPARISON}-samples",
        columns=heads,
        prompts=settings.prompts,
        seeds=settings.seeds,
        shown=shown,
        table=table,
        suggestion=suggest(table, [head.label for head in heads], candidates(heads, shown, table), MORE),
        how={"samples": str(folder)},
        notes=("These are the training's own sample pictures: nothing was painted for this comparison.",),
    )
    write(comparison)
    return comparison


def _newest(folder: Path) -> dict[tuple[str, int], Path]:
    """The latest sample of each place: a resumed training paints some again."""
    try:
        names = sorted(folder.iterdir())
    except OSError as fault:
        raise UsageError(f"--images {folder}: {fault.strerror or fault}") from None
    matches = [(match, path) for path in names if (match := SAMPLE.fullmatch(path.name))]
    if not matches:
        raise UsageError(
            f"--images {folder}: contains no sample picture of the trainer",
            hint="they are named NAME_e000001_00_20260131110621.png",
        )
    matches.sort(key=lambda pair: pair[0]["time"])
    return {(match["when"], int(match["number"])): path for match, path in matches}


def _head(when: str) -> Head:
    number = int(when.lstrip("e"))
    if number == 0:
        return Head("before training", base=True, strength=0.0)
    epoch = when.startswith("e")
    label = f"epoch {number}" if epoch else f"step {number}"
    return Head(label, epoch=number if epoch else None, step=None if epoch else number, strength=1.0)
