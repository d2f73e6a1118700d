"""A stay step by step at a place of this process, which fails where a test says so."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from shelf import Shelf

from kohya_runner.errors import RemoteError, UsageError
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.remote import kinds, sums
from kohya_runner.remote import stay as stays
from kohya_runner.remote.follow import Stays
from kohya_runner.remote.place import Ask, Job, RemoteOffer, Standing, Stay
from kohya_runner.remote.send_off import JOB, open_stay


@pytest.fixture
def stay(odd_path, monkeypatch):
    there, run = odd_path / "there", odd_path / "ws" / "runs" / "cat" / "001"
    there.mkdir()
    run.mkdir(parents=True)
    (there / "a.safetensors").write_bytes(b"weights")
    sums.write(there, odd_path / "sums")
    (odd_path / "sums").rename(there / "sha256sums.json")
    Shelf.happened, Shelf.fails, Shelf.now = [], {}, Standing("running", "step 3")
    monkeypatch.setattr(kinds, "KINDS", {"shelf": Shelf})
    config = odd_path / "kohya-runner" / "config.yaml"
    config.parent.mkdir()
    config.write_text(json.dumps({"places": {"mine": {"kind": "shelf", "there": str(there)}}}))
    job = Job("cat", "001", run / "pack", 7, Ask(max_hours=1.0))
    RunPaths(run).remote_job.write_bytes(JOB.dump_json((job, RemoteOffer("card", 1, 2.0))))
    stays.write(run, Stay(place="mine", kind="shelf", phase="renting", name="cat", number="001", asked=time.time(),
                          price=2.0, max_hours=1.0))  # fmt: skip
    return Stays(run, {"XDG_CONFIG_HOME": str(odd_path), "HOME": str(odd_path)}, lambda _: None)


def ended(code: int = 0) -> None:
    Shelf.now = Standing("ended", "done", code)


def killed_at(stay, what: str, step) -> None:
    Shelf.fails[what] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        step()


@pytest.mark.parametrize("what", ["rent", "send"])
def test_a_client_that_is_killed_before_the_start_is_gone_on_with(stay, what):
    killed_at(stay, what, stay.begin)
    assert stay.now().phase == {"rent": "renting", "send": "sending"}[what]
    assert stay.look().phase == stay.now().phase  # to look at it sends nothing
    assert stay.begin().phase == "running"


@pytest.mark.parametrize("what", ["standing", "bring all", "release verified"])
def test_a_client_that_is_killed_at_the_end_is_gone_on_with(stay, what):
    stay.begin()
    ended()
    killed_at(stay, what, stay.look)
    assert not stay.now().released
    last = stay.look()
    assert (last.phase, last.released, last.code) == ("returned", True, 0)
    assert [one for one in Shelf.happened if one.startswith("release")][-1] == "release verified"
    assert stay.look() == last
    assert last.paid_until is not None


def test_what_came_back_damaged_is_brought_again_and_else_nothing_is_released(stay):
    stay.begin()
    ended()
    listed = Path(stay.now().root) / "sha256sums.json"
    right = listed.read_bytes()
    listed.write_bytes(right.replace(b"sha256sums", b"other").replace(b'": "', b'": "0', 1))
    with pytest.raises(RemoteError, match=r"a\.safetensors") as caught:
        stay.look()
    assert "still billed ($2 an hour)" in caught.value.hint
    assert Shelf.happened.count("bring all") == 2
    assert not [one for one in Shelf.happened if one.startswith("release")]
    listed.write_bytes(right)
    assert stay.look().phase == "returned"


def test_a_place_that_is_out_of_reach_changes_nothing(stay):
    stay.begin()
    before = stay.now()
    Shelf.fails["standing"] = RemoteError("cut")
    with pytest.raises(RemoteError):
        stay.look()
    assert stay.now() == before


def test_what_is_lost_is_ended_there_but_not_deleted(stay):
    stay.begin()
    Shelf.now = Standing("lost", "the machine died")
    lost = stay.look()
    assert (lost.phase, lost.released, lost.said) == ("lost", True, "the machine died")
    assert Shelf.happened[-1] == "release what is not verified"
    runs = stay.run_dir.parents[1]
    assert (open_stay(runs, "cat", resume=False), open_stay(runs, "cat", resume=True)) == (None, stay.run_dir)
    assert stay.begin().phase == "running"
    assert open_stay(runs, "cat", resume=False) == stay.run_dir


def test_a_run_that_is_over_its_hours_is_stopped_from_here_too(stay):
    stay.begin()
    stays.write(stay.run_dir, stay.now().changed(paid_from=time.time() - 3700))
    stay.look()
    assert "stop now" in Shelf.happened


def test_what_was_not_started_yet_is_given_up(stay):
    killed_at(stay, "send", stay.begin)
    given_up = stay.stop(now=True)
    assert (given_up.phase, given_up.released) == ("lost", True)
    assert Shelf.happened[-1] == "release what is not verified"


def test_of_two_clients_one_changes_the_stay(stay):
    stay.begin()
    ended()
    with stays.held(stay.run_dir) as mine:
        assert mine
        assert stay.look().phase == "running"
        with pytest.raises(RemoteError, match="another kohya-runner"):
            stay.begin()
    assert Shelf.happened == ["rent", "send"]


def test_a_place_that_the_settings_no_longer_name_is_told(stay, odd_path):
    stay.begin()
    (odd_path / "kohya-runner" / "config.yaml").write_text("places: {other: {kind: shelf}}")
    with pytest.raises(UsageError, match="no such place"):
        stay.look()
