"""SkyPilot's run block on two processes with its variables, as on two machines, with the unmodified trainer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from killed_runs import NAME, Place, names

from kohya_runner.remote import engine, sums
from kohya_runner.remote.place import Ask, Job
from kohya_runner.remote.sky_place import SkyPlace


@pytest.mark.full
def test_two_machines_of_skypilot_train_together(tmp_path: Path, sd_scripts: Path, trainer_python: Path) -> None:
    """6 pictures, twice, in batches of 2, for a process on each of two machines: 3 steps an epoch."""
    tiny = Place(tmp_path / "it's shared", sd_scripts, trainer_python).furnish()
    text = tiny.recipe.read_text("utf-8").replace("./pictures", json.dumps(str(tiny.root / "pictures")))
    pack = tmp_path / "here" / "pack"
    pack.mkdir(parents=True)
    (pack / "recipe.yaml").write_text(text, encoding="utf-8")
    options = ("--trust=args.tokenizer_cache_dir", "--allow=hub.offline")
    job = Job(NAME, "001", pack, 1, Ask(gpu="L40S", nodes=2), options)
    run = SkyPlace(name="sky", infra="k8s", folder=str(tmp_path / "the share")).task(job, None)["run"]
    with engine.parcel(job) as file:
        sent = tmp_path / "home" / "kohya-runner" / f"{engine.label(job)}.tar"
        sent.parent.mkdir(parents=True)
        file.rename(sent)
    machine = {**os.environ, **tiny.environ, "HOME": str(tmp_path / "home"), "KOHYA_RUNNER_ENVIRONMENT": sys.prefix,
               "KOHYA_RUNNER_TICK": "1", "KOHYA_SHRUNK_STEP_SECONDS": "0", "SKYPILOT_NUM_NODES": "2",
               "SKYPILOT_NODE_IPS": "127.0.0.1\n127.0.0.1", "MASTER_PORT": "29617"}  # fmt: skip
    both = [subprocess.Popen(["bash", "-c", run], env={**machine, "SKYPILOT_NODE_RANK": str(rank)}) for rank in (0, 1)]
    assert [one.wait(500) for one in both] == [0, 0]
    stay = tmp_path / "the share" / "stays" / engine.label(job)
    run_dir = stay / engine.run_there(NAME)
    record = json.loads((run_dir / "record.json").read_text("utf-8"))
    assert record["steps_seen"] == record["steps_planned"] == 18
    assert "--num_machines=2" in record["argv"]
    assert len(names(run_dir / "output", "*.safetensors")) == 6
    sums.RunPaths(run_dir).sums.write_text((stay / "sha256sums.json").read_text("utf-8"), encoding="utf-8")
    assert list(sums.wrong(run_dir)) == []
