"""Whole launches of Krea 2, Z-Image, Qwen-Image and Qwen-Image-Edit by the unmodified scripts, on shrunk models.

Every day each family's LoRA; --tier full adds LoHa, LoKr, whole models, Qwen-Image-Edit's other variants and samples.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from matrix import note
from musubi_rig import environment, share_hub, write_models
from PIL import Image
from test_musubi_compare_engine import Swept, apart
from test_musubi_engine import CPU, ROOT, SIZES, Run, Trials, draw, launched, ran

from kohya_runner.compare.sweep import painter_of
from kohya_runner.engines import table
from kohya_runner.engines.painting import Base

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.daily


class Kind(NamedTuple):
    """One run: a family with a method, and what its recipe is told besides."""

    family: str
    method: str = "lora"
    args: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "-".join((self.family, self.method, *(text.rpartition("=")[2] for text in self.args)))


FAMILIES = ("krea2", "z_image", "qwen_image", "qwen_image_edit")
WHOLE = ("optimizer_type=Adafactor", "network_dim=null", "lr_warmup_steps=1", "learning_rate=0.01")
NETWORKS = tuple(
    Kind(family, "lora", (f"network_module=networks.{module}",))
    for family in FAMILIES[1:]
    for module in ("loha", "lokr")
)
VERSIONS = tuple(Kind("qwen_image_edit", "lora", (f"model_version={name}",)) for name in ("edit", "edit-2509"))
LATER = (*NETWORKS, *VERSIONS, *(Kind(family, "finetune", WHOLE) for family in FAMILIES[1:]))
KINDS = [
    *(pytest.param(Kind(family), id=family) for family in FAMILIES),
    *(pytest.param(kind, id=str(kind), marks=pytest.mark.full) for kind in LATER),
]


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory, musubi_tuner: Path, musubi_python: Path) -> Iterator[Trials]:
    root = tmp_path_factory.mktemp("it's four families")
    write_models(root, musubi_tuner, musubi_python, *FAMILIES)
    share_hub(root, root / "work space")
    rows = draw(root / "pairs")
    for number, row in enumerate(rows):
        picture = root / "pictures" / f"{number}.png"
        picture.parent.mkdir(exist_ok=True)
        shutil.copyfile(root / "pairs" / row["output_image"], picture)
        picture.with_suffix(".txt").write_text(f"a picture, number {number}\n", encoding="utf-8")
    yield Trials("", root, musubi_tuner, musubi_python, rows)
    shutil.rmtree(root)


def launch(trials: Trials, kind: Kind, *more: str) -> Run:
    """The recipe of the pair, really: caches, training, judgement."""
    row = table.find(kind.family, kind.method)
    assert row is not None
    models = trials.root / "models" / kind.family
    data = trials.root / "pictures" if row.data == "captioned" else trials.metadata()
    chosen = [f"datasets.0.images={data}", f"model={models / 'dit.safetensors'}", "datasets.0.options.resolution=64"]
    chosen += [f"components.{part}={models / part}.safetensors" for part in ("vae", "text_encoder")]
    chosen += [f"args.{item}" for item in (*CPU, "blocks_to_swap=null", *kind.args)]
    return launched(trials, ROOT / row.recipe, (*chosen, *more))


@pytest.mark.parametrize("kind", KINDS)
def test_three_stages_end_in_whole_checkpoints_that_pass_the_gate(kind: Kind, trials: Trials):
    run = launch(trials, kind)
    record: dict[str, Any] = dict(run.record)
    assert record["state"] == "succeeded"
    assert max(Path(one["file"]).name for one in record["checkpoints"]) == f"{record['name']}.safetensors"
    assert all(c["complete"] and not c["problem"] and not c["untrained"] for c in record["checkpoints"])
    assert record["steps_seen"] == 2 * len(SIZES)
    assert run.items == len(run.cached("latents")) == len(run.cached("texts")) == len(SIZES)
    if kind.method == "finetune" or not kind.args:
        note(ran(run, kind.family, kind.method))


@pytest.mark.full
@pytest.mark.parametrize("family", FAMILIES)
def test_the_lora_changes_what_the_generator_paints(family: str, trials: Trials):
    run = launch(trials, Kind(family), "args.learning_rate=0.1")
    told = ["--steps=2", "--size=64x64", "--prompt=make it red", "--seeds=1", "--json"]
    told += ["--component=device=cpu"] if family == "krea2" else []
    ended = trials.command("compare", str(run.folder), *told)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
    found = json.loads(ended.stdout)
    pictures = {Image.open(Path(found["folder"]) / cell["file"]).tobytes() for cell in found["cells"]}
    assert len(pictures) == len(found["cells"]) == 3
    assert all(len(set(picture)) > 50 for picture in pictures)  # neither black nor NaN
    note(ran(run, family) | {"loads_in": Path(painter_of(Base(family, "")).script).name})


@pytest.mark.full
@pytest.mark.parametrize("family", FAMILIES[1:])
def test_the_whole_model_changes_what_the_generator_paints(family: str, trials: Trials, tmp_path: Path):
    """``compare`` is for LoRAs; the file is read by the script alone, in the place of the base model."""
    run = launch(trials, Kind(family, "finetune", WHOLE), "args.seed=7")  # with the recipe's own it was trained above
    inputs = [str(trials.root / "pairs" / "before 0.png")] if family == "qwen_image_edit" else []
    environ = environment(trials.root, trials.checkout)
    models = tmp_path / "models" / family
    shutil.copytree(trials.root / "models" / family, models)
    script = Swept(family, tmp_path, {"controls": inputs}, "", trials.checkout, trials.python, environ)
    base = script.alone(None, 0, tmp_path / "base")
    shutil.copyfile(run.final, models / "dit.safetensors")
    assert apart(script.alone(None, 0, tmp_path / "trained"), base) > 1
    note(ran(run, family, "finetune") | {"loads_in": Path(painter_of(Base(family, "")).script).name})
    shutil.rmtree(models)


@pytest.mark.full
def test_a_row_with_several_inputs_is_trained(trials: Trials):
    rows = [dict(row) for row in trials.rows]
    trials.rows[0]["input_image"] = [rows[0]["input_image"], rows[1]["input_image"], rows[2]["input_image"]]  # type: ignore[assignment]
    run = launch(trials, Kind("qwen_image_edit"), "datasets.0.options.control_resolution=96")
    trials.rows[:] = rows
    assert run.items == len(SIZES)
    assert any(
        "latents_control_2" in file.read_bytes()[:4000].decode("latin-1") for file in run.cached("latents").values()
    )


@pytest.mark.full
@pytest.mark.parametrize("family", FAMILIES)
def test_samples_are_painted_while_it_trains(family: str, trials: Trials):
    prompts = trials.root / "prompts.txt"
    control = f" --ci {trials.root / 'pairs' / 'before 0.png'}" if family == "qwen_image_edit" else ""
    prompts.write_text(f"a picture --w 64 --h 64 --s 2 --d 1{control}\n", encoding="utf-8")
    turbo = [f"components.turbo_dit={trials.root / 'models' / family / 'dit.safetensors'}"] if family == "krea2" else []
    run = launch(trials, Kind(family), f"args.sample_prompts={prompts}", "args.sample_every_n_epochs=1", *turbo)
    pictures = [Image.open(path) for path in (run.folder / "output" / "sample").glob("*.png")]
    assert [picture.size for picture in pictures] == [(64, 64)] * 2
    assert all(len(set(picture.tobytes())) > 50 for picture in pictures)
