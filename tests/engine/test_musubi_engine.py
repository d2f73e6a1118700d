"""Whole launches of FLUX.1 Kontext and FLUX.2 by musubi-tuner's unmodified scripts, on shrunk models.

Every day Kontext alone; --tier full adds FLUX.2, the generators, and that no old cache is ever trained.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import tiers
from matrix import note
from musubi_rig import encoders, environment, share_hub, write_models
from PIL import Image

from kohya_runner.compare.sweep import painter_of
from kohya_runner.engines import table
from kohya_runner.engines.painting import Base

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

pytestmark = pytest.mark.daily

ROOT = Path(__file__).parents[2]
RECIPES = {"flux_kontext": "flux_kontext_lora.yaml", "flux2": "flux2_klein_lora.yaml"}
FAMILIES = list(RECIPES) if tiers.full() else ["flux_kontext"]
KINDS = ("texts", "latents")
SIZES = ((64, 64), (64, 64), (96, 64))
CPU = ("optimizer_type=AdamW", "fp8_base=false", "fp8_scaled=false", "max_data_loader_n_workers=0", "network_dim=4",
       "max_train_epochs=2", "learning_rate=0.05")  # fmt: skip


@dataclass
class Trials:
    """One family: its models, its pairs, and launches of its recipe in one workspace."""

    family: str
    root: Path
    checkout: Path
    python: Path
    rows: list[dict[str, str]] = field(default_factory=list)

    def launch(self, **options: str) -> Run:
        """The recipe, really: caches, training, judgement. ``options`` are further --set of the dataset."""
        models = self.root / "models" / self.family
        chosen = {
            "datasets.0.images": self.metadata(),
            "model": models / "dit.safetensors",
            **{f"components.{part}": models / f"{part}.safetensors" for part in ("vae", *encoders(self.family))},
            **dict(text.split("=", 1) for text in (f"args.{item}" for item in CPU)),
            **{f"datasets.0.options.{name}": value for name, value in ({"resolution": "64"} | options).items()},
        }
        return launched(
            self, ROOT / "recipes" / RECIPES[self.family], [f"{name}={value}" for name, value in chosen.items()]
        )

    def metadata(self) -> Path:
        """The rows as they are now, in their file."""
        path = self.root / "pairs" / "metadata.jsonl"
        path.write_text("\n".join(map(json.dumps, self.rows)), encoding="utf-8")
        return path

    def command(self, *argv: str) -> subprocess.CompletedProcess[str]:
        own = {"KOHYA_RUNNER_MUSUBI_TUNER": str(self.checkout), "KOHYA_RUNNER_MUSUBI_PYTHON": str(self.python),
               "KOHYA_WORKSPACE": str(self.root / "work space")}  # fmt: skip
        environ = environment(self.root, self.checkout) | own
        shrink = environ["PYTHONPATH"].split(os.pathsep)[1]
        return subprocess.run(
            (sys.executable, "-m", "kohya_runner", *argv), check=False, capture_output=True, text=True, cwd=ROOT,
            env=environ | {"PYTHONPATH": os.pathsep.join((shrink, str(ROOT)))},
        )  # fmt: skip


@dataclass(frozen=True)
class Run:
    """What a launch left."""

    folder: Path
    record: Mapping[str, Any]
    read: dict[str, list[float]] = field(default_factory=dict)  # the cache files: the next launch may remove them

    @property
    def log(self) -> str:
        return (self.folder / "trainer.log").read_text("utf-8", "replace")

    @property
    def final(self) -> Path:
        return self.folder / "output" / f"{self.record['name']}.safetensors"

    @property
    def items(self) -> int:
        """How many pictures the training says it reads."""
        return int(re.findall(r"num train items[^:]*: (\d+)", self.log)[-1])

    @property
    def datasets(self) -> list[dict[str, Any]]:
        """What the scripts were told of the data."""
        option = next(token for token in self.record["argv"] if token.startswith("--dataset_config="))
        return list(json.loads(Path(option.partition("=")[2]).read_bytes())["datasets"])

    def cached(self, kind: str) -> dict[str, Path]:
        """The cache files that this training read, by name: ``texts`` or ``latents``."""
        files = [file for dataset in self.datasets for file in Path(dataset["cache_directory"]).glob("*.safetensors")]
        return {file.name: file for file in files if file.name.endswith("_te.safetensors") == (kind == "texts")}

    @property
    def folder_of_caches(self) -> str:
        """Where they are: a folder that is new holds nothing old. Kontext's latents are a draw, no two are alike."""
        (folder,) = {dataset["cache_directory"] for dataset in self.datasets}
        return str(folder)

    def differs(self, other: Run, kind: str) -> list[str]:
        """The cache files that hold something else than those of another run, or are not there."""
        own = {name: self.read[name] for name in self.cached(kind)}
        return sorted(name for name, found in own.items() if unlike(found, other.read.get(name, [])))


def launched(trials: Trials, recipe: Path, overrides: Iterable[str]) -> Run:
    """A recipe, launched with these ``--set``; what its caches hold is read before the next launch may remove them."""
    ended = trials.command("launch", str(recipe), *(f"--set={text}" for text in overrides), "--json")
    assert ended.returncode == 0, ended.stdout[-6000:] + ended.stderr[-6000:]
    runs = (trials.root / "work space" / "runs").glob("*/*/record.json")
    newest = max(runs, key=lambda path: path.stat().st_mtime_ns)
    run = Run(newest.parent, json.loads(newest.read_bytes()))
    run.read.update({file.name: numbers(file) for kind in KINDS for file in run.cached(kind).values()})
    return run


def numbers(path: Path) -> list[float]:
    """Some numbers of every tensor of a cache file."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    found = []
    for name, row in json.loads(data[8:end]).items():
        begin, stop = row.get("data_offsets", (0, 0))
        raw = data[end + begin : end + stop]
        if name != "__metadata__" and row["dtype"] == "BF16":
            raw = b"".join(b"\0\0" + raw[place : place + 2] for place in range(0, len(raw), 2))
        if name != "__metadata__" and row["dtype"] in ("BF16", "F32"):
            found += array("f", raw)[::13]
    assert found, path
    return found


def unlike(first: list[float], second: list[float]) -> bool:
    """More than rounding: what a machine computes twice may differ in the last bits, here two hundredths at most."""
    bound = 0.02 * max(map(abs, first))
    return len(first) != len(second) or any(abs(a - b) > bound for a, b in zip(first, second, strict=True))


@pytest.fixture(scope="module", params=FAMILIES)
def trials(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, musubi_tuner: Path, musubi_python: Path
) -> Iterator[Trials]:
    family: str = request.param
    root = tmp_path_factory.mktemp(f"it's a {family} launch")
    write_models(root, musubi_tuner, musubi_python, family)
    share_hub(root, root / "work space")
    rows = draw(root / "pairs")
    yield Trials(family, root, musubi_tuner, musubi_python, rows)
    shutil.rmtree(root)


def draw(folder: Path) -> list[dict[str, str]]:
    folder.mkdir()
    rows = []
    for number, size in enumerate(SIZES):
        for kind in ("before", "after"):
            dice = random.Random(f"{kind} {number}")
            picture = Image.frombytes("RGB", size, dice.randbytes(3 * size[0] * size[1]))
            picture.save(folder / f"{kind} {number}.png")
        rows.append({"input_image": f"before {number}.png", "instruction": f"make it red, {number} times",
                     "output_image": f"after {number}.png"})  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def first(trials: Trials) -> Run:
    return trials.launch()


def ran(first: Run, family: str, method: str = "lora") -> dict[str, Any]:
    """The run, for the matrix."""
    row = table.find(family, method)
    assert row is not None
    return {"engine": row.engine, "family": row.family, "method": row.method, "script": row.script,
            "commit": first.record["trainer"]["commit"], "steps": first.record["steps_seen"]}  # fmt: skip


def test_three_stages_end_in_whole_checkpoints_that_pass_the_gate(first, trials):
    record = first.record
    assert record["state"] == "succeeded"
    assert [Path(file).name for file in sorted(c["file"] for c in record["checkpoints"])] == [
        f"{record['name']}-000001.safetensors",
        f"{record['name']}.safetensors",
    ]
    assert all(c["complete"] and not c["problem"] and not c["untrained"] for c in record["checkpoints"])
    assert "Saving cache for item" in first.log
    assert re.search(r"total optimization steps[^:]*: 6", first.log)
    assert first.items == len(SIZES)
    assert len(first.cached("latents")) == len(first.cached("texts")) == len(SIZES)
    note(ran(first, trials.family))


def test_verify_knows_what_was_made(first, trials):
    ended = trials.command("verify", str(first.final))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"a LoRA for {trials.family}" in ended.stdout


@pytest.mark.full
def test_the_lora_changes_what_the_generator_paints(first, trials):
    ended = trials.command("compare", str(first.folder), "--steps=2", "--size=64x64", "--prompt=make it red", "--json")
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    told = json.loads(ended.stdout)
    pictures = {Image.open(Path(told["folder"]) / cell["file"]).tobytes() for cell in told["cells"]}
    assert len(pictures) == len(told["cells"]) == 3
    assert all(len(set(picture)) > 50 for picture in pictures)  # neither black nor NaN
    assert len(told["controls"]) == 1
    note(ran(first, trials.family) | {"loads_in": Path(painter_of(Base(trials.family, "")).script).name})


@pytest.mark.full
def test_a_changed_caption_is_not_trained_from_the_old_cache(first, trials):
    trials.rows[0]["instruction"] = "make it blue"
    again = trials.launch()
    assert again.items == len(SIZES)
    assert len(again.differs(first, "texts")) == 1
    assert again.folder_of_caches != first.folder_of_caches


@pytest.mark.full
def test_a_row_that_is_gone_is_not_trained(first, trials):
    kept = list(trials.rows)
    trials.rows.pop()
    again = trials.launch()
    trials.rows[:] = kept
    assert again.items == len(again.cached("latents")) == len(again.cached("texts")) == len(SIZES) - 1


@pytest.mark.full
def test_another_resolution_makes_its_own_latents(first, trials):
    again = trials.launch(resolution="96")
    assert again.items == len(SIZES)
    assert len(again.differs(first, "latents")) == len(SIZES)


@pytest.mark.full
def test_another_input_makes_its_own_latents(first, trials):
    picture = trials.root / "pairs" / "before 1.png"
    before = picture.read_bytes()
    Image.new("RGB", SIZES[1], "blue").save(picture)
    again = trials.launch()
    picture.write_bytes(before)
    assert again.items == len(SIZES)
    assert again.folder_of_caches != first.folder_of_caches


@pytest.mark.full
@pytest.mark.parametrize("options", [{"no_resize_control": "true"}, {"control_resolution": "[96, 96]"}], ids=str)
def test_inputs_in_a_size_of_their_own_are_trained(options: dict[str, str], first, trials):
    Image.new("RGB", (128, 128), "green").save(trials.root / "pairs" / "before 0.png")
    again = trials.launch(**options)
    assert again.items == len(SIZES)
    assert again.folder_of_caches != first.folder_of_caches
    changed = {name.partition("_")[0] for name in again.differs(first, "latents")}
    assert changed >= {"000001", "000003"}  # the second input is as large as its output anyway
