"""The real trainer on tiny weights, on a "machine" behind a real sshd that is started anew: sent, gone on, verified."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress

import killed_runs
import pytest
from practice_runs import wait_until

pytestmark = pytest.mark.daily


@pytest.fixture
def place(odd_path, sd_scripts, trainer_python):
    made = killed_runs.Place(odd_path, sd_scripts, trainer_python).furnish()
    made.recipe.write_text(made.recipe.read_text().replace("max_train_epochs: 6", "max_train_epochs: 2"))
    return made


def test_the_trainer_runs_there_with_all_that_the_recipe_names_and_goes_on_after_a_restart(place, sshd, odd_path):
    there, config = odd_path / "other machine", odd_path / "config" / "kohya-runner" / "config.yaml"
    names = (
        "PYTHONPATH",
        "HF_HUB_OFFLINE",
        "KOHYA_SHRUNK_STEP_SECONDS",
        "KOHYA_RUNNER_SD_SCRIPTS",
        "KOHYA_RUNNER_PYTHON",
    )
    variables = {name: place.environ[name] for name in names} | {"HOME": str(odd_path / "home there")}
    variables["KOHYA_SHRUNK_STEP_SECONDS"] = "0.5"
    config.parent.mkdir(parents=True)
    studio = sshd.settings(root=str(there), runner=sys.prefix, env=variables)
    config.write_text(json.dumps({"places": {"studio": studio}}))
    run = odd_path / "ws" / "runs" / killed_runs.NAME / "001"

    def client(*words: str) -> str:
        environ = {
            **place.environ,
            "XDG_CONFIG_HOME": str(odd_path / "config"),
            "KOHYA_WORKSPACE": str(odd_path / "ws"),
        }
        argv = (sys.executable, "-m", "kohya_runner", *words)
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=400, check=False)
        told = "\n".join(path.read_text("utf-8", "replace")[-3000:] for path in there.glob("stays/*/**/*.log"))
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{told}"
        return done.stdout

    launch = ("launch", str(place.recipe), "--trust=args.tokenizer_cache_dir", "--allow=hub.offline", "--on", "studio")
    try:
        client(*launch, "--detach")
        wait_until(lambda: next(there.glob("stays/*/runs/*/001/output/*-000001-state/random_states_0.pkl"), None), 400)
        record = json.loads(next(there.glob("stays/*/runs/*/001/record.json")).read_text())
        for pid in (
            int(next(there.glob("stays/*/pid")).read_text()),
            record["runner"]["pid"],
            record["process"]["pid"],
        ):
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(pid), signal.SIGKILL)
        client("runs")
        assert json.loads((run / "remote.json").read_text())["phase"] == "lost"
        client(*launch, "--resume")
    finally:
        for file in there.glob("stays/*/pid"):
            with suppress(ProcessLookupError):
                os.killpg(int(file.read_text()), signal.SIGKILL)
    kept = json.loads((run / "record.json").read_text())
    assert (kept["state"], kept["practice"], kept["attempt"], kept["first_step"]) == ("succeeded", False, 2, 6)
    assert json.loads((run / "remote.json").read_text())["phase"] == "returned"
    final = run / "output" / f"{killed_runs.NAME}.safetensors"
    (saved,) = [one for one in kept["checkpoints"] if one["file"] == final.name]
    assert saved["complete"]
    assert final.stat().st_size == saved["bytes"]
    client("verify", str(final))
    assert str(place.python) in kept["argv"]
