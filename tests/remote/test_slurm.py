"""The kind ``slurm``: what is submitted, and how a job stands, is stopped and found again, on a real Slurm."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import slurm_cluster

from kohya_runner.errors import RemoteError
from kohya_runner.remote.place import Ask, Job, Stay
from kohya_runner.remote.slurm import SlurmPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurm_cluster import Cluster

pytestmark = pytest.mark.daily
STAY = Stay(place="lab", kind="slurm", phase="renting", name="a", number="001")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = slurm_cluster.cluster(tmp_path_factory.mktemp("cluster"))
    yield running
    running.stop()


@pytest.fixture
def lab(cluster: Cluster, odd_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmPlace:
    for name, value in cluster.environ.items():
        monkeypatch.setenv(name, value)
    return SlurmPlace(name="lab", root=f"{odd_path}/share", gres="")


def job(folder: Path, ask: Ask) -> Job:
    (folder / "pack").mkdir()
    (folder / "pack" / "recipe.yaml").write_text("name: a\n", encoding="utf-8")
    return Job("a", "001", folder / "pack", 1, ask, ("--allow=hub.offline",), ("A_TOKEN",))


def submitted(lab: SlurmPlace, what: Job) -> Stay:
    return lab.begin(what, lab.offers(what.ask)[0], STAY, lambda _: None)


def ended(lab: SlurmPlace, stay: Stay) -> tuple[str, int | None]:
    until = time.monotonic() + 120
    while (standing := lab.standing(stay)).phase in ("waiting", "running") and time.monotonic() < until:
        time.sleep(0.1)
    return standing.phase, standing.code


def test_the_script_says_what_was_asked_for(lab, odd_path):
    place = lab.model_copy(update={
        "gres": "gpu", "partition": "big", "account": "art", "extra": ["--mem=64G"], "before": ["module load cuda"],
        "env": {"NCCL_SOCKET_IFNAME": "ib 0"}, "notice": 120, "hours": 24.0,
    })  # fmt: skip
    text = place.render(job(odd_path, Ask(gpu="A100", gpus=4, nodes=2, max_hours=1.5)), None)["job.sbatch"]
    said = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
    assert said[1:] == [
        "--open-mode=append", "--nodes=2", "--ntasks-per-node=1", "--partition=big", "--account=art",
        "--gres=gpu:a100:4", "--time=90", "--mem=64G", "--requeue", "--signal=B:USR1@120",
    ]  # fmt: skip
    assert "\nmodule load cuda\nexport NCCL_SOCKET_IFNAME='ib 0'\n" in text
    assert "launch pack/recipe.yaml" in text
    subprocess.run(("bash", "-n"), input=text, text=True, check=True)


def test_a_job_ends_with_the_code_of_its_launch_and_keeps_no_secret(lab, odd_path, monkeypatch):
    monkeypatch.setenv("A_TOKEN", "hidden")
    what = job(odd_path, Ask())
    stay = submitted(lab, what)
    assert ended(lab, stay) == ("ended", 3)
    assert not Path(stay.root, ".secrets").exists()
    assert not [p for p in Path(stay.root).rglob("*") if p.is_file() and b"hidden" in p.read_bytes()]
    assert "family: is missing" in Path(stay.root, "launch.log").read_text("utf-8")
    into = odd_path / "into"
    lab.bring(stay, into, everything=False)
    assert (into / "launch.log").is_file()
    assert submitted(lab, what).root != stay.root


def test_a_job_that_waits_is_shown_and_can_be_taken_back(lab, odd_path):
    waits = lab.model_copy(update={"extra": ["--begin=now+1hour"]})
    stay = submitted(waits, job(odd_path, Ask()))
    standing = waits.standing(stay)
    assert standing.phase == "waiting"
    assert "PENDING BeginTime" in standing.text
    lab.stop(stay, now=False)
    assert ended(lab, stay) == ("ended", 130)


def test_a_job_that_vanished_is_lost_and_a_submission_whose_answer_was_lost_is_found(lab, odd_path, cluster):
    waits = lab.model_copy(update={"extra": ["--begin=now+1hour"]})
    what = job(odd_path, Ask())
    saved: list[Stay] = []
    stay = waits.begin(what, waits.offers(what.ask)[0], STAY, saved.append)
    again = waits.begin(what, waits.offers(what.ask)[0], saved[0], lambda _: None)  # all that is known: its folder
    assert again.ticket == stay.ticket
    assert len(cluster.say("squeue", "-h", "-n", Path(stay.root).name).splitlines()) == 1
    cluster.say("scancel", stay.ticket["job"])
    standing = lab.standing(stay.changed(ticket={"job": "999"}))
    assert standing.phase == "lost"
    assert "job 999 is gone" in standing.text


def test_a_login_host_submits_it_and_the_results_come_back_by_ssh(lab, odd_path, cluster, sshd, monkeypatch):
    sshd.stop()
    config = sshd.folder / "config"
    config.write_text(f"SetEnv SLURM_CONF={cluster.environ['SLURM_CONF']}\n{config.read_text()}")
    sshd.start()
    monkeypatch.delenv("SLURM_CONF")
    told = {name: value for name, value in sshd.settings().items() if name != "kind"}
    far = lab.model_copy(update={**told, "runner": sys.prefix})
    assert far.problems(Ask()) == ()
    stay = submitted(far, job(odd_path, Ask()))
    assert ended(far, stay) == ("ended", 3)
    far.bring(stay, odd_path / "into", everything=True)
    assert "family: is missing" in (odd_path / "into" / "launch.log").read_text("utf-8")


def test_what_the_cluster_cannot_do_is_told(lab, tmp_path, monkeypatch):
    assert len(lab.problems(Ask(spot=True, max_price=1.0))) == 2
    assert "runner" in lab.model_copy(update={"host": "login"}).problems(Ask())[0]
    with pytest.raises(RemoteError, match="there is no partition huge"):
        lab.model_copy(update={"partition": "huge"}).offers(Ask())
    (tmp_path / "bash").symlink_to("/bin/bash")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RemoteError, match="Slurm does not answer"):
        lab.offers(Ask())
