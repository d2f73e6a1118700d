"""HF Jobs: the real client against a Hub on this machine; a job's own command runs here, by bash, with the stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import huggingface_hub.constants  # noqa: F401 - it reads variables once: before a test sets them
import pytest
from local_hub import TOKEN, Fault
from stays import ENVIRONMENT, RECIPE

from kohya_runner.errors import RemoteError
from kohya_runner.remote import engine, sums
from kohya_runner.remote.hf_jobs import HfJobsPlace
from kohya_runner.remote.place import Ask, RemoteOffer

PLACE = HfJobsPlace(name="hf-jobs")
OFFER = RemoteOffer("L40S", 1, 1.8, spec={"flavor": "l40sx1"})


@pytest.fixture(autouse=True)
def account(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # before the variable is read
    for name, value in (("HF_ENDPOINT", hub.endpoint), ("HF_TOKEN", TOKEN), ("HF_HUB_DISABLE_XET", "1")):
        monkeypatch.setenv(name, value)
    return hub


@pytest.fixture
def begun(make_job, stay):
    saved = []
    return PLACE.begin(make_job(max_hours=5), OFFER, stay, saved.append)


def run_here(hub, tmp_path, **more):
    """The newest job, as its container would run it; the mounted repository is a folder."""
    spec = list(hub.jobs.values())[-1]["spec"]
    mount = tmp_path / "mounted"
    mount.mkdir(parents=True, exist_ok=True)
    for name, data in hub.repos[spec["volumes"][0]["source"]].files.items():
        if name == engine.PARCEL:
            (mount / name).write_bytes(data)
    environ = {**os.environ, **spec["environment"], **spec["secrets"], "KOHYA_RUNNER_TICK": "1",
               "KOHYA_RUNNER_EVERY": "2",
               "KOHYA_RUNNER_FOLDER": str(tmp_path / "disk" / "stay"), "KOHYA_RUNNER_SHARED": str(tmp_path / "disk"),
               "KOHYA_RUNNER_ENVIRONMENT": str(ENVIRONMENT), **more}  # fmt: skip
    command = [word.replace("/stay/", f"{mount}/") for word in spec["command"]]
    return subprocess.run(command, env=environ, check=False, timeout=300).returncode


def test_offers_have_the_prices_of_the_hub():
    offers = PLACE.offers(Ask(vram_bytes=40 * 10**9))
    assert [(offer.gpu, offer.price, offer.spec["flavor"]) for offer in offers] == [
        ("L40S", 1.8, "l40sx1"), ("A100", 2.5, "a100-large")]  # fmt: skip
    assert [offer.gpu for offer in PLACE.offers(Ask(vram_bytes=40 * 10**9, max_price=2.0))] == ["L40S"]
    assert [offer.spec["flavor"] for offer in PLACE.offers(Ask(gpu="L40S", gpus=4))] == ["l40sx4"]
    assert [offer.gpu for offer in PLACE.offers(Ask(gpu="t4-small", vram_bytes=40 * 10**9))] == ["T4"]


def test_what_it_cannot_do_is_told_beforehand(monkeypatch):
    assert not PLACE.problems(Ask())
    assert len(PLACE.problems(Ask(nodes=2, spot=True))) == 2
    monkeypatch.delenv("HF_TOKEN")
    assert any("set HF_TOKEN" in problem for problem in PLACE.problems(Ask()))


def test_a_job_is_asked_for_once_with_its_secrets_apart(hub, make_job, stay):
    saved = []
    job = replace(make_job(max_hours=5), secrets=("HF_TOKEN",))
    first = PLACE.begin(job, OFFER, stay, saved.append)
    assert [one.phase for one in saved] == ["sending", "waiting"]
    again = PLACE.begin(job, OFFER, saved[0], saved.append)  # the client was killed before it knew the job
    assert again.ticket == first.ticket
    spec = hub.jobs[first.ticket["job"]]["spec"]
    assert spec["flavor"] == "l40sx1"
    assert spec["timeoutSeconds"] == 5 * 3600 + 1800
    assert spec["secrets"] == {"HF_TOKEN": TOKEN}
    assert TOKEN not in json.dumps({**spec, "secrets": {}}) + first.model_dump_json()
    repo = first.ticket["repo"]
    assert hub.repos[repo].private
    assert spec["volumes"] == [{"type": "dataset", "source": repo, "mountPath": "/stay"}]
    assert set(PLACE.render(job, OFFER)) == {"job.json", "commands.txt"}
    assert TOKEN not in "".join(PLACE.render(job, OFFER).values())


def test_a_job_runs_and_its_results_come_back_verified(hub, begun, tmp_path):
    assert PLACE.standing(begun).phase == "waiting"
    assert run_here(hub, tmp_path) == 0
    hub.jobs[begun.ticket["job"]]["status"]["stage"] = "COMPLETED"
    assert (PLACE.standing(begun).phase, PLACE.standing(begun).code) == ("ended", 0)
    PLACE.bring(begun, tmp_path / "small", everything=False)
    assert (tmp_path / "small" / "record.json").exists()
    assert not list((tmp_path / "small").rglob("*.safetensors"))
    PLACE.bring(begun, tmp_path / "all", everything=True)
    assert not list(sums.wrong(tmp_path / "all"))
    assert list((tmp_path / "all").glob("output/*.safetensors"))
    PLACE.release(begun, verified=False)
    assert begun.ticket["repo"] in hub.repos
    PLACE.release(begun, verified=True)
    assert begun.ticket["repo"] not in hub.repos


@pytest.mark.daily
def test_from_the_command_line_and_back(hub, tmp_path, odd_path, make_job):
    job = make_job(RECIPE.replace("./files/0/my pics", str(odd_path / "home" / "pics")))
    workspace = ("--workspace", str(tmp_path / "ws"))

    def runner(*words):
        environ = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
        argv = (sys.executable, "-m", "kohya_runner", *words, *workspace)
        return subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=200)

    recipe = str(job.pack / "recipe.yaml")
    asked = ("launch", recipe, "--on", "hf-jobs", "--gpu", "L40S", "--max-hours", "2", "--practice", "--yes", "--json")
    sent = runner(*asked)
    assert sent.returncode == 0, sent.stderr
    told = json.loads(sent.stdout)
    assert run_here(hub, tmp_path) == 0
    hub.jobs[told["ticket"]["job"]]["status"]["stage"] = "COMPLETED"
    status = runner("status", "tiny")
    assert status.returncode == 0, status.stderr
    run_dir = tmp_path / "ws" / "runs" / "tiny" / "001"
    assert json.loads((run_dir / "remote.json").read_text())["phase"] == "returned"
    assert list(run_dir.glob("output/*.safetensors"))
    assert told["ticket"]["repo"] not in hub.repos
    assert TOKEN not in "".join(path.read_text("utf-8", "replace") for path in run_dir.rglob("*.*") if path.is_file())


@pytest.mark.daily
def test_another_machine_goes_on_with_what_was_kept(hub, begun, tmp_path):
    PLACE.stop(begun, now=False)
    assert run_here(hub, tmp_path, KOHYA_PRACTICE_STEP_SECONDS="2") == 143
    repo = hub.repos[begun.ticket["repo"]]
    assert [name for name in repo.files if name.endswith("train_state.json")]
    del repo.files["stop-after-save"]
    assert run_here(hub, tmp_path / "other") == 0
    PLACE.bring(begun, tmp_path / "all", everything=True)
    assert not list(sums.wrong(tmp_path / "all"))
    assert (tmp_path / "all" / "trainer-002.log").exists()


def test_a_job_that_never_began_leaves_its_own_log(hub, begun, tmp_path):
    job = hub.jobs[begun.ticket["job"]]
    job["status"] = {"stage": "ERROR", "message": "Image pull failed"}
    job["log"] = ["===== Job started", "no such image"]
    standing = PLACE.standing(begun)
    assert (standing.phase, standing.code) == ("lost", None)
    assert standing.text.startswith("error: Image pull failed before the run ended")
    PLACE.bring(begun, tmp_path / "run", everything=False)
    assert (tmp_path / "run" / "launch.log").read_text() == "no such image\n"


def test_release_ends_a_job_and_billed_lists_it(hub, begun):
    job = hub.jobs[begun.ticket["job"]]
    assert not PLACE.billed()
    job["status"]["stage"] = "RUNNING"
    assert PLACE.standing(begun).billed
    assert [one.text for one in PLACE.billed()] == [f"hf jobs cancel {job['id']}"]
    PLACE.release(begun, verified=False)
    assert job["status"]["stage"] == "CANCELED"


@pytest.mark.parametrize(
    ("asked", "status", "headers", "said", "hint"),
    [
        ("POST /api/repos/create", 401, {}, "valid token", "settings/tokens"),
        ("POST /api/jobs/", 402, {}, "no credit", "settings/billing"),
        ("POST /api/jobs/", 403, {}, "may not do that", "Jobs"),
        ("POST /api/jobs/", 429, {"Retry-After": "7"}, "too many requests", "wait 7 s"),
        ("POST /api/jobs/", 503, {}, "itself has a fault", "later"),
    ],
)
def test_refusals_in_plain_words(hub, make_job, stay, asked, status, headers, said, hint):  # noqa: PLR0917 - its table
    hub.faults.append(Fault(asked, status, f"no, {TOKEN}", headers=headers))
    saved = []
    with pytest.raises(RemoteError, match=f"{said}.*HTTP {status}") as told:
        PLACE.begin(make_job(), OFFER, stay, saved.append)
    assert hint in told.value.hint
    assert TOKEN not in f"{told.value} {told.value.hint}"
    assert saved[-1].phase == "sending"
    assert not hub.jobs


def test_a_hub_that_cannot_be_reached(monkeypatch, make_job, stay):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(RemoteError, match="cannot be reached"):
        PLACE.begin(make_job(), OFFER, stay, lambda _stay: None)
