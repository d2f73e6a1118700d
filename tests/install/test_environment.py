from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from fake_checkout import fake_checkout

from kohya_runner.engines.sd_scripts import SD_SCRIPTS as SD
from kohya_runner.errors import PreflightError, TrainerError
from kohya_runner.install import checkout, environment
from kohya_runner.install.archive import VARIABLE
from kohya_runner.install.checkout import Checkout, Recorded, recorded, setup_home
from kohya_runner.install.environment import (
    candidates,
    keep,
    lock,
    make_environment,
    plan_for,
)
from kohya_runner.install.probe import EnvironmentPlan, PythonFacts

pytestmark = pytest.mark.daily

BASE = Path(sys.base_prefix) / "bin" / "python3"
OFFLINE = {"PATH": "/usr/bin:/bin", "PIP_NO_INDEX": "1"}
PLAN = EnvironmentPlan(
    BASE, "3.11.7", image_torch=True, constraints=(), torch=(), requirements=(), xformers="xformers==0"
)


def make(home: Path, checkout: Path, plan: EnvironmentPlan = PLAN) -> tuple[Path, list[str]]:
    said: list[str] = []
    home.mkdir(exist_ok=True)
    return make_environment(
        plan, Checkout(checkout, None, "a test", SD), home=home, environ=OFFLINE, say=said.append
    ), said


@pytest.mark.parametrize(
    ("environ", "home"),
    [
        pytest.param({"HOME": "/home/ann"}, "/home/ann/.local/share/kohya-runner", id="home"),
        pytest.param({"HOME": "/home/ann", "XDG_DATA_HOME": "/data"}, "/data/kohya-runner", id="xdg"),
        pytest.param({"HOME": "/home/ann", "KOHYA_RUNNER_HOME": "/fast"}, "/fast", id="named"),
    ],
)
def test_the_home_is_where_the_user_wants_it(environ, home):
    assert setup_home(environ) == Path(home)


def test_a_home_on_a_network_volume_is_never_used(monkeypatch):
    monkeypatch.setattr(checkout, "is_network_mount", lambda path: not str(path).startswith("/var/tmp"))
    home = setup_home({"HOME": "/home/ann", "KOHYA_RUNNER_HOME": "/workspace/runner"})
    assert home == Path(f"/var/tmp/kohya-runner-{os.geteuid()}")


def test_a_machine_offers_its_own_python_once():
    offered = [facts.executable for facts in candidates(dict(os.environ))]
    assert offered
    assert len(offered) == len(set(offered))


def test_a_python_that_does_not_run_is_no_candidate(odd_path):
    broken = odd_path / "python3"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert broken not in [facts.path for facts in candidates({"PATH": str(odd_path)})]


def test_no_fitting_python_says_what_was_found(monkeypatch):
    facts = PythonFacts(BASE, BASE, "3.14.0", venv=False, packages={})
    monkeypatch.setattr(environment, "candidates", lambda _: (facts,))
    with pytest.raises(TrainerError, match=r"needs Python 3\.10, 3\.11 or 3\.12; found: .*3\.14\.0"):
        plan_for({}, "")


@dataclass(frozen=True)
class Made:
    home: Path
    checkout: Path
    python: Path
    said: list[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """One environment, made once for all the tests that only look at it."""
    folder = tmp_path_factory.mktemp("an 'odd' place")
    checkout = fake_checkout(folder / "sd scripts")
    python, said = make(folder / "home", checkout)
    return Made(folder / "home", checkout, python, said)


def test_an_environment_is_recorded_when_it_is_complete(made):
    known = recorded(made.home, SD)
    assert known is not None
    assert (known.python, known.stamp) == (made.python, PLAN.stamp)


def test_an_environment_is_made_once(made):
    python, said = make(made.home, made.checkout)
    assert python == made.python
    assert said == [f"the trainer's environment is there: {made.python}"]


def test_xformers_that_cannot_be_installed_is_only_mentioned(made):
    assert any("xformers could not be installed" in line for line in made.said)


def test_the_checkout_gets_no_editable_install(made):
    assert not list(made.checkout.glob("*.egg-info"))


def test_a_half_made_environment_is_finished_not_used(odd_path, checkout):
    (checkout / "library" / "train_util.py").write_text("import no_such_module")
    with pytest.raises(TrainerError, match=r"cannot import library\.train_util: .*no_such_module"):
        make(odd_path / "home", checkout)
    assert recorded(odd_path / "home", SD) is None
    (checkout / "library" / "train_util.py").write_text("")
    python, said = make(odd_path / "home", checkout)
    assert said[0].startswith("going on with the half-made environment")
    assert recorded(odd_path / "home", SD) == Recorded(python, PLAN.stamp)


def test_what_cannot_be_installed_ends_the_setup(odd_path, checkout):
    impossible = replace(PLAN, requirements=("no-such-package-anywhere",))
    with pytest.raises(TrainerError, match="could not install the trainer's packages"):
        make(odd_path / "home", checkout, impossible)


def test_a_disk_that_is_too_small_is_known_before_anything_is_made(odd_path, checkout, monkeypatch):
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**9}))
    with pytest.raises(PreflightError, match=r"needs about 2\.0 GiB in .*953\.7 MiB are free"):
        make(odd_path / "home", checkout)
    assert list((odd_path / "home").iterdir()) == []


def test_a_record_of_an_environment_that_is_gone_does_not_count(odd_path):
    (odd_path / "trainer.json").write_text(json.dumps({"python": str(odd_path / "gone"), "stamp": "x"}))
    assert recorded(odd_path, SD) is None


def test_a_second_setup_waits_for_the_first(odd_path):
    held = subprocess.Popen(
        ("flock", str(odd_path / "setup.lock"), "sh", "-c", "echo held; read line"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert held.stdin is not None
    assert held.stdout is not None
    held.stdout.readline()
    stdin = held.stdin
    with lock(odd_path, lambda _: stdin.close()):  # it says that it waits, and only then the first one ends
        assert held.wait(180) in {0, 1}
    held.stdout.close()


def test_an_environment_that_was_kept_on_the_volume_is_restored_and_checked(made, odd_path):
    environ = {**OFFLINE, VARIABLE: str(odd_path / "volume")}
    checkout = Checkout(made.checkout, None, "a test", SD)
    keep(checkout, made.python, environ, str)
    home, said = made.home, []
    (home / SD.record).unlink()
    shutil.rmtree(made.python.parent.parent)
    python = make_environment(PLAN, checkout, home=home, environ=environ, say=said.append)
    assert python == made.python
    assert said[0].startswith("restoring the environment from ")
    assert said[1] == "checking that the trainer's modules import"
    assert recorded(home, SD) is not None
