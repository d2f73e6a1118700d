"""What watching a run costs: the same practice run of about 20 s bare and supervised, wall time and CPU time.

    python benchmarks/supervision.py [PAIRS] [STEP_SECONDS]

Bare means: started with its output going to a file and waited for. Supervised means all of it: the record, the
metrics, the screen, the guards and the gate for checkpoints. Pairs alternate so that both see the same machine.
Fails where supervision adds more than 1 % to the wall time, the limit this project sets itself.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import PIL.Image

from kohya_runner.engines.arguments import Command
from kohya_runner.record.record import Record
from kohya_runner.run.observers import observers
from kohya_runner.run.recorder import Recorder
from kohya_runner.run.supervise import Watch, supervise

LIMIT = 1.01
ROOT = Path(__file__).parents[1]


def main(pairs: int = 3, step: float = 0.02) -> None:
    bare: list[float] = []
    watched: list[float] = []
    runner: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        command, environ = prepare(Path(name), step)
        for number in range(pairs):
            order = (run_bare, run_watched) if number % 2 == 0 else (run_watched, run_bare)
            for run in order:
                own = cpu()
                seconds = run(command, environ, Path(name) / f"{run.__name__} {number}.log")
                (bare if run is run_bare else watched).append(seconds)
                if run is run_watched:
                    runner.append(cpu() - own)
    ratio = statistics.median(watched) / statistics.median(bare)
    print(f"bare        {statistics.median(bare):8.3f} s   (median of {pairs}: {shown(bare)})")
    print(f"supervised  {statistics.median(watched):8.3f} s   (median of {pairs}: {shown(watched)})")
    print(f"runner CPU  {statistics.median(runner):8.3f} s   per run")
    print(f"ratio       {ratio:8.4f}     (limit {LIMIT})")
    sys.exit(0 if ratio <= LIMIT else 1)


def prepare(root: Path, step: float) -> tuple[Command, dict[str, str]]:
    folder = root / "data" / "10_cat"
    folder.mkdir(parents=True)
    for number in range(10):
        PIL.Image.new("RGB", (64, 64)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a cat", encoding="utf-8")
    options = (
        f"--train_data_dir={folder.parent}", f"--output_dir={root / 'outputs'}", "--output_name=cat", "--resolution=64",
        "--caption_extension=.txt", "--network_module=networks.lora", "--max_train_epochs=10",
        "--save_every_n_epochs=1", "--save_model_as=safetensors",
    )  # fmt: skip
    argv = (sys.executable, "-m", "kohya_runner.practice.trainer", "train_network.py", *options)
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "KOHYA_PRACTICE_STEP_SECONDS": str(step)}
    return Command(argv, root, {}), environ


def run_bare(command: Command, environ: dict[str, str], log: Path) -> float:
    started = time.perf_counter()
    with log.open("wb") as file:
        subprocess.run(command.argv, cwd=command.cwd, env=environ, stdout=file, stderr=file, check=True)
    return time.perf_counter() - started


def run_watched(command: Command, environ: dict[str, str], log: Path) -> float:
    started = time.perf_counter()
    outcome = supervise(command, guarded(log, command), environ=environ)
    assert outcome.returncode == 0  # noqa: S101
    return time.perf_counter() - started


class Silent:
    """A screen that shows nothing."""

    def event(self, line: str, *, lasting: bool) -> None:
        """Nothing."""

    def notice(self, line: str) -> None:
        """Nothing."""


def guarded(log: Path, command: Command) -> Watch:
    """The whole watch of a launch: record, screen, guards, the gate for checkpoints."""
    run_dir = log.with_suffix("")
    run_dir.mkdir()
    begun = Record(
        run_id="001", name="cat", practice=True, argv=command.argv, cwd=str(command.cwd), final="cat.safetensors",
        output_dir="outputs",
    )  # fmt: skip
    (run_dir / "outputs").symlink_to(command.cwd / "outputs")
    recorder = Recorder(run_dir, begun)
    return Watch(log, command.cwd / "outputs", observers(recorder, Silent()), on_start=recorder.started)


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def shown(seconds: list[float]) -> str:
    return ", ".join(f"{value:.3f}" for value in seconds)


if __name__ == "__main__":
    main(*(kind(text) for kind, text in zip((int, float), sys.argv[1:], strict=False)))
