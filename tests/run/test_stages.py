"""A run of several processes, with the practice trainer in the trainer's place."""

from __future__ import annotations

import json
import os
from pathlib import Path

import forked
import pytest
from PIL import Image

pytestmark = pytest.mark.daily

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "flux_kontext_lora.yaml"


def edits(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True)
    rows = []
    for number in range(count):
        for kind, blue in (("before", 7), ("after", 200)):
            Image.new("RGB", (64, 64), (number, 0, blue)).save(folder / f"{kind}{number}.png")
        rows.append({"input_image": f"before{number}.png", "instruction": f"make it number {number}",
                     "output_image": f"after{number}.png"})  # fmt: skip
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "metadata.jsonl"


@pytest.fixture
def launch(odd_path: Path):
    """Launches practice; the exit code, what was said, and the run's folder."""
    metadata = edits(odd_path / "my edits")

    def run(*options: str, recipe: Path = RECIPE, **variables: str) -> tuple[int, str, Path]:
        changes = (f"datasets.0.images={json.dumps(str(metadata))}", "args.max_train_epochs=2",
                   "datasets.0.options.resolution=64")  # fmt: skip
        sets = [word for change in changes for word in ("--set", change)]
        command = ("launch", str(recipe), "--practice", *sets, *options)
        environ = {**os.environ, "HOME": str(odd_path / "home"), "KOHYA_WORKSPACE": str(odd_path / "ws"),
                   "PYTHONPATH": str(ROOT), **variables}  # fmt: skip
        environ.pop("XDG_CONFIG_HOME", None)
        code, out, err = forked.run(*command, env=environ)
        return code, out + err, odd_path / "ws" / "runs" / recipe.stem / "001"

    return run


def record(run: Path) -> dict:
    return json.loads((run / "record.json").read_text(encoding="utf-8"))


def test_the_stages_and_the_training_are_one_run_with_one_log(launch):
    code, said, run = launch()
    assert code == 0, said
    log = (run / "trainer.log").read_text(encoding="utf-8")
    heads = [line for line in log.splitlines() if line.startswith("kohya-runner stage: ")]
    phases = ("caching latents", "caching text encoder outputs", "starting")
    assert heads == [f"kohya-runner stage: {phase}" for phase in phases]
    assert log.index("caching text encoder outputs") < log.index("running training")
    assert "PRACTICE caching latents" in said
    found = record(run)
    assert (found["state"], found["steps_seen"], found["steps_planned"]) == ("succeeded", 6, 6)
    files = [checkpoint["file"] for checkpoint in found["checkpoints"]]
    assert files == ["flux_kontext_lora-000001.safetensors", "flux_kontext_lora.safetensors"]


def test_a_stage_that_fails_is_the_end_of_the_run(launch):
    code, said, run = launch(KOHYA_PRACTICE_FAULT="fail-stage")
    assert code == 8, said
    log = (run / "trainer.log").read_text(encoding="utf-8")
    assert "practice fault: stage" in log
    assert "running training" not in log
    assert "caching text encoder outputs" not in log
    assert record(run)["state"] == "failed"


def test_the_guards_watch_the_training_of_such_a_run(launch):
    code, said, run = launch(KOHYA_PRACTICE_FAULT="nan@2", KOHYA_PRACTICE_STEP_SECONDS="0.3")
    assert code == 9, said
    assert record(run)["exit"]["stop"] == "loss.nan"


def test_the_same_run_is_known_to_be_done(launch):
    assert launch()[0] == 0
    code, said, _ = launch("--once")
    assert code == 0
    assert "done before" in said


def test_caches_of_data_that_is_no_longer_used_are_removed(launch):
    _, _, run = launch()
    datasets = run.parents[2] / "datasets" / "flux_kontext_lora"
    (before,) = datasets.glob("cache-*")
    assert list(before.rglob("*.practice"))
    assert launch("--set", "datasets.0.options.resolution=128")[0] == 0
    (after,) = datasets.glob("cache-*")
    assert after != before


def test_a_rehearsal_has_the_stages_too(launch):
    code, said, run = launch("--rehearse")
    assert code == 0, said
    (rehearsal,) = (run.parents[2]).glob("rehearsals/flux_kontext_lora/*/trainer.log")
    assert "caching text encoder outputs" in rehearsal.read_text(encoding="utf-8")
    assert not run.exists()


def headings(run: Path, log: str = "trainer.log") -> list[str]:
    lines = (run / log).read_text(encoding="utf-8").splitlines()
    return [line.partition(": ")[2] for line in lines if line.startswith("kohya-runner stage: ")]


FILLED = ["caching latents", "caching text encoder outputs", "starting"]
KEPT = ["using the caches of an earlier launch", "starting"]


def test_caches_that_are_as_they_were_left_are_taken(launch):
    assert launch()[0] == 0
    code, said, run = launch("--again")
    assert code == 0, said
    assert headings(run) == FILLED
    assert headings(run.parent / "002") == KEPT
    assert "using the caches of an earlier launch" in said
    assert launch("--again", "--fresh")[0] == 0
    assert headings(run.parent / "003") == FILLED


def test_a_rehearsal_fills_them_for_the_run(launch):
    assert launch("--rehearse")[0] == 0
    code, said, run = launch()
    assert code == 0, said
    assert headings(run) == KEPT


def cached(run: Path) -> list[Path]:
    return sorted((run.parents[2] / "datasets" / "flux_kontext_lora").glob("cache-*/*/*.practice"))


def remove(path: Path) -> None:
    path.unlink()


def add(path: Path) -> None:
    path.with_name("another.practice").write_text("", encoding="utf-8")


def write_again(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    path.unlink()
    path.write_text(text[::-1], encoding="utf-8")


@pytest.mark.parametrize("harm", [remove, add, write_again])
def test_any_other_file_in_them_fills_them_again(launch, harm):
    _, _, run = launch()
    harm(cached(run)[0])
    assert launch("--again")[0] == 0
    assert headings(run.parent / "002") == FILLED


def test_a_stage_that_fails_leaves_nothing_to_be_taken(launch):
    assert launch(KOHYA_PRACTICE_FAULT="fail-stage")[0] == 8
    code, said, run = launch()
    assert code == 0, said
    assert headings(run.parent / "002") == FILLED
