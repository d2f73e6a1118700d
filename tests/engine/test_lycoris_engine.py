"""LyCORIS of PyPI: installed on top of the trainer's packages, trained by the real script, its file opened."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_tiny_families_engine import ALL, HERE, ROOT, SHRINK, draw

from kohya_runner.errors import TrainerError
from kohya_runner.install.checkout import TrainerPython
from kohya_runner.install.environment import add_packages

pytestmark = pytest.mark.full

LYCORIS = "lycoris-lora==4.1.3"
SD15 = next(family for family in ALL if family.name == "sd15")
SITE = "import sysconfig; print(sysconfig.get_path('purelib'))"
ARGS = "{algo: lokr, factor: 8, conv_dim: 4, conv_alpha: 1, preset: attn-mlp}"


def said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def overlay(trainer_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with LyCORIS, and everything of the trainer's, which stays as it is."""
    folder = tmp_path_factory.mktemp("overlay") / "venv"
    said(str(trainer_python), "-m", "venv", str(folder))
    python = folder / "bin" / "python"
    site = Path(said(str(python), "-c", SITE))
    (site / "trainer.pth").write_text(said(str(trainer_python), "-c", SITE) + "\n", encoding="utf-8")
    own = TrainerPython(python, "the test", own=True)
    try:
        add_packages(own, (LYCORIS,), home=folder.parent, environ=dict(os.environ), say=print)
    except TrainerError as fault:
        pytest.skip(f"NO LYCORIS: {LYCORIS} cannot be installed: {fault.message}")
    return python


@pytest.fixture(scope="module")
def rig(sd_scripts: Path, overlay: Path, tmp_path_factory: pytest.TempPathFactory):
    """A function from a command's words to the ended process."""
    place = tmp_path_factory.mktemp("lycoris")
    models, pictures = place / "models", place / "pictures"
    models.mkdir()
    environ = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(SHRINK), str(ROOT))), "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1", "KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts), "KOHYA_RUNNER_PYTHON": str(overlay),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    writer = (str(overlay), str(HERE / "tiny_models.py"), str(sd_scripts), "sd15", str(models))
    subprocess.run(writer, check=True, capture_output=True, env=environ)
    draw(pictures)
    usual = (
        str(ROOT / "recipes" / SD15.recipe), f"--workspace={place / 'ws'}", "--allow=hub.offline",
        *SD15.choices(models, pictures), "--set=args.network_module=lycoris.kohya", "--set=args.network_dim=4",
        f"--set=launch.packages=[{LYCORIS}]",
    )  # fmt: skip

    def run(command: str, network_args: str) -> subprocess.CompletedProcess[str]:
        words = (command, *usual, f"--set=args.network_args={network_args}", "--json")
        argv = (sys.executable, "-m", "kohya_runner", *words)
        return subprocess.run(argv, check=False, capture_output=True, text=True, env=environ, cwd=place)

    run.place = place
    return run


def test_a_lokr_is_trained_and_its_file_is_sound(rig):
    ended = rig("launch", ARGS)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    (folder,) = (rig.place / "ws" / "runs").glob("*/001")
    record = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    assert record["state"] == "succeeded"
    assert record["trainer"]["packages"]["lycoris-lora"] == "4.1.3"
    log = (folder / "trainer.log").read_text(encoding="utf-8")
    assert "Using rank adaptation algo: lokr" in log
    (last,) = [path for path in (folder / "output").glob("*.safetensors") if "-0000" not in path.name]
    command = (sys.executable, "-m", "kohya_runner", "verify", str(last), "--json")
    verified = subprocess.run(command, check=False, capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert b"lokr_w1" in last.read_bytes()[:200_000]


@pytest.mark.parametrize(
    ("network_args", "message"),
    [
        ("{algo: lokrr}", "did you mean 'lokr'?"),
        ("{algo: lokr, factr: 8}", "did you mean 'factor'?"),
        ("{algo: lokr, conv_dim: four}", "conv_dim"),
        ("{algo: lokr, factor: x}", "factor"),
        ("{preset: ful}", "did you mean 'full'?"),
        ("{algo: lokr}", "preset=full names time_embedding.linear_1 twice for sd15"),
    ],
)
def test_its_arguments_are_judged_by_its_own_sources(rig, network_args: str, message: str):
    plan = json.loads(rig("plan", network_args).stdout)
    told = "\n".join(f"{f['message']} {f['hint']}" for f in plan["findings"] if f["code"].startswith("args.lycoris"))
    assert message in told
    assert "(lycoris/" in told
