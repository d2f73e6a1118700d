"""A sweep with the real trainer on tiny weights: files that it wrote, in turn, and one page with the real painter."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from killed_runs import PICTURES, Place
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

STEPS, EPOCHS = 6, 2  # 6 pictures x 2 repeats / batch size 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Place:
    made = Place(tmp_path_factory.mktemp("it's swept"), sd_scripts, trainer_python).furnish()
    compared = "compare: {prompts: [a cat, a dog], steps: 1, size: 64x64, seeds: [7]}\n"
    made.recipe.write_text(made.recipe.read_text(encoding="utf-8") + compared, encoding="utf-8")
    return made


def swept(place: Place, room: Path, *words: str) -> tuple[int, Any]:
    command = (sys.executable, "-m", "kohya_runner", "sweep", str(place.recipe), f"--workspace={room}", "--json",
               f"--set=args.max_train_epochs={EPOCHS}", "--trust=args.tokenizer_cache_dir", "--allow=hub.offline",
               *words)  # fmt: skip
    environ = place.environ | {"KOHYA_SHRUNK_STEP_SECONDS": "0.05"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=600, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout.startswith("{") else done.stderr


def check(told: Any, room: Path) -> None:
    for run in told["runs"]:
        assert (run["state"], run["steps"], run["total"]) == ("succeeded", STEPS * EPOCHS, STEPS * EPOCHS), run
        assert 0 < run["loss"] < 10
        assert run["cost"] > 0
    trees = [path for path in (room / "datasets").glob("*/*") if path.is_dir() and not path.name.startswith("caches")]
    assert len(trees) == 1


@pytest.mark.daily
def test_two_runs_of_the_real_trainer_share_a_dataset_and_are_forecast(place: Place, tmp_path: Path) -> None:
    room = tmp_path / "two"
    code, told = swept(place, room, "--set=args.network_dim=2,4", "--price=3.6", "--max-cost=5", "--no-compare")
    assert code == 0, told
    check(told, room)
    assert [run["label"] for run in told["runs"]] == ["dim2", "dim4"]


@pytest.mark.full
def test_two_by_two_runs_are_compared_on_one_page(place: Place, tmp_path: Path) -> None:
    room = tmp_path / "four"
    words = (
        "--set=args.network_dim=2,4",
        "--set=args.learning_rate=1e-3,1e-4",
        "--set=args.cache_latents_to_disk=true",
    )
    code, told = swept(place, room, *words, "--price=3.6", "--max-cost=9")
    assert code == 0, told
    check(told, room)
    caches = [path.stat().st_mtime for path in (room / "datasets").rglob("*.npz")]
    second = json.loads((room / "runs" / told["runs"][1]["run"] / "record.json").read_text(encoding="utf-8"))
    assert len(caches) == PICTURES
    assert max(caches) < second["timings"]["queued"]
    found = told["comparison"]
    labels = [column["label"] for column in found["columns"]]
    assert labels == ["base", *(f"dim{d} learning_rate{r}" for d in (2, 4) for r in ("1e-3", "1e-4"))]
    assert (found["prompts"], found["seeds"], len(found["cells"])) == (["a cat", "a dog"], [7], 10)
    assert not [cell for cell in found["cells"] if cell["failed"]]
    folder = room / "sweeps" / "a_cat" / "comparison"
    with Image.open(folder / "contact-sheet.png") as sheet:
        assert sheet.width > sheet.height // 4
    assert "dim4 learning_rate1e-4" in (folder / "report.html").read_text(encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in room.glob("runs/*/*/output/*.safetensors")}
    code, told = swept(place, room, *words)
    assert code == 0, told
    assert {path: path.stat().st_mtime_ns for path in room.glob("runs/*/*/output/*.safetensors")} == before
