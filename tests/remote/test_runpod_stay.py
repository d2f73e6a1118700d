"""Practice runs on a "pod": RunPod's API spoken by a server here, the pod itself behind a real sshd with rsync.

Its end_pod.sh runs for real and asks the same server.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import sys
from pathlib import Path

import forked
import pytest
from practice_runs import wait_until
from runpod_cloud import KEY, Fault, runpod_cloud

pytestmark = pytest.mark.daily

ROOT = Path(__file__).parents[2]
TERMINATE, STOP = {"action": "terminate"}, {"action": "stop"}


class Renter:
    """The command line with a home and a workspace of its own, and a place ``pod``."""

    def __init__(self, folder: Path, sshd, cloud, pictures: Path):
        self.folder, self.there, self.workspace, self.cloud = folder, folder / "pod's volume", folder / "ws", cloud
        self.runs, self.recipe, self.started = self.workspace / "runs" / "my cat", folder / "recipe.yaml", []
        self.recipe.write_text(
            f"name: my cat\nfamily: sd15\nmodel: {{random: sd15}}\n"
            f"datasets: [{{images: '{pictures.name}', concept: cat, repeats: 2}}]\n"
            f"args: {{resolution: 64, max_train_epochs: 3, save_every_n_epochs: 1, network_dim: 2}}\n"
        )
        self.others = {}
        self.settings = {"kind": "runpod", "root": str(self.there), "runner": sys.prefix, "key": sshd.host.key}
        cloud.address = ("127.0.0.1", sshd.port, sshd.host.address.partition("@")[0])
        self.as_a_pod(sshd)

    def as_a_pod(self, sshd, step=0.01):
        """What RunPod sets in a pod, for whatever comes over ssh, and the pace of the training."""
        environ, config = self.folder / "rp", sshd.folder / "config"
        environ.write_text(f"export RUNPOD_POD_ID=pod1x7h9k2 RUNPOD_API_KEY={KEY} KOHYA_RUNPOD_API={self.cloud.url}\n")
        values = {"RP_ENVIRONMENT": environ, "TMPDIR": sshd.folder, "HOME": self.folder, "END_POD_LOOK": 0.2,
                  "KOHYA_PRACTICE_STEP_SECONDS": step}  # fmt: skip
        known = config.read_text().partition("SetEnv")[0]
        quoted = " ".join(f'"{name}={value}"' for name, value in values.items())
        config.write_text(f"{known}SetEnv {quoted}\n")
        sshd.stop()
        sshd.start()

    @property
    def env(self):
        names = ("KOHYA_RUNNER_SD_SCRIPTS", "KOHYA_RUNNER_PYTHON", "XDG_CONFIG_HOME", "RUNPOD_API_KEY")
        config = self.folder / "home" / ".config" / "kohya-runner" / "config.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(json.dumps({"places": {"pod": self.settings, **self.others}}))
        kept = {k: v for k, v in os.environ.items() if k not in names}
        home = {"HOME": str(self.folder / "home"), "KOHYA_WORKSPACE": str(self.workspace), "PYTHONPATH": str(ROOT)}
        return {**kept, **home, **self.cloud.environ()}

    def start(self, *args, **env):
        self.started.append(forked.start(*args, env=self.env | env, cwd=self.folder))
        return self.started[-1]

    def run(self, *args, **env):
        process = self.start(*args, **env)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def launch(self, *more):
        return ("launch", str(self.recipe), "--on", "pod", "--gpu", "L4", "--practice", "--yes", *more)

    def stay(self, number="001"):
        with contextlib.suppress(OSError, ValueError):
            return json.loads((self.runs / number / "remote.json").read_text())
        return {"phase": "", "note": "", "said": "", "root": "", "ticket": {}}

    def asked(self, action):
        """How often a pod was asked for this, whatever came of it."""
        return [
            body for _, path, body in self.cloud.requests if path.endswith("/action") and body == {"action": action}
        ]

    def state_here(self, number="001"):
        return json.loads((self.runs / number / "record.json").read_text())["state"]

    def log_there(self):
        found = [path.read_text("utf-8", "replace") for path in self.there.glob("stays/*/runs/my cat/001/trainer.log")]
        return found[0] if found else ""

    def end_processes(self):
        """As when the machine goes: everything that runs on it, parents before their children."""
        for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
            with contextlib.suppress(OSError):
                named = str(self.there).encode() in (folder / "cmdline").read_bytes()
                inside = str((folder / "cwd").readlink()).startswith(str(self.there))
                if (named or inside) and int(folder.name) != os.getpid():
                    os.kill(int(folder.name), signal.SIGKILL)

    def timers(self):
        """The seconds of each end_pod.sh that runs on the pod."""
        told = [file.read_bytes().split(b"\0") for file in Path("/proc").glob("[0-9]*/cmdline") if file.exists()]
        script = f"{self.folder}/.kohya-runner-end-pod.sh".encode()
        return [int(words[2]) for words in told if len(words) > 3 and words[1] == script]

    def clean_up(self):
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        self.end_processes()
        for file in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if b"END_POD_FOLDERS=" in (data := file.read_bytes()) and str(self.there).encode() in data:
                    os.kill(int(file.parent.name), signal.SIGKILL)


@pytest.fixture
def cloud():
    with runpod_cloud() as account:
        yield account


@pytest.fixture
def renter(odd_path, sshd, cloud, pictures):
    made = Renter(odd_path, sshd, cloud, pictures(3, (64, 64)))
    yield made
    made.clean_up()


def files(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


@pytest.mark.daily
def test_a_pod_is_rented_trains_and_is_ended_once_its_results_are_here_and_right(renter, cloud):
    code, out, err = renter.run(*renter.launch("--max-hours", "2"))
    assert code == 0, err
    stay = renter.stay()
    assert (stay["phase"], stay["released"], renter.state_here()) == ("returned", True, "succeeded")
    (there,) = renter.there.glob("stays/*/runs/my cat/001/output")
    assert len(files(there)) == 3
    assert files(renter.runs / "001" / "output") == files(there)
    assert (cloud.made, cloud.living(), renter.asked("terminate")) == (1, [], [TERMINATE])
    assert re.search(r"it is terminated; about \$0\.\d\d were paid for it", err)
    (body,) = cloud.asked("POST /v2/pods")
    assert body["name"].startswith("kohya-runner-my cat-001-")
    assert KEY not in out + err + (renter.runs / "001" / "remote.json").read_text()
    (seconds,) = renter.timers()
    assert 7000 < seconds <= 7200


@pytest.mark.daily
def test_every_client_is_killed_and_there_is_one_pod_that_is_ended_once(renter, cloud):
    """Each of them goes on where the one before was killed: after every answer of RunPod, and in every phase."""
    client = None

    def until(condition, *words):
        nonlocal client
        client = renter.start(*words)
        wait_until(condition)
        client.kill()
        client.wait(180)

    def at(request, *words):
        nonlocal client
        cloud.faults.append(Fault(request, lambda: os.kill(client.pid, signal.SIGKILL)))
        client = renter.start(*words)
        assert client.wait(180) == -signal.SIGKILL, request

    at("POST /v2/pods", *renter.launch())
    assert (cloud.made, renter.stay()["phase"], "pod" in renter.stay()["ticket"]) == (1, "renting", False)
    at("GET /v2/pods", *renter.launch("--resume"))
    at("GET /v2/pods/pod1x7h9k2", *renter.launch("--resume"))
    assert renter.stay()["ticket"]["pod"] == "pod1x7h9k2"
    until(lambda: renter.stay()["phase"] == "sending", *renter.launch("--resume"))
    until(lambda: renter.stay()["root"], *renter.launch("--resume"))
    until(lambda: renter.stay()["phase"] == "running", *renter.launch("--resume"))
    wait_until(lambda: list(renter.there.glob("stays/*/exit-code")))
    until(lambda: renter.stay()["phase"] == "ended", "watch", "my cat/001")
    assert renter.asked("terminate") == []
    at("POST /v2/pods/pod1x7h9k2/action", "runs")
    assert (renter.stay()["phase"], cloud.living()) == ("returned", [])
    code, _, err = renter.run("runs", "--remote")
    assert code == 0, err
    assert (renter.stay()["phase"], renter.stay()["released"], renter.state_here()) == ("returned", True, "succeeded")
    assert (cloud.made, renter.asked("terminate")) == (1, [TERMINATE])
    (there,) = renter.there.glob("stays/*/runs/my cat/001/output")
    assert files(renter.runs / "001" / "output") == files(there)


@pytest.mark.parametrize("listed", [0, 1])
@pytest.mark.parametrize("kind", ["lost", 500])
def test_a_creation_whose_answer_was_lost_is_found_by_its_name(renter, cloud, kind, listed):
    cloud.listed_after = listed
    if kind == 500:  # made, and then an error
        cloud.faults.append(Fault("POST /v2/pods", lambda: None))
    else:
        cloud.faults.append(Fault("POST /v2/pods", kind))
    cloud.arrives = None
    renter.settings["arrive_minutes"] = 0
    code, _, err = renter.run(*renter.launch())
    assert code == 12
    assert "did not come in time" in err
    assert (cloud.made, cloud.living()) == (1, [])


@pytest.mark.full
def test_a_second_pod_of_a_lost_answer_is_ended(renter, cloud):
    """It is listed too late: another one is asked for, and that is told nobody."""
    cloud.listed_after, cloud.faults = 3, [Fault("POST /v2/pods", "lost")]
    code, _, err = renter.run(*renter.launch())
    assert code == 0, err
    assert (cloud.made, cloud.living()) == (2, [])


def test_a_pod_that_never_comes_is_ended_and_told_with_what_it_cost(renter, cloud):
    cloud.arrives, renter.settings["arrive_minutes"] = None, 0
    code, _, err = renter.run(*renter.launch())
    assert code == 12
    assert "pod pod1x7h9k2 did not come in time, or its ssh does not answer (its status is PROVISIONING)" in err
    assert "it is terminated; about $0.00 were paid for it" in err
    assert (cloud.living(), renter.stay()["phase"], renter.stay()["released"]) == ([], "lost", True)


def test_a_pod_that_breaks_on_its_way_is_ended_at_once(renter, cloud):
    cloud.arrived = "ERROR"
    code, _, err = renter.run(*renter.launch())
    assert (code, cloud.living()) == (12, [])
    assert "did not come (its status is ERROR)" in err


def test_a_pod_that_cannot_be_ended_is_told_as_still_billed(renter, cloud):
    cloud.arrives, renter.settings["arrive_minutes"] = None, 0
    cloud.faults.append(Fault("POST /v2/pods/pod1x7h9k2/action", 403, times=9))
    code, _, err = renter.run(*renter.launch())
    assert code == 12
    assert "pod pod1x7h9k2 is STILL BILLED, 0.43 dollars an hour" in err
    assert "runpodctl pod delete pod1x7h9k2" in err
    cloud.faults.clear()
    code, _, err = renter.run("stop", "my cat/001")
    assert (cloud.living(), renter.stay()["released"]) == ([], True)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("POST /v2/pods", 400, detail="There are no longer any instances available"), "cannot be had now"),
        (Fault("POST /v2/pods", 402, detail="insufficient balance"), "not enough money for one hour"),
        (Fault("POST /v2/pods", 403, detail="access denied"), "may not do that"),
    ],
)
def test_a_pod_that_is_refused_is_told_and_nothing_is_open(renter, cloud, fault, says):
    cloud.faults.append(fault)
    code, _, err = renter.run(*renter.launch())
    assert code == 12
    assert says in err
    assert fault.detail in err
    assert (cloud.made, renter.stay()["phase"], renter.stay()["released"]) == (0, "lost", True)


def test_a_pod_that_costs_more_than_agreed_is_ended(renter, cloud):
    cloud.catalogue = tuple({**row, "price": dict(row["price"])} for row in cloud.catalogue)
    cloud.faults.append(Fault("GET /v2/network-volumes", 500))
    create = cloud.create

    def dearer(body):
        status, pod = create(body)
        cloud.pods[pod["id"]]["rate"] = 0.9
        return status, pod

    cloud.create = dearer
    code, _, err = renter.run(*renter.launch())
    assert code == 12
    assert "costs 0.90 dollars an hour, not 0.43 as agreed" in err
    assert cloud.living() == []


def running(renter, sshd):
    """A training at its first saved epoch, and nobody who looks."""
    renter.as_a_pod(sshd, step=0.5)
    code, _, err = renter.run(*renter.launch("--detach", "--set", "args.save_state=true"))
    assert code == 0, err
    wait_until(lambda: "saving checkpoint" in renter.log_there() or "epoch 2/3" in renter.log_there())


@pytest.mark.parametrize("volume", [pytest.param("", marks=pytest.mark.daily),
                                    pytest.param("2q9m7x4c", marks=pytest.mark.full)])  # fmt: skip
def test_a_pod_that_dies_is_told_with_what_survives_and_nothing_more_is_paid(renter, cloud, sshd, volume):
    cloud.volumes.append({"id": "2q9m7x4c", "name": "t", "size": 100, "dataCenter": "US-KS-2", "type": "STANDARD"})
    if volume:
        renter.settings["network_volume"] = volume
    running(renter, sshd)
    renter.end_processes()
    cloud.set("TERMINATED")
    code, _, err = renter.run("watch", "my cat/001")
    assert code == 12
    assert "pod pod1x7h9k2 is gone" in err
    kept = f"what it saved is on network volume 2q9m7x4c, in {renter.there}/stays/"
    assert (kept if volume else "what was not brought here before is gone with its disk") in err
    assert (renter.stay()["phase"], renter.stay()["released"]) == ("lost", True)
    code, out, _ = renter.run("runs", "--remote", "--json")
    assert [row["what"].split()[0] for row in json.loads(out)["billed"]] == ["network"]


@pytest.mark.full
def test_a_pod_that_was_stopped_in_the_middle_keeps_its_disk_and_goes_on(renter, cloud, sshd):
    running(renter, sshd)
    renter.end_processes()
    cloud.set("EXITED")
    code, _, err = renter.run("watch", "my cat/001")
    assert code == 12
    assert "the pod was stopped before the run ended" in err
    assert "its 50 GB disk costs about $0.33 a day" in err
    assert [pod["status"] for pod in cloud.living()] == ["EXITED"]
    renter.as_a_pod(sshd)
    code, _, err = renter.run(*renter.launch("--resume"))
    assert code == 0, err
    assert (cloud.made, cloud.living(), renter.state_here()) == (1, [], "succeeded")


@pytest.mark.daily
def test_a_pod_that_nobody_collects_stops_itself_and_is_started_for_its_results(renter, cloud):
    renter.settings["collect_minutes"] = 0.02
    code, _, err = renter.run(*renter.launch("--detach"))
    assert code == 0, err
    wait_until(lambda: [pod["status"] for pod in cloud.living()] == ["EXITED"])
    assert renter.asked("stop") == [STOP]
    renter.settings["collect_minutes"] = 60
    code, _, err = renter.run("watch", "my cat/001")
    assert code == 0, err
    assert (renter.stay()["phase"], renter.state_here(), cloud.living()) == ("returned", "succeeded", [])
    assert len(renter.asked("start")) == 1


@pytest.mark.full
@pytest.mark.parametrize(
    ("after", "status", "says"),
    [("stop", "EXITED", "its 50 GB disk costs about $0.33 a day until: runpodctl pod delete pod1x7h9k2"),
     ("keep", "RUNNING", "pod pod1x7h9k2 is kept and costs 0.43 dollars an hour")],
)  # fmt: skip
def test_the_settings_say_what_becomes_of_the_pod(renter, cloud, after, status, says):
    renter.settings["after"] = after
    code, _, err = renter.run(*renter.launch())
    assert code == 0, err
    assert says in err
    assert [pod["status"] for pod in cloud.living()] == [status]
    code, out, _ = renter.run("runs", "--remote", "--json")
    assert [row["run"] for row in json.loads(out)["billed"]] == ["my cat/001"]


def test_two_places_of_one_account_bill_a_pod_once(renter, cloud):
    renter.others = {"other": {"kind": "runpod"}}
    status, pod = cloud.create({"name": "somebody's", "image": "x", "gpu": {"id": "NVIDIA L4"}})
    code, out, err = renter.run("runs", "--remote", "--json")
    assert (status, code) == (201, 0), err
    assert [row["what"] for row in json.loads(out)["billed"]] == [f"pod {pod['id']} somebody's"]
