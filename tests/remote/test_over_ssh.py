"""Practice runs on a "machine" behind a real sshd, from its start to verified results, whatever happens on the way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import forked
import pytest
from practice_runs import wait_until

pytestmark = pytest.mark.daily

ROOT = Path(__file__).parents[2]


class Client:
    """The command line with a home and a workspace of its own, and a place ``studio`` behind the sshd."""

    def __init__(self, folder: Path, sshd, pictures: Path):
        self.folder, self.there, self.workspace = folder, folder / "other machine", folder / "ws"
        self.runs = self.workspace / "runs" / "my cat"
        self.recipe = folder / "recipe.yaml"
        self.recipe.write_text(
            f"name: my cat\nfamily: sd15\nmodel: {{random: sd15}}\n"
            f"datasets: [{{images: '{pictures.name}', concept: cat, repeats: 2}}]\n"
            f"args: {{resolution: 64, max_train_epochs: 3, save_every_n_epochs: 1, network_dim: 2}}\n"
        )
        self.step, self.faults = 0.01, ""
        self.settings = {"root": str(self.there), "runner": sys.prefix}
        self.sshd = sshd
        self.started: list = []

    @property
    def env(self):
        names = ("KOHYA_RUNNER_SD_SCRIPTS", "KOHYA_RUNNER_PYTHON", "XDG_CONFIG_HOME")
        config = self.folder / "home" / ".config" / "kohya-runner" / "config.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        variables = {"KOHYA_PRACTICE_STEP_SECONDS": str(self.step), "KOHYA_PRACTICE_FAULT": self.faults}
        place = self.sshd.settings(**{"env": variables, **self.settings})
        config.write_text(json.dumps({"places": {"studio": place}}))
        kept = {k: v for k, v in os.environ.items() if k not in names}
        return {
            **kept,
            "HOME": str(self.folder / "home"),
            "KOHYA_WORKSPACE": str(self.workspace),
            "PYTHONPATH": str(ROOT),
        }

    def start(self, *args, **env):
        self.started.append(forked.start(*args, env=self.env | env, cwd=self.folder))
        return self.started[-1]

    def run(self, *args, **env):
        process = self.start(*args, **env)
        out, err = process.communicate(timeout=180)
        return process.returncode, out, err

    def launch(self, *more):
        return ("launch", str(self.recipe), "--on", "studio", "--practice", *more)

    def stay(self, number="001"):
        return json.loads((self.runs / number / "remote.json").read_text())

    def phase(self, number="001"):
        with contextlib.suppress(OSError, ValueError):
            return self.stay(number)["phase"]
        return ""

    def record(self, number="001"):
        return json.loads((self.runs / number / "record.json").read_text())

    @property
    def remote_run(self) -> Path:
        return next(self.there.glob("stays/*/runs/my cat/001"))

    def saved(self):
        return sorted((self.runs / "001" / "output").glob("*.safetensors"))

    def log_there(self):
        with contextlib.suppress(StopIteration, OSError):
            return (self.remote_run / "trainer.log").read_text("utf-8", "replace")
        return ""

    def clean_up(self):
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        for file in self.there.glob("stays/*/pid"):
            with contextlib.suppress(ProcessLookupError, ValueError):
                os.killpg(int(file.read_text()), signal.SIGKILL)
        for file in self.there.glob("stays/*/runs/*/*/record.json"):
            for part in ("runner", "process"):
                with contextlib.suppress(ProcessLookupError, TypeError, PermissionError, ValueError):
                    os.killpg(json.loads(file.read_text())[part]["pid"], signal.SIGKILL)


@pytest.fixture
def client(odd_path, sshd, pictures):
    made = Client(odd_path, sshd, pictures(3, (64, 64)))
    yield made
    made.clean_up()


def test_a_run_goes_there_and_its_verified_results_come_back(client):
    client.recipe.write_text(client.recipe.read_text() + "finish: {notify: {env: MY_HOOK}}\n")
    secret = "http://127.0.0.1:9/hidden-word"
    code, _, err = client.run(*client.launch("--trust", "finish.notify"), MY_HOOK=secret)
    assert code == 0, err
    stay = client.stay()
    assert (stay["phase"], stay["released"], stay["code"]) == ("returned", True, 0)
    assert client.record()["state"] == "succeeded"
    here, there = client.runs / "001" / "output", client.remote_run / "output"
    names = sorted(path.name for path in here.glob("*.safetensors"))
    assert len(names) == 3
    assert [(here / name).read_bytes() for name in names] == [(there / name).read_bytes() for name in names]
    assert "hashes are right" in err
    # the secret went over stdin: the run there had it, and it left no trace
    assert "Connection refused" in str(client.record()["after"])
    files = [path for folder in (client.there, client.workspace) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in files if b"hidden-word" in path.read_bytes()] == []
    code, out, err = client.run("runs", "--remote", "--json")
    assert code == 0, err
    (stay,) = json.loads(out)["stays"]
    assert (stay["place"], stay["phase"], stay["cost"]) == ("studio", "returned", None)


def test_a_run_that_came_back_is_replayed_here(client):
    assert client.run(*client.launch())[0] == 0
    recipe = client.runs / "001" / "recipe.yaml"
    code, out, err = client.run("launch", str(recipe), "--practice")
    assert code == 0, err
    assert "a replay of my cat/001, and the same as there: options, data" in out
    assert client.record("002")["steps_seen"] == client.record()["steps_seen"] == 18


def test_a_client_that_is_killed_while_it_sends_is_gone_on_with(client, odd_path):
    (odd_path / "pictures" / "big.bin").write_bytes(bytes(24 << 20))
    launched = client.start(*client.launch("--detach"))
    wait_until(lambda: next(client.there.glob("stays/*/pack/files/0/pictures/.*big.bin*"), None))
    os.kill(launched.pid, signal.SIGKILL)
    launched.wait(60)
    root = client.stay()["root"]
    assert client.phase() == "sending"
    code, _, err = client.run(*client.launch())
    assert code == 7
    assert "add --resume" in err
    (odd_path / "pictures" / "big.bin").unlink()
    (client.runs / "001" / "pack" / "files" / "0" / "pictures" / "big.bin").unlink()
    code, _, err = client.run(*client.launch("--resume", "--detach"))
    assert code == 0, err
    assert (client.phase(), client.stay()["root"]) == ("running", root)
    assert [path.name for path in client.runs.iterdir()] == ["001"]
    assert len(list(client.there.glob("stays/*/pack/files/0/pictures/lad_*"))) == 6


@pytest.mark.daily
def test_a_killed_client_and_a_machine_that_is_out_of_reach_lose_nothing(client):
    client.faults, client.step = "hang@9", 0.05
    launched = client.start(*client.launch())
    wait_until(lambda: client.phase() == "running" and " 3/18 " in client.log_there())
    os.kill(launched.pid, signal.SIGKILL)
    launched.wait(60)
    code, out, _ = client.run("runs", "--json")
    assert [view["state"] for view in json.loads(out)["runs"]] == ["running"]
    client.sshd.stop()
    code, out, err = client.run("status", "my cat")
    assert (code, client.phase()) == (0, "running")
    assert "steps:" in client.run("logs", "my cat")[1]
    assert "cannot be reached" in err
    assert "running" in out
    client.sshd.start()
    watching = client.start("watch", "my cat")
    wait_until(client.sshd.sessions)
    client.sshd.freeze()
    client.sshd.cut()
    trainer = json.loads((client.remote_run / "record.json").read_text())["process"]["pid"]
    os.kill(trainer, signal.SIGKILL)
    _, err = watching.communicate(timeout=180)
    assert watching.returncode == 8, err
    assert (client.phase(), client.record()["state"]) == ("returned", "failed")
    assert [path.name for path in client.saved()] == ["my cat-000001.safetensors"]


@pytest.mark.daily
def test_results_that_are_damaged_are_noticed_and_nothing_is_released(client):
    client.settings |= {"clean": True}
    client.run(*client.launch("--detach"))
    wait_until(lambda: next(client.there.glob("stays/*/exit-code"), None))
    sent = client.remote_run / "output" / "my cat.safetensors"
    right = sent.read_bytes()
    sent.write_bytes(right[:-1] + b"?")
    code, _, err = client.run("watch", "my cat")
    assert code == 12
    assert "output/my cat.safetensors" in err
    assert "nothing was deleted or released" in err
    assert (client.phase(), client.stay()["released"]) == ("ended", False)
    assert sent.exists()
    sent.write_bytes(right)
    code, _, err = client.run("watch", "my cat")
    assert code == 0, err
    assert (client.phase(), client.stay()["released"]) == ("returned", True)
    assert list(client.there.glob("stays/*")) == []
    assert (client.runs / "001" / "output" / sent.name).read_bytes() == right


@pytest.mark.daily
def test_a_run_is_stopped_there_and_what_it_saved_comes_back(client):
    client.faults = "hang@8"
    client.run(*client.launch("--detach"))
    wait_until(lambda: " 7/18 " in client.log_there())
    code, _, err = client.run("stop", "my cat")
    assert code == 0, err
    assert (client.record()["state"], client.phase()) == ("stopped", "returned")
    assert [path.name for path in client.saved()] == ["my cat-000001.safetensors"]


@pytest.mark.daily
def test_a_machine_that_was_started_anew_is_told_and_gone_on_with(client):
    client.faults = "hang@9"
    client.run(*client.launch("--detach"))
    wait_until(lambda: " 8/18 " in client.log_there())
    kept = json.loads((client.remote_run / "record.json").read_text())
    start = int(next(client.there.glob("stays/*/pid")).read_text())
    for pid in (start, kept["runner"]["pid"], kept["process"]["pid"]):
        with contextlib.suppress(ProcessLookupError):  # the first one's group may hold the second
            os.killpg(os.getpgid(pid), signal.SIGKILL)
    code, _, err = client.run("watch", "my cat")
    assert code == 12
    assert "is lost at studio" in err
    client.faults = ""
    code, _, err = client.run(*client.launch("--resume"))
    assert code == 0, err
    record = client.record()
    assert (record["state"], record["attempt"], record["first_step"]) == ("succeeded", 2, 6)


@pytest.mark.daily
def test_a_recipe_that_fails_there_says_so_here(client):
    client.faults = "crash@3"
    code, _, err = client.run(*client.launch())
    assert code == 8, err
    assert (client.phase(), client.record()["state"]) == ("returned", "failed")


def test_what_would_be_handed_over_can_be_looked_at(client, odd_path):
    code, _, err = client.run(*client.launch("--render", str(odd_path / "out")))
    assert code == 0, err
    assert not client.there.exists()
    script = (odd_path / "out" / "by-hand.sh").read_text()
    assert "rsync -rLt" in script
    assert (odd_path / "out" / "001" / "pack" / "recipe.yaml").is_file()
    assert not client.runs.exists()


@pytest.mark.daily
def test_a_timer_there_ends_a_run_that_is_over_its_hours(client):
    client.faults = "hang@9"
    code, _, err = client.run(*client.launch("--detach", "--max-hours", "0.004"))
    assert code == 0, err
    wait_until(lambda: next(client.there.glob("stays/*/exit-code"), None))  # nobody here asked for it
    code, _, err = client.run("watch", "my cat")
    assert (code, client.phase(), client.record()["state"]) == (143, "returned", "stopped"), err
    assert [path.name for path in client.saved()] == ["my cat-000001.safetensors"]
