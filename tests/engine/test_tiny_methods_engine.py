"""A whole launch of every method beside LoRA by its unmodified script: the recipes of recipes/ on shrunk models."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import made_models
import pytest
import tiers
from generators import NAMES, NO_GENERATOR, REFUSED, Generator, Left, renamed, rewritten
from matrix import note
from tiny_methods import draw, fill_hub_cache

from kohya_runner.artefact.lora import inspect
from kohya_runner.engines import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kohya_runner.engines.support import Support

pytestmark = pytest.mark.daily

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
SIZES = ((64, 64), (64, 64), (128, 64))
CPU = ("args.mixed_precision=no", "args.max_data_loader_n_workers=0", "args.sdpa=true", "args.full_bf16=null")
SMALL = ("args.resolution=64", "args.min_bucket_reso=64", "args.max_train_epochs=2", "args.save_every_n_epochs=1",
         "args.train_batch_size=1", "datasets.0.repeats=1")  # fmt: skip
ADAMW = ("args.optimizer_type=AdamW",)
BF16 = ("args.mixed_precision=bf16", "args.full_bf16=true")
SEEN = (*ADAMW, "args.learning_rate=1e-2")
"""What starts at zero is to show in a picture after six steps."""
NO_SWAP = ("args.blocks_to_swap=null",)


@dataclass(frozen=True, slots=True)
class Method:
    """A recipe, and what it needs besides on a CPU."""

    family: str
    method: str
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.family}_{self.method}"

    @property
    def row(self) -> Support:
        row = table.find(self.family, self.method)
        assert row is not None
        return row


METHODS = (
    Method("sdxl", "finetune", ()),
    Method("sdxl", "dreambooth", ()),
    Method("sd15", "dreambooth", ADAMW),
    Method("sd15", "finetune", ADAMW),
    Method("sd15", "controlnet", SEEN),
    Method("sdxl", "controlnet", (*SEEN, "args.control_net_lr=1e-2")),
    Method("sd2", "dreambooth", ADAMW),
    Method("sd2", "finetune", ADAMW),
    Method("sd2", "controlnet", SEEN),
    Method("sd2", "textual_inversion", ADAMW),
    Method("sdxl", "lllite", ADAMW),
    Method("sd15", "textual_inversion", ADAMW),
    Method("sdxl", "textual_inversion", ADAMW),
    Method("flux", "finetune", NO_SWAP),
    Method("flux", "dreambooth", NO_SWAP),
    Method("flux", "controlnet", ADAMW),
    Method("sd3", "finetune", BF16),
    Method("sd3", "dreambooth", BF16),
    Method("lumina", "finetune", ()),
    Method("lumina", "dreambooth", ()),
    Method("anima", "finetune", ()),
    Method("anima", "dreambooth", ()),
    Method("anima", "lllite", SEEN),
)
KIND = {"anima_lllite": "dit lllite"}
"""Whose output another script loads than the family's own."""
QUICK = ("sdxl_finetune", "sd15_finetune", "sdxl_controlnet")
"""What runs without being asked for; all of them with --tier full."""
PAINTED = "sd15_finetune"
"""Whose output is loaded without being asked for."""


def chosen() -> tuple[Method, ...]:
    return tuple(method for method in METHODS if tiers.full() or method.name in QUICK)


@dataclass(frozen=True, slots=True)
class Done:
    """A launch that has ended with exit code 0, and what it left in the run's folder."""

    method: Method
    folder: Path
    models: Path
    generator: Generator

    def read(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    @property
    def log(self) -> str:
        return (self.folder / "trainer.log").read_text(encoding="utf-8")

    @property
    def files(self) -> list[str]:
        return [f"{self.method.name}-000001.safetensors", f"{self.method.name}.safetensors"]

    @property
    def left(self) -> Left:
        return Left(self.models, *(self.folder / "output" / name for name in self.files))

    def note(self, **more: str) -> None:
        """Write the run down in the matrix."""
        record, row = self.read("record.json"), self.method.row
        note({"family": row.family, "method": row.method, "script": row.script, "commit": record["trainer"]["commit"],
              "steps": record["steps_seen"], **more})  # fmt: skip


@pytest.fixture(scope="module", params=chosen(), ids=lambda method: method.name)
def done(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path
) -> Iterator[Done]:
    method: Method = request.param
    root = tmp_path_factory.mktemp(f"it's {method.name}")
    models, workspace = root / "tiny models", root / "work space"
    environ = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(HERE / "shrink"), str(ROOT))), "PYTHONDONTWRITEBYTECODE": "1",
        "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
        "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts), "KOHYA_RUNNER_PYTHON": str(trainer_python),
        "CUDA_VISIBLE_DEVICES": "", "HF_HUB_CACHE": str(workspace / "cache" / "huggingface" / "hub"),
    }  # fmt: skip
    models.mkdir()
    made_models.put(trainer_python, sd_scripts, method.family, models, environ)
    command = (
        *(sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / f"{method.name}.yaml")),
        *(f"--workspace={workspace}", "--allow=hub.offline"),
        *(f"--set={text}" for text in (*CPU, *SMALL, *places(method, root, models), *method.overrides)),
    )
    if method.row.components:  # these scripts read their tokenizers from the Hub's cache alone
        fill_hub_cache(workspace / "cache" / "huggingface" / "hub", models / "tokenizers")
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=root)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder,) = (workspace / "runs").glob("*/001")
    yield Done(method, folder, models, Generator(method.family, sd_scripts, trainer_python, environ))
    shutil.rmtree(root)


def places(method: Method, root: Path, models: Path) -> Iterator[str]:
    """The pictures, drawn, and the models, as --set takes them."""
    caption = "a sksdog, palette: #ff0000"
    draw(root / "my pictures", SIZES, captions=None if method.method == "dreambooth" else caption)
    yield f"datasets.0.images={root / 'my pictures'}"
    if method.row.data == "pairs":
        draw(root / "my edges", SIZES, captions=None, seed=1)
        yield f"datasets.0.conditioning={root / 'my edges'}"
    if method.method == "dreambooth":
        draw(root / "any dogs", SIZES[:2], captions=None, seed=2)
        yield f"datasets.1.images={root / 'any dogs'}"
    if method.row.components:
        required = (part.name for part in method.row.components if part.required)
        yield from (f"components.{part}={models / part}.safetensors" for part in required)
        yield f"model={models / 'dit.safetensors'}"
        return
    yield f"args.tokenizer_cache_dir={models / 'tokenizers'}"
    yield f"model={models / 'model.safetensors'}"


def test_the_run_is_on_record_as_a_success(done):
    assert done.read("record.json")["state"] == "succeeded"


def test_every_epoch_left_a_checkpoint_on_record(done):
    record = done.read("record.json")
    assert [found["file"] for found in record["checkpoints"]] == done.files
    assert sorted(path.name for path in (done.folder / "output").iterdir() if path.is_file()) == sorted(done.files)
    assert all(found["complete"] and found["sha256"] for found in record["checkpoints"])


def test_the_checkpoint_is_of_the_methods_kind(done):
    final = done.folder / "output" / done.files[-1]
    assert inspect(final).complete
    assert done.method.row.holds
    assert any(name.startswith(done.method.row.holds.begin) for name in inspect(final).names)


def test_two_epochs_are_not_the_same_weights(done):
    first, last = (found["sha256"] for found in done.read("record.json")["checkpoints"])
    assert first != last


def test_the_steps_are_those_that_were_planned(done):
    (printed,) = map(int, re.findall(r"total optimization steps[^:]*: (\d+)", done.log))
    record = done.read("record.json")
    assert printed >= 2
    assert done.read("plan.json")["steps"]["total"] == printed
    assert (record["steps_planned"], record["steps_seen"]) == (printed, printed)


def test_the_batches_are_those_that_were_planned(done):
    (printed,) = map(int, re.findall(r"num batches per epoch[^:]*: (\d+)", done.log))
    assert done.read("plan.json")["steps"]["batches_per_epoch"] == printed


def test_no_loss_is_nan(done):
    losses = re.findall(r"loss=([^,\]]+)", done.log)
    assert losses
    assert "nan" not in losses


def test_what_ran_is_written_down(done):
    record = done.read("record.json")
    assert record["steps_seen"] >= 2
    assert all(found["complete"] for found in record["checkpoints"])
    done.note()


def test_the_trainers_own_generator_loads_what_was_left_and_it_changes_the_picture(done, tmp_path):
    pair, kind = done.method.row.key, KIND.get(done.method.name, done.method.row.output)
    if pair in {**NO_GENERATOR, **REFUSED} or not (tiers.full() or done.method.name == PAINTED):
        pytest.skip(f"there is none, or not asked for: every day {PAINTED}, all with --tier full")
    changes_the_picture(done.generator.paint(kind, done.left, tmp_path))
    done.note(loads_in=done.generator.script(kind))


@pytest.mark.full
def test_what_the_trainers_own_generator_cannot_load_is_written_down_with_the_reason(done, tmp_path):
    pair, kind, left = done.method.row.key, done.method.row.output, done.left
    if pair in NO_GENERATOR:
        assert done.generator.of.script in done.generator.takes("lora")
        assert done.generator.takes("control") == []
        done.note(no_generator=NO_GENERATOR[pair])
    if pair in REFUSED:
        copy = rewritten(left.last, renamed, tmp_path / "renamed.safetensors")
        trials = {
            f'Missing key(s) in state_dict: "{NAMES}': left,
            "object of type 'Image' has no len()": replace(left, last=copy),
        }
        for number, (fault, which) in enumerate(trials.items()):
            code, said, _ = done.generator.run(kind, which, tmp_path / f"trial {number}")
            assert (code != 0, fault in said) == (True, True), said
        changes_the_picture(done.generator.paint(f"{kind} twice", replace(left, last=copy), tmp_path / "twice"))
        done.note(refused=REFUSED[pair])


def changes_the_picture(pictures: dict[str, bytes]) -> None:
    assert len(set(pictures.values())) == len(pictures) >= 2
    assert all(len(set(picture)) > 50 for picture in pictures.values())  # black is what the scripts save for NaN
