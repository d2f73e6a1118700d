"""Makes the pictures of the README again, from the product itself.

    python benchmarks/pictures.py [WORKSPACE]

It needs chromium. ``plan.svg``: the plan of the quickstart on a terminal of 100 columns. ``curve.png``: the loss of a
practice run in its report. ``dataset.png``: the dataset page of the quickstart's pictures. ``sheet.png``: a contact
sheet, of the quickstart of a WORKSPACE in which it was trained and compared, else of colours that the tests' stand-in
paints: it shows where what stands.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import PIL.Image
from rich.console import Console

from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Request
from kohya_runner.show import plan_screen

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "docs" / "pictures"
RECIPE = Path("recipes/quickstart.yaml")
EPOCHS = ("--set", "args.max_train_epochs=20", "--set", "args.save_every_n_epochs=5")
COLOURS = 128


@contextlib.contextmanager
def place() -> Iterator[str]:
    """A copy of the recipes under a short name, which the pages show; the current folder while it is used."""
    folder = Path(tempfile.gettempdir()) / "kohya-runner"
    folder.mkdir()
    try:
        shutil.copytree(ROOT / "recipes", folder / "recipes")
        os.chdir(folder)
        yield str(folder)
    finally:
        os.chdir(ROOT)
        shutil.rmtree(folder)


def main() -> None:
    """All four."""
    with place() as name:
        folder = Path(name)
        plan()
        run = ("launch", str(RECIPE), "--practice", *EPOCHS)
        runner(*run, KOHYA_WORKSPACE=name, KOHYA_PRACTICE_STEP_SECONDS="0.02")
        runner("report", "quickstart/001", "--output", str(folder / "run.html"), KOHYA_WORKSPACE=name)
        runner("dataset", "report", str(RECIPE), "--output", str(folder / "dataset.html"), KOHYA_WORKSPACE=name)
        photograph(folder / "run.html", HERE / "curve.png", (0, 0, 1000, 690))
        photograph(folder / "dataset.html", HERE / "dataset.png", (0, 0, 1000, 900))
        run_dir = Path(sys.argv[1]) / "runs" / "quickstart" / "001" if len(sys.argv) > 1 else stand_in(folder)
        keep(PIL.Image.open(run_dir / "comparison" / "contact-sheet.png"), HERE / "sheet.png")


STAND_IN = """
import sys, sweep_trainer
from pathlib import Path
place = Path(sys.argv[1])
print(sweep_trainer.painting_checkout(place / "painter"))
print(sweep_trainer.trained_run(place, 6))
"""


def stand_in(folder: Path) -> Path:
    """A run of six epochs without weights worth the name, compared by a painter of plain colours."""
    environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'support'}"}
    command = (sys.executable, "-c", STAND_IN, str(folder / "stand-in"))
    made = subprocess.run(command, env=environ, check=True, capture_output=True, text=True)
    painter, run_dir = made.stdout.splitlines()
    prompts = ("--prompt", "pixel art, 24x24, a cat", "--prompt", "pixel art, 24x24, a chest", "--size", "256x256")
    runner("compare", run_dir, *prompts, KOHYA_RUNNER_SD_SCRIPTS=painter, KOHYA_RUNNER_PYTHON=sys.executable)
    return Path(run_dir)


def plan() -> None:
    """The plan's screen."""
    console = Console(width=100, record=True, file=io.StringIO(), force_terminal=True, markup=False, highlight=False)
    made = make_plan(Request(recipe=RECIPE, workspace="/workspace", elsewhere=True))
    plan_screen.show(console, made)
    console.save_svg(str(HERE / "plan.svg"), title=f"kohya-runner plan {RECIPE} --elsewhere")


def runner(*words: str, **environ: str) -> None:
    """A command of kohya-runner; it must succeed."""
    subprocess.run((sys.executable, "-m", "kohya_runner", *words), env={**os.environ, **environ}, check=True, stdout=2)


def photograph(page: Path, picture: Path, box: tuple[int, int, int, int]) -> None:
    """A page as chromium shows it at 1000 pixels; ``box`` is what is kept of it."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    with tempfile.TemporaryDirectory() as profile:
        shot = Path(profile) / "shot.png"
        options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}")
        size = f"--window-size={box[2]},{box[3]}"
        subprocess.run(
            (browser, *options, size, f"--screenshot={shot}", page.as_uri()), check=True, capture_output=True
        )
        keep(PIL.Image.open(shot).crop(box), picture)


def keep(picture: PIL.Image.Image, file: Path) -> None:
    """A small PNG: a page has few colours."""
    picture.convert("RGB").quantize(COLOURS).save(file, optimize=True)


if __name__ == "__main__":
    main()
