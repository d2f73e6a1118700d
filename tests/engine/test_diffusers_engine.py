"""InstructPix2Pix by diffusers' unmodified scripts, launched as people launch it, on tiny random pipelines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tiers
from diffusers_cases import DIFFUSERS_ERRORS
from matrix import note
from test_edit_engine import edits

from kohya_runner.engines import table

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.daily

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
FAMILIES = ("sd15", "sdxl") if tiers.full() else ("sd15",)
SMALL = ("args.resolution=32", "args.train_batch_size=2", "args.gradient_accumulation_steps=1",
         "args.max_train_steps=null", "args.num_train_epochs=1", "args.checkpointing_steps=1",
         "args.checkpoints_total_limit=null", "args.mixed_precision=no")  # fmt: skip
PIPELINES = {"sd15": "StableDiffusionInstructPix2PixPipeline", "sdxl": "StableDiffusionXLInstructPix2PixPipeline"}
FINAL = "unet/diffusion_pytorch_model.safetensors"
FILES = [f"checkpoint-1/{FINAL}", f"checkpoint-2/{FINAL}", FINAL]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a family's tiny pipeline and the pairs are, and how the scripts are started."""

    family: str
    root: Path
    environ: dict[str, str]
    python: Path
    script: Path


@dataclass(frozen=True, slots=True)
class Done:
    """A launch that has ended with exit code 0."""

    place: Place
    folder: Path

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    @property
    def log(self) -> str:
        return (self.folder / "trainer.log").read_text(encoding="utf-8")

    def note(self, **more: str) -> None:
        """Write the run down in the matrix."""
        record, row = self.read("record.json"), table.find(self.place.family, "instruct_pix2pix")
        assert row is not None
        note({"engine": row.engine, "family": row.family, "method": row.method, "script": row.script,
              "commit": record["trainer"]["commit"], "steps": record["steps_seen"], **more})  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, diffusers_examples: Path,
    diffusers_python: Path,
) -> Iterator[Place]:  # fmt: skip
    family = request.param
    root = tmp_path_factory.mktemp(f"it's {family}")
    environ = {
        **os.environ, "PYTHONPATH": f"{HERE / 'start'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "KOHYA_RUNNER_DIFFUSERS": str(diffusers_examples),
        "KOHYA_RUNNER_DIFFUSERS_PYTHON": str(diffusers_python),
    }  # fmt: skip
    writer = (str(diffusers_python), str(HERE / "tiny_pipelines.py"), family, str(root))
    subprocess.run(writer, check=True, capture_output=True, env=environ)
    edits(root / "my edits")
    script = "train_instruct_pix2pix.py" if family == "sd15" else "train_instruct_pix2pix_sdxl.py"
    yield Place(family, root, environ, diffusers_python, diffusers_examples / "examples" / "instruct_pix2pix" / script)
    shutil.rmtree(root)


@pytest.fixture(scope="module")
def done(place: Place) -> Done:
    return launched(place, place.root / "work space")


def launched(place: Place, workspace: Path, *more: str) -> Done:
    data = json.dumps([{"images": str(place.root / "my edits" / "metadata.jsonl"), "concept": "pairs", "repeats": 1}])
    recipe = ROOT / "recipes" / f"{place.family}_instruct_pix2pix.yaml"
    command = (
        *(sys.executable, "-m", "kohya_runner", "launch", str(recipe)),
        *(f"--workspace={workspace}", "--allow=hub.offline", "--allow=disk.full"),
        *(f"--set={text}" for text in (*SMALL, f"datasets={data}", f"model={place.root / 'model'}", *more)),
    )  # fmt: skip
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=place.environ, cwd=place.root)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder,) = (workspace / "runs").glob("*/001")
    return Done(place, folder)


def test_the_steps_are_those_that_were_planned_and_seen(done):
    (printed,) = map(int, re.findall(r"Total optimization steps = (\d+)", done.log))
    record = done.read("record.json")
    assert printed == 2
    assert (record["state"], record["steps_planned"], record["steps_seen"]) == ("succeeded", printed, printed)
    done.note()


@pytest.mark.full
def test_two_processes_take_the_steps_that_are_planned(place):
    """4 rows in batches of 2 for two processes: one step an epoch."""
    two = launched(place, place.root / "two", "launch.num_processes=2", "args.num_train_epochs=2")
    (printed,) = map(int, re.findall(r"Total optimization steps = (\d+)", two.log))
    assert printed == two.read("record.json")["steps_seen"] == two.read("plan.json")["steps"]["total"] == 2
    assert "Total train batch size (w. parallel, distributed & accumulation) = 4" in two.log


def test_the_script_found_every_row(done):
    (printed,) = map(int, re.findall(r"Num examples = (\d+)", done.log))
    assert done.read("plan.json")["steps"]["images_per_epoch"] == printed == 4


def test_the_pipeline_and_every_state_are_on_record(done):
    record = done.read("record.json")
    assert [found["file"] for found in record["checkpoints"]] == FILES
    assert [found["step"] for found in record["checkpoints"]] == [1, 2, None]
    assert all(found["complete"] and found["sha256"] and not found["problem"] for found in record["checkpoints"])


def test_the_loss_was_heard_and_is_a_number(done):
    assert isinstance(done.read("record.json")["loss"], float)
    assert "nan" not in re.findall(r"step_loss=([^,\]]+)", done.log)


@pytest.mark.full
def test_what_it_left_edits_a_picture(done):
    picture = next((done.place.root / "my edits" / "inputs").iterdir())
    command = (str(done.place.python), str(HERE / "paint_child.py"), done.place.family, str(done.folder / "output"))
    ended = subprocess.run(
        (*command, str(picture)), check=False, capture_output=True, text=True, env=done.place.environ
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    assert told.pop("values") > 50  # not black
    assert told == {"channels": 8, "size": [32, 32], "moved": True}
    done.note(loads_in=PIPELINES[done.place.family])


def fate(place: Place, data: Path, *options: str) -> tuple[int, str]:
    """The script alone, as anybody may start it."""
    output = place.root / "out put"
    shutil.rmtree(output, ignore_errors=True)
    fixed = (f"--pretrained_model_name_or_path={place.root / 'model'}", f"--train_data_dir={data}",
             f"--output_dir={output}", "--resolution=32", "--train_batch_size=2", "--num_train_epochs=1")  # fmt: skip
    command = (str(place.python), str(place.script), *fixed, *options)
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=place.environ, cwd=place.root)
    return ended.returncode, ended.stderr


@pytest.mark.full
def test_what_the_rules_call_an_error_ends_the_script_and_what_just_is_none_does_not(done):
    data = Path(
        next(t for t in done.read("record.json")["argv"] if t.startswith("--train_data_dir=")).partition("=")[2]
    )
    for case in (case for case in DIFFUSERS_ERRORS if case.family == done.place.family):
        halves = {
            which: [token for arg in case.args(which) for token in arg.tokens if not token.startswith("--train_batch")]
            for which in ("bad", "good")
        }
        code, said = fate(done.place, data, *halves["bad"])
        assert code != 0, case.id
        assert "Traceback" in said
        code, said = fate(done.place, data, *halves["good"])
        assert code == 0, said[-1500:]


@pytest.mark.full
def test_without_a_seed_the_script_ends_before_it_loads_anything(done):
    data = Path(
        next(t for t in done.read("record.json")["argv"] if t.startswith("--train_data_dir=")).partition("=")[2]
    )
    code, said = fate(done.place, data)
    assert code != 0
    assert "manual_seed" in said


@pytest.mark.full
def test_a_batch_that_is_not_full_ends_the_script_of_sdxl_alone(done):
    data = Path(
        next(t for t in done.read("record.json")["argv"] if t.startswith("--train_data_dir=")).partition("=")[2]
    )
    code, said = fate(done.place, data, "--seed=1", "--max_train_samples=3")
    assert (code != 0) == (done.place.family == "sdxl"), said[-1500:]


@pytest.mark.full
def test_on_a_cpu_xformers_ends_the_script(done):
    data = Path(
        next(t for t in done.read("record.json")["argv"] if t.startswith("--train_data_dir=")).partition("=")[2]
    )
    code, _ = fate(done.place, data, "--seed=1", "--enable_xformers_memory_efficient_attention")
    assert code != 0
