"""A sweep on a "machine" behind a real sshd, and the live page of a run that is there."""

from __future__ import annotations

import json
import signal
import threading

import pytest
from page_clients import address_of, asked
from practice_runs import wait_until
from test_over_ssh import Client

TWO = ("--set", "args.network_dim=2,4")
NAMES = ["my cat_dim2", "my cat_dim4"]


pytestmark = pytest.mark.daily


@pytest.fixture
def client(odd_path, sshd, pictures):
    made = Client(odd_path, sshd, pictures(3, (64, 64)))
    yield made
    made.clean_up()


def swept(client, *words):
    code, out, err = client.run("sweep", str(client.recipe), "--practice", "--on", "studio", *words, "--json")
    return code, json.loads(out) if out else {}, err


def stays(client):
    files = sorted(client.workspace.glob("runs/*/*/remote.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def test_runs_go_there_in_turn_and_come_back_verified(client):
    code, told, err = swept(client, *TWO)
    assert code == 0, (told, err)
    assert {run["name"]: run["state"] for run in told["runs"]} == dict.fromkeys(NAMES, "succeeded")
    assert [(stay["phase"], stay["released"]) for stay in stays(client)] == [("returned", True)] * 2
    assert all(list(client.workspace.glob(f"runs/{name}/001/output/*.safetensors")) for name in NAMES)
    record = json.loads((client.workspace / "runs" / NAMES[1] / "001" / "record.json").read_text(encoding="utf-8"))
    assert "--network_dim=4" in record["argv"]
    code, told, _ = swept(client, *TWO)
    assert code == 0
    assert len(stays(client)) == 2


def test_ctrl_c_leaves_the_run_there_and_the_same_command_goes_on(client):
    client.step = 0.4
    process = client.start("sweep", str(client.recipe), "--practice", "--on", "studio", *TWO)
    log = client.workspace / "runs" / NAMES[0] / "001" / "trainer.log"
    wait_until(lambda: log.is_file() and " 1/" in log.read_text("utf-8", "replace"))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=180)
    assert process.returncode == 130
    assert [stay["phase"] for stay in stays(client)] == ["running"]
    client.step = 0.01
    code, told, err = swept(client, *TWO)
    assert code == 0, err
    assert {run["state"] for run in told["runs"]} == {"succeeded"}
    assert len(stays(client)) == 2


def test_what_is_left_in_the_purse_is_the_limit_there(client):
    client.step = 0.5
    code, told, err = swept(client, *TWO, "--set", "args.max_train_epochs=40", "--max-hours", str(25 / 3600))
    assert code in (9, 12), err  # 12: on a busy machine the limit comes before there is a run to stop
    assert told["runs"][0]["state"] in ("stopped", "failed")
    assert told["runs"][1]["state"] == "not started"
    assert stays(client)[0]["max_hours"] == pytest.approx(25 / 3600)


def test_a_dry_run_sends_nothing(client):
    code, out, _ = client.run("sweep", str(client.recipe), "--practice", "--on", "studio", *TWO, "--dry-run")
    assert code == 0
    assert "my cat_dim4" in out
    assert not client.there.exists()
    code, _, err = client.run("sweep", str(client.recipe), "--practice", "--on", "nowhere", *TWO)
    assert code == 2
    assert "nowhere" in err


def test_the_live_page_of_a_run_that_is_there(client):
    client.step = 0.2
    assert client.run(*client.launch("--detach"))[0] == 0
    process = client.start("watch", "my cat", "--serve")
    address = address_of(process)
    threading.Thread(target=process.stdout.read, daemon=True).start()
    wait_until(lambda: "verdict succeeded" in asked(address)[2].decode())
    wait_until(lambda: client.stay()["phase"] == "returned")  # the page stays, and the other machine is not waited for
    assert "verdict succeeded" in asked(address)[2].decode()
    process.send_signal(signal.SIGINT)
    assert process.wait(180) == 0
