"""Runs of the real scripts that keep no count of a run: killed with SIGKILL, resumed, killed and resumed again.

Every day an embedding and a pipeline, killed once; --tier full kills every script's run twice.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import made_models
import pytest
import tiers
from musubi_rig import encoders, environment, share_hub, write_models
from test_edit_engine import edits
from test_musubi_engine import CPU as MUSUBI_CPU
from test_musubi_engine import RECIPES as MUSUBI_RECIPES
from test_musubi_families_engine import FAMILIES, WHOLE
from test_tiny_methods_engine import CPU, METHODS, SMALL, Method, places
from tiny_methods import fill_hub_cache

from kohya_runner.engines import table
from kohya_runner.engines.sd_scripts import SdScriptsEngine
from kohya_runner.engines.support import way_of
from kohya_runner.engines.table import ENGINES, info_of, options_for
from kohya_runner.record.resume_point import states_of

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.daily

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ALL = tiers.full()
KILLS = ("trainer", "both") if ALL else ("both",)
EPOCHS = 6 if ALL else 4
STEP_SECONDS = "0.3"
RATE = 1e-3
CURVE = ("args.lr_scheduler=cosine", "args.lr_warmup_steps=2")
LENGTH = (f"args.max_train_epochs={EPOCHS}", "args.save_every_n_epochs=1", f"args.learning_rate={RATE}")
ROOM = "guard.disk=ignore"
"""Until the first save the guard takes tiny weights for real ones: 78 GiB for the states of a whole FLUX.1."""
PIPELINE = ("args.resolution=32", "args.train_batch_size=2", "args.gradient_accumulation_steps=1",
            "args.max_train_steps=null", "args.num_train_epochs=14", "args.checkpointing_steps=null",
            "args.checkpoints_total_limit=null", "args.mixed_precision=no", f"args.learning_rate={RATE}")  # fmt: skip

READ_STATE = """
import json, sys, torch
folder = sys.argv[1]
optimizer = torch.load(folder + "/optimizer.bin", weights_only=False, map_location="cpu")
scheduler = torch.load(folder + "/scheduler.bin", weights_only=False)
steps = {int(values["step"]) for values in optimizer["state"].values()}
print(json.dumps({"optimizer": sorted(steps), "scheduler": scheduler["last_epoch"], "rate": scheduler["_last_lr"][0]}))
"""


@dataclass
class Trial:
    """One recipe on shrunk models, launched as people launch it."""

    name: str
    recipe: str
    script: str
    root: Path
    environ: dict[str, str]
    python: Path
    sets: tuple[str, ...]

    def start(self) -> subprocess.Popen[str]:
        command = (sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / self.recipe), "--resume",
                   "--allow=hub.offline", "--allow=disk.full", f"--workspace={self.root / 'work space'}",
                   *(f"--set={text}" for text in self.sets))  # fmt: skip
        return subprocess.Popen(
            command, env=self.environ, cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    @property
    def run(self) -> Path:
        return self.root / "work space" / "runs" / Path(self.recipe).stem / "001"

    def read(self, name: str) -> Any:
        return json.loads((self.run / name).read_text(encoding="utf-8"))

    def whole_states(self) -> list[Path]:
        """The newest first."""
        way = way_of(options_for(self.script, None), ENGINES[info_of(self.script).name].RESUME_WAYS)
        assert way is not None
        found = states_of(self.run / "output", Path(self.recipe).stem, way, 1)
        return [state.path for state in found if not state.problem]

    def killed(self, dice: random.Random, whom: str) -> None:
        """Launch, wait for a state that was not there, kill a moment later."""
        before = set(self.whole_states())
        process = self.start()
        while not set(self.whole_states()) - before:
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.4 * float(STEP_SECONDS)))
        trainer = self.read("record.json")["process"]["pid"]
        for pid in {"trainer": (trainer,), "both": (process.pid, trainer)}[whom]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=180)

    def finish(self) -> None:
        process = self.start()
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said

    def counted(self, state: Path) -> dict[str, Any]:
        command = (str(self.python), "-c", READ_STATE, str(state))
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def expected_rate(step: int, whole: int, warmup: int = 2) -> float:
    """``cosine`` after a linear warm-up, over the whole run."""
    if step < warmup:
        return RATE * step / warmup
    return RATE * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (whole - warmup)))


def in_turn(trial: Trial) -> None:
    """Killed and resumed, again and again."""
    dice = random.Random(trial.name)
    for whom in KILLS:
        trial.killed(dice, whom)
    trial.finish()
    record, attempts = trial.read("record.json"), trial.read("attempts.json")["attempts"]
    assert (record["state"], record["attempt"]) == ("succeeded", len(KILLS) + 1)
    assert record["steps_seen"] == record["steps_planned"]
    begun = [attempt["step"] for attempt in attempts]
    assert begun == sorted(set(begun))
    assert (begun[0], len(begun), attempts[-1]["outcome"]) == (0, len(KILLS) + 1, "succeeded")


def check_learning_rate(trial: Trial) -> None:
    """Steps behind the optimizer, and the curve that is the whole run's, in every state that is left."""
    whole = trial.read("record.json")["steps_planned"]
    states = trial.whole_states()
    assert states
    for state in states:
        counted = trial.counted(state)
        assert counted["optimizer"] == [counted["scheduler"]], counted
        assert counted["rate"] == pytest.approx(expected_rate(counted["scheduler"], whole), rel=1e-6), counted


def check_files(trial: Trial) -> None:
    """Every epoch is there under its own name, and no two of them are the same."""
    name, record = Path(trial.recipe).stem, trial.read("record.json")
    files = [*(f"{name}-{epoch:06d}.safetensors" for epoch in range(1, EPOCHS)), f"{name}.safetensors"]
    assert sorted(path.name for path in (trial.run / "output").glob("*.safetensors")) == sorted(files)
    assert [(c["file"], c["epoch"]) for c in record["checkpoints"]] == list(
        zip(files, range(1, EPOCHS + 1), strict=True)
    )
    contents = {numbers(trial.run / "output" / file) for file in files}
    assert len(contents) == EPOCHS
    last = trial.run / "output" / f"{trial.read('attempts.json')['attempts'][-1]['from_state']}"
    assert trial.counted(last)["optimizer"][0] < record["steps_planned"]


def numbers(path: Path) -> bytes:
    """The tensors of a file without its metadata, which holds times."""
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


QUICK = ("sd15_textual_inversion",)
SCRIPTS = tuple(
    method
    for method in METHODS
    if (ALL or method.name in QUICK) and method.row.script not in SdScriptsEngine.BROKEN_RESUME
)


@pytest.fixture(params=SCRIPTS, ids=lambda method: method.name)
def whole_model(
    request: pytest.FixtureRequest, tmp_path: Path, sd_scripts: Path, trainer_python: Path
) -> Iterator[Trial]:
    method: Method = request.param
    models, hub = tmp_path / "tiny models", tmp_path / "work space" / "cache" / "huggingface" / "hub"
    environ = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(HERE / "shrink"), str(ROOT))), "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_CACHE": str(hub),
        "KOHYA_SHRUNK_STEP_SECONDS": STEP_SECONDS, "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts),
        "KOHYA_RUNNER_PYTHON": str(trainer_python),
    }  # fmt: skip
    models.mkdir()
    made_models.put(trainer_python, sd_scripts, method.family, models, environ)
    if method.row.components:
        fill_hub_cache(hub, models / "tokenizers")
    sets = (*CPU, *SMALL, *places(method, tmp_path, models), *method.overrides, *LENGTH, *CURVE, ROOM)
    yield Trial(method.name, f"{method.name}.yaml", method.row.script, tmp_path, environ, trainer_python, sets)
    shutil.rmtree(tmp_path)


MUSUBI = (
    *((family, recipe, ()) for family, recipe in MUSUBI_RECIPES.items()),
    *((family, f"{family}_lora.yaml", ("args.blocks_to_swap=null",)) for family in FAMILIES),
    *((family, f"{family}_finetune.yaml", tuple(f"args.{text}" for text in WHOLE)) for family in FAMILIES[1:3]),
    *(
        ("z_image", "z_image_lora.yaml", ("args.blocks_to_swap=null", f"args.network_module=networks.{module}"))
        for module in ("loha", "lokr")
    ),
)


def captioned(metadata: Path) -> Path:
    """The outputs of the same edits as pictures with captions."""
    folder = metadata.parent / "captioned"
    folder.mkdir()
    for number, file in enumerate(sorted((metadata.parent / "outputs").glob("*/*.png"))):
        shutil.copyfile(file, folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"number {number}\n", encoding="utf-8")
    return folder


@pytest.fixture(
    params=MUSUBI,
    ids=lambda trial: "-".join((Path(trial[1]).stem, *(t.rpartition(".")[2] for t in trial[2] if "module" in t))),
)
def musubi(request: pytest.FixtureRequest, tmp_path: Path, musubi_tuner: Path, musubi_python: Path) -> Iterator[Trial]:
    family, recipe, more = request.param
    row = table.find(family, "finetune" if "finetune" in recipe else "lora")
    assert row is not None
    write_models(tmp_path, musubi_tuner, musubi_python, family)
    models = tmp_path / "models" / family
    share_hub(tmp_path, tmp_path / "work space")
    environ = environment(tmp_path, musubi_tuner) | {
        "KOHYA_RUNNER_MUSUBI_TUNER": str(musubi_tuner), "KOHYA_RUNNER_MUSUBI_PYTHON": str(musubi_python),
        "KOHYA_SHRUNK_STEP_SECONDS": STEP_SECONDS,
        "PYTHONPATH": os.pathsep.join((str(HERE / "shrink"), str(ROOT))),
    }  # fmt: skip
    parts = ("vae", *encoders(family))
    data = edits(tmp_path / "my edits")
    data = captioned(data) if row.data == "captioned" else data
    sets = (
        f"datasets.0.images={data}", "datasets.0.options.resolution=64",
        f"model={models / 'dit.safetensors'}", *(f"components.{part}={models / part}.safetensors" for part in parts),
        *(f"args.{text}" for text in MUSUBI_CPU), *more, *LENGTH, *CURVE, ROOM,
    )  # fmt: skip
    yield Trial(row.family, recipe, row.script, tmp_path, environ, musubi_python, sets)
    shutil.rmtree(tmp_path)


@pytest.fixture(params=["sd15", "sdxl"] if ALL else ["sd15"])
def pix2pix(
    request: pytest.FixtureRequest, tmp_path: Path, diffusers_examples: Path, diffusers_python: Path
) -> Iterator[Trial]:
    family = request.param
    environ = {
        **os.environ, "PYTHONPATH": f"{HERE / 'start'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "KOHYA_RUNNER_DIFFUSERS": str(diffusers_examples),
        "KOHYA_RUNNER_DIFFUSERS_PYTHON": str(diffusers_python),
    }  # fmt: skip
    writer = (str(diffusers_python), str(HERE / "tiny_pipelines.py"), family, str(tmp_path))
    subprocess.run(writer, check=True, capture_output=True, env=environ)
    data = json.dumps([{"images": str(edits(tmp_path / "my edits")), "concept": "pairs", "repeats": 1}])
    script = "train_instruct_pix2pix.py" if family == "sd15" else "train_instruct_pix2pix_sdxl.py"
    sets = (*PIPELINE, *CURVE, f"datasets={data}", f"model={tmp_path / 'model'}")
    yield Trial(family, f"{family}_instruct_pix2pix.yaml", script, tmp_path, environ, diffusers_python, sets)
    shutil.rmtree(tmp_path)


def test_a_whole_model_is_trained_to_its_last_step(whole_model):
    in_turn(whole_model)
    check_files(whole_model)
    check_learning_rate(whole_model)


@pytest.mark.full
def test_a_lora_of_musubi_tuner_is_trained_to_its_last_step(musubi):
    in_turn(musubi)
    check_files(musubi)
    check_learning_rate(musubi)


@pytest.mark.full
def test_a_pipeline_goes_on_inside_an_epoch(pix2pix):
    pix2pix.sets = (*pix2pix.sets, "args.checkpointing_steps=3")  # of two steps is an epoch
    in_turn(pix2pix)
    check_learning_rate(pix2pix)


def test_a_pipeline_is_trained_to_its_last_step(pix2pix):
    in_turn(pix2pix)
    check_learning_rate(pix2pix)
    assert pix2pix.whole_states()[0].name == f"checkpoint-{pix2pix.read('record.json')['steps_planned']}"
