from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from local_hub import TOKEN, Fault
from number_files import trained
from servers import wait_for
from sweep_trainer import lora_file

from kohya_runner.artefact.safetensors_header import read_header
from kohya_runner.finish import after
from kohya_runner.finish.runpod import PodDecision
from kohya_runner.recipe.finish import Publish
from kohya_runner.record import record as records

pytestmark = pytest.mark.daily

ROOT = Path(__file__).parents[2]


def remote(hub, name="me/cat"):
    return hub.repos[name].files


def tensors(data):
    return data[8 + int.from_bytes(data[:8], "little") :]


@pytest.fixture
def picked(compared, publish):
    from click.testing import CliRunner

    from kohya_runner.commands.cli import main

    assert CliRunner().invoke(main, ["compare", str(compared), "--pick", "2"]).exit_code == 0
    return compared


def test_the_picked_epoch_goes_up_under_the_run_s_name(mine, picked, publish, odd_path):
    done = publish("my cat", "--repo", "me/cat", "--trigger", "zkw cat")
    assert done.exit_code == 0, done.output
    source = picked / "output" / "my cat-000002.safetensors"
    sent = remote(mine)["my cat.safetensors"]
    assert tensors(sent) == tensors(source.read_bytes())
    (odd_path / "got.safetensors").write_bytes(sent)
    found = read_header(odd_path / "got.safetensors").metadata
    assert (found["modelspec.title"], found["modelspec.trigger_phrase"]) == ("my cat", "zkw cat")
    assert found["modelspec.thumbnail"].startswith("data:image/jpeg;base64,")
    assert "modelspec.title" not in read_header(source).metadata
    assert "Epoch 2 was picked" in remote(mine)["README.md"].decode()
    assert f"{mine.endpoint}/me/cat" in done.output


def test_a_second_publish_uploads_nothing(mine, picked, publish):
    publish("my cat", "--repo", "me/cat")
    mine.asked.clear()
    done = publish("my cat", "--repo", "me/cat")
    assert (done.exit_code, mine.uploads()) == (0, [])
    assert "nothing was uploaded" in done.output


def test_another_epoch_replaces_it_and_the_old_one_stays_under_a_tag(mine, picked, publish):
    publish("my cat", "--repo", "me/cat")
    old, before = mine.repos["me/cat"].head, remote(mine)["my cat.safetensors"]
    done = publish("my cat", "--repo", "me/cat", "--epoch", "3")
    assert f"kept as the tag before-{old[:12]}" in done.output
    assert mine.repos["me/cat"].at(f"before-{old[:12]}")["my cat.safetensors"] == before
    assert remote(mine)["my cat.safetensors"] != before


def test_all_epochs_keep_their_names(mine, compared, publish):
    assert publish("my cat", "--repo", "me/cat", "--all").exit_code == 0
    names = {name for name in remote(mine) if name.endswith(".safetensors")}
    assert names == {"my cat-000001.safetensors", "my cat-000002.safetensors", "my cat.safetensors"}


def test_what_was_done_is_on_record_without_the_token(mine, picked, publish):
    publish("my cat", "--repo", "me/cat")
    record = json.loads((picked / "publication" / "published.json").read_bytes())
    assert (record["repo"], record["done"]["commit"]) == ("me/cat", mine.repos["me/cat"].head)
    assert not (picked / "publication" / "copies").exists()
    for path in (p for p in picked.parents[2].rglob("*") if p.is_file()):
        assert TOKEN.encode() not in path.read_bytes(), path


def test_json_is_one_object(mine, picked, publish):
    told = json.loads(publish("my cat", "--repo", "me/cat", "--json").stdout)
    assert (told["ok"], told["repo"], told["done"]["private"]) == (True, "me/cat", True)
    assert {f["name"] for f in told["files"] if f["uploaded"]} >= {"my cat.safetensors", "README.md"}


def test_nothing_private_goes_up_on_request(mine, picked, publish):
    done = publish("my cat", "--repo", "me/cat", "--clean")
    everything = b"".join(remote(mine).values())
    for secret in (b"shy cat", b"my secret", b"/home/me", os.fsencode(picked.parents[2]), b"x.yaml"):
        assert secret not in everything
    assert "--clean" not in done.output
    assert "--clean takes them out" in publish("my cat", "--repo", "me/cat", "--dry-run").output


def test_without_the_wish_the_file_keeps_its_metadata_and_the_card_still_has_none(mine, picked, publish):
    publish("my cat", "--repo", "me/cat")
    assert b"shy cat" in remote(mine)["my cat.safetensors"]
    card = remote(mine)["README.md"].decode()
    assert not re.search(r"shy cat|my secret|/home|x\.yaml", card)


def test_a_dry_run_writes_a_page_and_uploads_nothing(mine, picked, publish):
    done = publish("my cat", "--repo", "me/cat", "--dry-run")
    page = picked / "publication" / "publish.html"
    assert (done.exit_code, mine.uploads(), "me/cat" in mine.repos) == (0, [], False)
    assert str(page) in done.output.replace("\n", "")
    text = page.read_text(encoding="utf-8")
    assert "<h1>my cat</h1>" in text
    assert "data:image/png;base64," in text
    assert "openrail++" in text
    assert 'src="samples' not in text
    assert re.findall(r'(?:src|href)="(?!data:)[^"]*"', text) == []


def test_a_dry_run_says_what_would_be_replaced(mine, picked, publish):
    publish("my cat", "--repo", "me/cat")
    publish("my cat", "--repo", "me/cat", "--epoch", "3", "--dry-run")
    text = (picked / "publication" / "publish.html").read_text(encoding="utf-8")
    assert "replaces the old one" in text
    assert f"before-{mine.repos['me/cat'].head[:12]}" in text


def test_a_dry_run_needs_no_network(picked, publish, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert publish("my cat", "--repo", "me/cat", "--dry-run").exit_code == 0
    assert "What is there already is not known" in (picked / "publication" / "publish.html").read_text(encoding="utf-8")


def test_nobody_picked_and_a_person_is_there(mine, run_dir, publish):
    done = publish("my cat", "--repo", "me/cat")
    assert (done.exit_code, mine.uploads()) == (2, [])
    assert "--pick N" in done.output


@pytest.mark.parametrize(("epoch", "code"), [("1", 0), ("last", 0), ("9", 2), ("x", 2), ("0", 2)])
def test_an_epoch_is_named(mine, run_dir, publish, epoch, code):
    done = publish("my cat", "--repo", "me/cat", "--epoch", epoch)
    assert done.exit_code == code, done.output
    assert ("my cat.safetensors" in (remote(mine) if "me/cat" in mine.repos else ())) is (code == 0)


@pytest.mark.parametrize("repo", ["cat", "me/cat/x", "me/ca t", "me/../x", "me/cat.git", "/cat"])
def test_a_name_that_is_no_repository_is_refused_at_once(run_dir, publish, repo):
    done = publish("my cat", "--repo", repo, "--all")
    assert done.exit_code == 2
    assert "--repo:" in done.output


def test_a_folder_of_anybody_s_loras(mine, odd_path, publish, monkeypatch):
    monkeypatch.setenv("KOHYA_WORKSPACE", str(odd_path / "ws"))
    folder = odd_path / "theirs"
    lora_file(
        folder / "a.safetensors", 3, ss_learning_rate="1e-4", ss_sd_model_name="org/base", ss_training_comment="hush"
    )
    lora_file(folder / "b.safetensors", 4)
    done = publish(folder, "--repo", "me/cat", "--title", "Two <b>cats</b>", "--license", "mit")
    assert done.exit_code == 0, done.output
    card = remote(mine)["README.md"].decode()
    assert {"a.safetensors", "b.safetensors"} <= set(remote(mine))
    assert "# Two \\<b\\>cats\\</b\\>" in card
    assert 'license: "mit"' in card
    assert 'base_model: "org/base"' in card
    assert "hush" not in card
    assert sorted(p.name for p in folder.iterdir()) == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda path: trained(path, nan=True), "contains NaN"),
        (lambda path: trained(path, metadata={"practice": "yes"}), "is a practice file"),
        (lambda path: path.write_bytes(trained(path).read_bytes()[:-1]), "is cut"),
        (lambda path: trained(path, zero=True), "is untrained"),
    ],
    ids=["nan", "practice", "cut", "zero"],
)
def test_a_broken_file_is_refused(mine, odd_path, publish, make, problem):
    make(odd_path / "a.safetensors")
    done = publish(odd_path / "a.safetensors", "--repo", "me/cat", "--workspace", odd_path / "ws")
    assert (done.exit_code, mine.uploads()) == (10, [])
    assert problem in done.output


def test_a_practice_run_is_refused(mine, run_dir, publish):
    records.write(run_dir, records.read(run_dir).changed(practice=True))
    done = publish("my cat", "--repo", "me/cat", "--all")
    assert (done.exit_code, mine.uploads()) == (10, [])
    assert "practice" in done.output


def test_a_record_that_names_a_file_elsewhere_publishes_nothing(mine, run_dir, odd_path, publish):
    lora_file(odd_path / "private.safetensors")
    record = records.read(run_dir)
    for name, code in (("../../../../private.safetensors", 2), ("link.safetensors", 10)):
        (run_dir / "output" / "link.safetensors").unlink(missing_ok=True)
        (run_dir / "output" / "link.safetensors").symlink_to(odd_path / "private.safetensors")
        changed = record.checkpoints[-1].model_copy(update={"file": name})
        records.write(run_dir, record.changed(checkpoints=(changed,)))
        done = publish("my cat", "--repo", "me/cat", "--all")
        assert (done.exit_code, mine.uploads()) == (code, []), done.output


def test_a_place_for_the_copies_that_leads_out_is_refused(mine, run_dir, odd_path, publish):
    (odd_path / "elsewhere").mkdir()
    (run_dir / "publication").symlink_to(odd_path / "elsewhere")
    assert publish("my cat", "--repo", "me/cat", "--all").exit_code == 2
    assert list((odd_path / "elsewhere").iterdir()) == []


def test_a_refusal_ends_with_11_and_its_next_step(mine, picked, publish):
    mine.faults.append(Fault("/commit/", 413, "storage limit"))
    done = publish("my cat", "--repo", "me/cat")
    assert done.exit_code == 11
    assert "storage limit" in done.output
    assert not (picked / "publication" / "copies").exists()


def test_as_a_process_the_token_is_in_no_word_and_no_output(mine, picked):
    command = (sys.executable, "-m", "kohya_runner", "publish", str(picked), "--repo", "me/cat")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert "my cat.safetensors" in remote(mine)
    assert TOKEN not in " ".join(command) + done.stdout + done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_stopped_in_the_middle_the_same_again_goes_on(mine, picked, publish, number, code):
    mine.held = threading.Event()
    command = (sys.executable, "-m", "kohya_runner", "publish", str(picked), "--repo", "me/cat")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    wait_for(lambda: any(method == "PUT" for method, _, _ in mine.asked))
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    mine.held.set()
    assert process.returncode == code, err
    assert b"Traceback" not in err
    assert "my cat.safetensors" not in remote(mine)
    mine.held = None
    assert publish("my cat", "--repo", "me/cat").exit_code == 0
    assert "my cat.safetensors" in remote(mine)
    assert not (picked / "publication" / "copies").exists()


def after_run(run_dir, **settings):
    asked = {"publish": Publish(repo="me/cat", **settings).model_dump(mode="json")}
    said = []
    records.write(run_dir, ended := records.read(run_dir).changed(finish=asked))
    done = after.finish(run_dir, ended, said.append, {**os.environ})
    return done.after[0]["said"], said


def test_after_a_run_the_figures_pick_and_it_is_noted_as_picked(mine, compared, publish):
    result = compared / "comparison" / "compare.json"
    told = json.loads(result.read_bytes())
    told["suggestion"] = {"column": 2, "label": "epoch 2", "reason": "epoch 2 stands out by edge hardness."}
    result.write_text(json.dumps(told))
    said, lines = after_run(compared)
    assert said.startswith("publish: my cat.safetensors published to me/cat (private)")
    assert said in lines
    picked = json.loads((compared / "comparison" / "picked.json").read_bytes())
    assert (picked["picked"], picked["label"]) == (2, "epoch 2")
    assert tensors(remote(mine)["my cat.safetensors"]) == tensors(
        (compared / "output" / "my cat-000002.safetensors").read_bytes()
    )
    assert "epoch 2 stands out" in remote(mine)["README.md"].decode()
    mine.asked.clear()
    assert publish("my cat", "--repo", "me/cat").exit_code == 0
    assert mine.uploads() == []


def test_after_a_run_that_nothing_speaks_for_the_last_epoch_goes_up_and_the_card_says_so(mine, run_dir):
    after_run(run_dir)
    last = (run_dir / "output" / "my cat.safetensors").read_bytes()
    assert tensors(remote(mine)["my cat.safetensors"]) == tensors(last)
    assert "nobody picked another" in remote(mine)["README.md"].decode()
    assert not (run_dir / "comparison" / "picked.json").exists()


def test_what_was_picked_by_hand_stays(mine, picked):
    after_run(picked)
    assert "Epoch 2 was picked" in remote(mine)["README.md"].decode()


def test_an_upload_that_fails_fails_nothing_else_and_keeps_the_pod_for_a_while(mine, run_dir, monkeypatch):
    mine.faults.append(Fault("/commit/", 403, "no"))
    said, _ = after_run(run_dir)
    assert said.startswith(after.NOT_PUBLISHED)
    assert "try again with: kohya-runner publish 'my cat/001' --repo me/cat" in said
    decided = []
    monkeypatch.setattr(
        after.runpod, "decide", lambda _, **facts: decided.append(facts["problem"]) or PodDecision("", 0.0, "")
    )
    ended = records.read(run_dir)
    after._pod(run_dir, ended, lambda _: None, {"RUNPOD_POD_ID": "pod"})
    assert "publish" in decided[0]


@pytest.mark.parametrize("values", [{"state": "failed"}, {"practice": True}])
def test_a_run_that_left_nothing_is_not_published(mine, run_dir, values):
    records.write(run_dir, records.read(run_dir).changed(**values))
    said, _ = after_run(run_dir)
    assert said.startswith("publish: skipped")
    assert mine.uploads() == []
