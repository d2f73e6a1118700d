"""A sweep as one array of a real Slurm on this machine, with practice runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import forked
import pytest
import slurm_cluster

pytestmark = pytest.mark.daily
ROOT = Path(__file__).parents[2]
WORDS = ("--practice", "--on", "lab", "--set", "args.network_dim=2,4", "--max-hours", "1", "--json")


@pytest.fixture
def cluster(tmp_path_factory):
    running = slurm_cluster.cluster(tmp_path_factory.mktemp("cluster"))
    yield running
    running.stop()


def test_a_sweep_is_one_array_and_the_same_command_keeps_what_is_done(odd_path, cluster, pictures):
    pictures(3, (64, 64))
    recipe, config = odd_path / "cat.yaml", odd_path / "home" / ".config" / "kohya-runner" / "config.yaml"
    recipe.write_text(
        "name: cat\nfamily: sd15\nmodel: {random: sd15}\ndatasets: [{images: pictures, concept: cat, repeats: 2}]\n"
        "args: {resolution: 64, max_train_epochs: 2, save_every_n_epochs: 1}\n"
    )
    lab = {"kind": "slurm", "root": str(odd_path / "share"), "gres": "", "runner": sys.prefix}
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"places": {"lab": lab}}))
    room = odd_path / "ws"
    kept = {k: v for k, v in os.environ.items() if k not in ("KOHYA_RUNNER_SD_SCRIPTS", "KOHYA_RUNNER_PYTHON")}
    env = {**kept, **cluster.environ, "PATH": slurm_cluster.PATH, "HOME": str(odd_path / "home"),
           "KOHYA_WORKSPACE": str(room), "PYTHONPATH": str(ROOT)}  # fmt: skip
    code, out, err = forked.run("sweep", str(recipe), *WORDS, env=env)
    assert code == 0, out + err
    assert [run["state"] for run in json.loads(out)["runs"]] == ["succeeded", "succeeded"]
    stays = [json.loads(file.read_bytes()) for file in sorted(room.glob("runs/*/001/remote.json"))]
    number = stays[0]["ticket"]["job"].partition("_")[0]
    assert [stay["ticket"]["job"] for stay in stays] == [f"{number}_0", f"{number}_1"]
    assert [(stay["phase"], stay["max_hours"]) for stay in stays] == [("returned", 0.5)] * 2
    records = [json.loads(file.read_bytes())["argv"] for file in sorted(room.glob("runs/*/001/record.json"))]
    assert ["--network_dim=2" in records[0], "--network_dim=4" in records[1]] == [True, True]
    code, out, err = forked.run("sweep", str(recipe), *WORDS, env=env)
    assert code == 0, out + err
    assert len(list(room.glob("runs/*/*/remote.json"))) == 2
