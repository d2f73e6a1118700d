"""LoKr, LoHa and inpainting by the unmodified scripts on shrunk models, seconds each."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from test_tiny_families_engine import ALL, HERE, ROOT, SHRINK, draw

from kohya_runner.artefact.content import examine
from kohya_runner.artefact.safetensors_header import read_header
from kohya_runner.engines.sd_scripts.families import SD_SCRIPTS
from kohya_runner.options.snapshot import matches_snapshot

pytestmark = pytest.mark.daily

SD15, SDXL, ANIMA = (next(f for f in ALL if f.name == name) for name in ("sd15", "sdxl", "anima"))
INPAINT = ("args.train_inpainting=true", "args.cache_latents=false", "args.cache_latents_to_disk=false")
LOKR = replace(SDXL, recipe="sdxl_lokr.yaml", overrides=("args.min_bucket_reso=64",))
LOHA = ("args.network_module=networks.loha", "args.network_dim=4")
CASES = {
    "sdxl-lokr": (LOKR, (), "lokr_w1"),
    "sdxl-loha": (LOKR, (*LOHA, "args.network_args={conv_dim: 2}"), "hada_w1_a"),
    "anima-lokr": (ANIMA, ("args.network_module=networks.lokr", "args.network_dim=4"), "lokr_w1"),
    "anima-loha": (ANIMA, LOHA, "hada_w1_a"),
    "sd15-inpainting": (SD15, INPAINT, "lora_up.weight"),
    "sdxl-inpainting": (LOKR, INPAINT, "lokr_w1"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_network_of_another_kind_is_trained_and_its_file_is_one_of_its_kind(
    case: str, tmp_path: Path, sd_scripts: Path, trainer_python: Path
) -> None:
    if not matches_snapshot(sd_scripts, SD_SCRIPTS):
        pytest.skip("an older trainer has no such modules")
    family, more, tensor = CASES[case]
    models, pictures, workspace = tmp_path / "models", tmp_path / "pictures", tmp_path / "ws"
    models.mkdir()
    environ = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(SHRINK), str(ROOT))), "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1", "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts), "KOHYA_RUNNER_PYTHON": str(trainer_python),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    writer = (str(trainer_python), str(HERE / "tiny_models.py"), str(sd_scripts), family.row.family, str(models))
    subprocess.run(writer, check=True, capture_output=True, env=environ)
    draw(pictures)
    command = (
        *(sys.executable, "-m", "kohya_runner", "launch", str(ROOT / "recipes" / family.recipe)),
        *(f"--workspace={workspace}", "--allow=hub.offline", *family.choices(models, pictures)),
        *(f"--set={text}" for text in more),
    )
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=environ, cwd=tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder,) = (workspace / "runs").glob("*/001")
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    log = (folder / "trainer.log").read_text(encoding="utf-8")
    announced = sum(map(int, re.findall(r"enable (?:modules|LoRA) for .*?: (\d+) modules", log)))
    assert record["state"] == "succeeded"
    assert record["modules"] == announced > 0
    assert [found["modules"] for found in record["checkpoints"]] == [announced] * 2
    last = folder / "output" / record["checkpoints"][-1]["file"]
    names = [row.name for row in read_header(last).tensors]
    assert sum(name.endswith(f".{tensor}") for name in names) > 0
    assert examine(last).problem == ""
