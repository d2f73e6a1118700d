"""The kind ``slurm`` on a real Slurm of two nodes on this machine, with the unmodified trainer on tiny weights."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import slurm_cluster
from killed_runs import NAME, Place, names

from kohya_runner.remote import sums
from kohya_runner.remote.place import Ask, Job, Standing, Stay
from kohya_runner.remote.slurm import SlurmPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurm_cluster import Cluster

OPTIONS = ("--trust=args.tokenizer_cache_dir", "--allow=hub.offline")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = slurm_cluster.cluster(tmp_path_factory.mktemp("cluster"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in running.environ.items():
            patch.setenv(name, value)
        yield running
    running.stop()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Place:
    return Place(tmp_path_factory.mktemp("it's shared"), sd_scripts, trainer_python).furnish()


@pytest.fixture
def lab(cluster: Cluster, tiny: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmPlace:
    """Slurm hands on what stands in the environment of sbatch, and its own start goes before ours."""
    for name, value in tiny.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", slurm_cluster.PATH)
    monkeypatch.setenv("KOHYA_SHRUNK_STEP_SECONDS", "0")
    return SlurmPlace(name="lab", root=str(tmp_path / "the share"), gres="", extra=["--mem=1000M"])


def job(tiny: Place, folder: Path, ask: Ask, dim: int = 2) -> Job:
    text = tiny.recipe.read_text("utf-8").replace("./pictures", json.dumps(str(tiny.root / "pictures")))
    pack = folder / "pack"
    pack.mkdir(parents=True)
    (pack / "recipe.yaml").write_text(text.replace("network_dim: 2", f"network_dim: {dim}"), encoding="utf-8")
    return Job(NAME, "001", pack, 1, ask, OPTIONS)


def begun(lab: SlurmPlace, what: Job) -> Stay:
    saved: list[Stay] = []
    stay = Stay(place="lab", kind="slurm", phase="renting", name=what.name, number=what.number)
    stay = lab.begin(what, lab.offers(what.ask)[0], stay, saved.append)
    assert saved[-1] == stay
    assert lab.begin(what, lab.offers(what.ask)[0], stay, saved.append).ticket == stay.ticket  # never twice
    return stay


def ended(lab: SlurmPlace, stay: Stay) -> Standing:
    until = time.monotonic() + 500
    while (standing := lab.standing(stay)).phase in ("waiting", "running") and time.monotonic() < until:
        time.sleep(0.3)
    return standing


def meet(log: Path, words: str) -> None:
    until = time.monotonic() + 200
    while time.monotonic() < until and not (log.is_file() and words in log.read_text("utf-8", "replace")):
        time.sleep(0.1)


def told(stay: Stay, file: str) -> Any:
    return json.loads(Path(stay.root, "runs", NAME, "001", file).read_text("utf-8"))


def said(stay: Stay) -> str:
    return "\n".join(path.read_text("utf-8", "replace") for path in Path(stay.root).rglob("*.log"))


@pytest.mark.daily
def test_two_nodes_train_together_and_the_results_come_back_verified(lab, tiny, tmp_path):
    """6 pictures, twice, in batches of 2, for a process on each of two nodes: 3 steps an epoch."""
    what = job(tiny, tmp_path, Ask(nodes=2))
    stay = begun(lab, replace(what, options=(*OPTIONS, "--set=args.max_train_epochs=2")))
    assert stay.phase == "waiting"
    standing = ended(lab, stay)
    assert (standing.phase, standing.code) == ("ended", 0), said(stay)
    record = told(stay, "record.json")
    assert record["state"] == "succeeded"
    assert record["steps_seen"] == record["steps_planned"] == 6
    assert "--num_machines=2" in record["argv"]
    assert told(stay, "attempts.json")["attempts"][0]["world_size"] == 2
    home = tmp_path / "home"
    lab.bring(stay, home, everything=True)
    assert list(sums.wrong(home)) == []
    assert len(names(home / "output", "*.safetensors")) == 2
    assert (home / "nodes" / "001-trainer.log").is_file()


@pytest.mark.full
def test_an_array_trains_each_recipe_in_a_stay_of_its_own(lab, tiny, tmp_path, cluster):
    jobs = [job(tiny, tmp_path / str(n), Ask(), n) for n in (2, 4)]
    stays = [Stay(place="lab", kind="slurm", phase="renting", name=NAME, number=f"00{n}") for n in (1, 2)]
    sent = lab.begin_array(jobs, lab.offers(Ask())[0], stays, lambda _: None)
    number = sent[0].ticket["job"].partition("_")[0]
    assert [one.ticket["job"] for one in sent] == [f"{number}_0", f"{number}_1"]
    assert [ended(lab, one).code for one in sent] == [0, 0], said(sent[0])
    assert {told(one, "record.json")["steps_seen"] for one in sent} == {36}
    assert [f"--network_dim={n}" in told(one, "record.json")["argv"] for one, n in zip(sent, (2, 4), strict=True)] == [
        True,
        True,
    ]


@pytest.mark.full
def test_a_job_that_must_make_room_is_requeued_and_goes_on(lab, tiny, tmp_path, cluster, monkeypatch):
    monkeypatch.setenv("KOHYA_SHRUNK_STEP_SECONDS", "1")
    stay = begun(lab, job(tiny, tmp_path, Ask(nodes=2)))
    number = stay.ticket["job"]
    log = Path(stay.root, "runs", NAME, "001", "trainer.log")
    meet(log, "epoch 3/6")
    cluster.say("scancel", "--batch", "--signal=USR1", number)  # as Slurm does before the time is over
    standing = ended(lab, stay)
    assert (standing.phase, standing.code) == ("ended", 0), said(stay)
    assert "the job goes on once Slurm starts it again" in said(stay)
    first, second = told(stay, "attempts.json")["attempts"]
    assert (first["outcome"], second["outcome"]) == ("stopped", "succeeded")
    assert second["epoch"] >= 2
    assert second["step"] == second["epoch"] * 3
    assert told(stay, "record.json")["steps_seen"] == 18
    assert len(names(Path(stay.root, "runs", NAME, "001", "output"), "*.safetensors")) == 6


@pytest.mark.full
@pytest.mark.parametrize("now", [False, True, None], ids=["after the save", "now", "after its hours"])
def test_a_stop_ends_the_job_and_nothing_starts_it_again(lab, tiny, tmp_path, now, monkeypatch):
    monkeypatch.setenv("KOHYA_SHRUNK_STEP_SECONDS", "1" if now is not None else "20")
    stay = begun(lab, job(tiny, tmp_path, Ask(nodes=2, max_hours=0.02 if now is None else None)))
    meet(Path(stay.root, "runs", NAME, "001", "trainer.log"), "epoch 1/6" if now is None else "epoch 2/6")
    if now is not None:
        lab.stop(stay, now=now)
    standing = ended(lab, stay)
    assert (standing.phase, standing.code) == ("ended", 143), said(stay)
    if now is not None:  # else it may have come to its end before the training began
        assert told(stay, "record.json")["state"] == "stopped"
