"""The real trainer as two processes, through ``accelerate launch``, on the CPU (gloo): its numbers are the plan's.

On a CPU accelerate 1.6 wraps models in DDP that train nothing, which on GPUs it leaves alone (accelerator.py:1745):
``shrink/sitecustomize.py`` does here what it does there.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import tiers
from killed_runs import NAME, Case, Place, check, killed_three_times, names, read_whole

if TYPE_CHECKING:
    from pathlib import Path

TWO = ("--set=launch.num_processes=2",)
SHORT = ("--set=args.max_train_epochs=2", "--set=args.lr_scheduler=constant_with_warmup")


@pytest.fixture
def place(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Place:
    return Place(tmp_path_factory.mktemp("it's two"), sd_scripts, trainer_python).furnish()


def said(log: str, what: str) -> int:
    (number,) = re.findall(rf"{what}.*?: (\d+)$", log, re.MULTILINE)
    return int(number)


@pytest.mark.full
def test_two_machines_train_together_and_their_steps_are_the_plans(place):
    """One launch on each, with the variables of a cluster; 6 pictures, twice, in batches of 2, for 2 processes."""
    case = Case(place, place.root / "ws")
    environ = {**place.environ, "NUM_NODES": "2", "PRIMARY_ADDR": "127.0.0.1", "PRIMARY_PORT": "29617"}
    environ["KOHYA_SHRUNK_STEP_SECONDS"] = "0"
    command = [sys.executable, "-m", "kohya_runner", "launch", str(place.recipe), "--resume", "--once", *SHORT]
    command += ["--set=args.lr_warmup_steps=4", f"--workspace={case.workspace}", "--allow=hub.offline"]
    started = [
        subprocess.Popen((*command, "--trust=args.tokenizer_cache_dir"), env={**environ, "NODE_RANK": rank},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for rank in ("1", "0")
    ]  # fmt: skip
    told = [process.communicate(timeout=400)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], told
    assert "args.warmup_processes" in told[1]
    assert "a step takes 2 x 2 x 1 = 4 images" in told[1]
    log = (case.folder / "trainer.log").read_text("utf-8", "replace")
    other = (case.folder / "nodes" / "001-trainer.log").read_text("utf-8", "replace")
    assert "loading model for process 0/2" in log + other  # each is the first of its machine
    record, plan = case.read("record.json"), case.read("plan.json")
    assert said(log, "num batches per epoch") == plan["steps"]["batches_per_epoch"] == 3
    assert said(log, "total optimization steps") == plan["steps"]["total"] == record["steps_seen"] == 6
    assert names(case.output, "*.safetensors") == (f"{NAME}-000001.safetensors", f"{NAME}.safetensors")
    counted = case.steps_of(case.output / f"{NAME}-state")
    assert counted == {"optimizer": [6], "scheduler": 12}  # it steps once for each process: 4 steps of warm-up are 2
    assert case.read("attempts.json")["attempts"][0]["world_size"] == 2


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3 if tiers.full() else 1))
def test_two_processes_killed_three_times_end_as_two_that_were_not(place, seed):
    place.options = TWO
    finished = Case(place, place.root / "never killed")
    with ExitStack() as another_run:
        for port in (29500, 29400):  # accelerate's own port, and that of c10d
            held = another_run.enter_context(socket.socket())
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            held.bind(("127.0.0.1", port))
            held.listen()
        finished.ends.append(finished.finish()[0])
    assert finished.ends == [0]
    whole = read_whole(finished)
    assert whole.steps == 18
    case = Case(place, place.root / f"killed {seed}")
    try:
        killed_three_times(case, whole, seed)
        check(case, whole)
        assert {attempt["world_size"] for attempt in case.read("attempts.json")["attempts"]} == {2}
    except AssertionError as fault:
        logs = "\n".join(path.read_text("utf-8", "replace")[-1500:] for path in sorted(case.folder.glob("*.log")))
        raise AssertionError(f"{case.kills} {case.ends}: {fault}\n{logs}") from fault
    finally:
        case.clear()
        finished.clear()


@pytest.mark.full
def test_machines_that_would_train_by_themselves_are_stopped(place, tmp_path):
    """As accelerate starts them without --multi_gpu where each has one GPU: the launcher here drops that word."""
    (tmp_path / "accelerate.py").write_text("", encoding="utf-8")
    site = tmp_path / "site"
    site.mkdir()
    (site / "usercustomize.py").write_text("", encoding="utf-8")
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/bash\nwords=()\nfor word in "$@"; do [ "$word" = --multi_gpu ] || words+=("$word"); done\n'
        f'exec {place.python} "${{words[@]}}"\n', encoding="utf-8",
    )  # fmt: skip
    python.chmod(0o755)
    case = Case(Place(place.root, place.sd_scripts, python, TWO), place.root / "apart")
    os.environ["KOHYA_SHRUNK_STEP_SECONDS"] = "1"
    code, told = case.finish()
    assert code == 9, told
    record = case.read("record.json")
    assert record["exit"]["stop"] == "world.size"
    assert "is 0 of 1, planned were 2" in json.dumps(record["exit"])
