"""The built wheel on another machine: an environment of its own, an empty HOME, no clone in sight."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest
from fake_checkout import fake_checkout

ROOT = Path(__file__).parents[2]
BUILD = "import sys, hatchling.build; print(hatchling.build.build_wheel(sys.argv[1]))"

pytestmark = pytest.mark.daily


class Machine:
    """Where the wheel is installed."""

    def __init__(self, folder: Path):
        self.home, self.bin = folder / "home", folder / "venv" / "bin"
        self.home.mkdir()

    def run(self, *words, code=0, **environ):
        command = (str(self.bin / "kohya-runner"), *map(str, words))
        env = {"HOME": str(self.home), "PATH": f"{self.bin}:/usr/bin:/bin", "HF_HUB_OFFLINE": "1", **environ}
        done = subprocess.run(command, cwd=self.home, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("another machine")
    built = subprocess.run((sys.executable, "-c", BUILD, folder), cwd=ROOT, check=True, capture_output=True, text=True)
    made = Machine(folder)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python, wheel = made.bin / "python", folder / built.stdout.split()[-1]
    pip = (
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        str(wheel),
    )
    subprocess.run(pip, check=True)
    site = Path(subprocess.run((python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"),
                               check=True, capture_output=True, text=True).stdout.strip())  # fmt: skip
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # what pip would have fetched
    shutil.copytree(site / "kohya_runner" / "recipes" / "sprites", made.home / "my pictures")
    return made


def test_it_is_the_wheel_that_runs(machine):
    code = "import kohya_runner, kohya_runner.engine_info as e; print(kohya_runner.__file__, e.project_root())"
    done = subprocess.run((machine.bin / "python", "-c", code), check=True, capture_output=True, text=True, cwd="/")
    where, clone = done.stdout.split()[-2:]
    assert where.endswith("site-packages/kohya_runner/__init__.py")
    assert clone == "None"


def test_new_plan_and_launch_work_without_a_clone(machine):
    machine.run("new", "mine", "--family", "sd15", "--images", "my pictures")
    assert machine.run("plan", "mine.yaml", "--elsewhere").startswith("ready: ")
    few = ("--set", "args.max_train_epochs=1", "--set", "datasets.0.repeats=1")
    said = machine.run("launch", "mine.yaml", "--practice", *few, KOHYA_PRACTICE_STEP_SECONDS="0.001")
    assert "PRACTICE: nothing was trained. done: mine/001" in said
    assert "next: kohya-runner report mine/001" in said
    assert (machine.home / "workspace" / "runs" / "mine" / "001" / "output" / "mine.safetensors").is_file()
    assert "wrote " in machine.run("report", "mine/001")
    assert "lr_warmup_steps" in machine.run("options", "lr", "warmup")
    assert '"$schema"' in machine.run("schema")


SENT = """
import sys
from pathlib import Path
from kohya_runner.remote.engine import parcel
from kohya_runner.remote.place import Ask, Job
with parcel(Job("cat", "001", Path(sys.argv[1]), 1, Ask())) as file:
    file.rename(sys.argv[2])
"""


def test_what_another_machine_needs_is_in_the_wheel(machine, tmp_path):
    """As it arrives there it can be installed, and is this version."""
    (tmp_path / "pack").mkdir()
    subprocess.run((machine.bin / "python", "-c", SENT, tmp_path / "pack", tmp_path / "sent.tar"), check=True, cwd="/")
    with tarfile.open(tmp_path / "sent.tar") as sent:
        sent.extractall(tmp_path, filter="data")
    assert (tmp_path / "runner" / "runpod" / "start_training.sh").is_file()
    subprocess.run((sys.executable, "-c", BUILD, tmp_path), cwd=tmp_path / "runner", check=True, capture_output=True)
    assert len(list(tmp_path.glob("kohya_runner-*.whl"))) == 1


def test_a_run_goes_to_another_machine_without_a_clone(machine, sshd):
    settings = machine.home / ".config" / "kohya-runner" / "config.yaml"
    settings.parent.mkdir(parents=True)
    box = sshd.settings(root=str(machine.home / "over there"), runner=sys.prefix)
    settings.write_text(json.dumps({"places": {"box": box}}))
    machine.run("new", "afar", "--family", "sd15", "--images", "my pictures")
    few = ("--set", "args.max_train_epochs=1", "--set", "datasets.0.repeats=1")
    said = machine.run("launch", "afar.yaml", "--practice", *few, "--on", "box", "--yes")
    assert "its hashes are right" in said
    settings.unlink()


def test_setup_says_what_is_missing_where_nothing_can_be_fetched(machine):
    (machine.home / ".gitconfig").write_text('[url "file:///nowhere/"]\n    insteadOf = https://github.com/\n')
    assert "the trainer's sources cannot be fetched" in machine.run("setup", code=5)


FETCH = """
import os, sys
from dataclasses import replace
from pathlib import Path
from kohya_runner.engine_info import project_root
from kohya_runner.engines.table import DEFAULT
from kohya_runner.install.checkout import setup_home
from kohya_runner.install.checkout import find_trainer
from kohya_runner.install.setup import fetch_sources
from kohya_runner.engines.table import user_settings
engine = replace(DEFAULT, commit=sys.argv[1])
home = setup_home(os.environ)
fetch_sources(os.environ, project=project_root(), home=home, say=print, engine=engine)
print(find_trainer(os.environ, user_settings(os.environ), engine=engine)[0].root)
"""


def test_setup_fetches_the_trainer_into_the_home_folder(machine, tmp_path):
    source = fake_checkout(tmp_path / "mirror" / "kohya-ss" / "sd-scripts.git")
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "all")):
        subprocess.run(("git", *who, *words), cwd=source, check=True)
    head = subprocess.run(("git", "rev-parse", "HEAD"), cwd=source, check=True, capture_output=True, text=True)
    mirror = f'[url "file://{tmp_path}/mirror/"]\n    insteadOf = https://github.com/\n'
    (machine.home / ".gitconfig").write_text(mirror)
    commit = head.stdout.strip()
    done = subprocess.run(
        (machine.bin / "python", "-c", FETCH, commit), cwd=machine.home, capture_output=True, text=True, check=False,
        env={"HOME": str(machine.home), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    place = machine.home / ".local" / "share" / "kohya-runner" / f"sd-scripts-{commit[:12]}"
    assert done.stdout.splitlines()[-1] == str(place)
    assert (place / "train_network.py").is_file()


def test_with_a_trainer_the_launch_is_ready(machine):
    named = {f"KOHYA_RUNNER_{name}": os.environ.get(f"KOHYA_RUNNER_{name}") for name in ("SD_SCRIPTS", "PYTHON")}
    if not all(named.values()):
        pytest.skip("no trainer: set KOHYA_RUNNER_SD_SCRIPTS and KOHYA_RUNNER_PYTHON")
    assert "ready: sd-scripts in " in machine.run("setup", **named)
    recipe = next(machine.bin.parent.glob("lib/*/site-packages/kohya_runner/recipes/quickstart.yaml"))
    assert machine.run("launch", recipe, "--dry-run", **named).splitlines()[-1].startswith("$ ")
