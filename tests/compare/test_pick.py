from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from sweep_trainer import lora_file

from kohya_runner.commands.cli import main
from kohya_runner.compare import checkpoints as picking


def run(*words):
    return CliRunner().invoke(main, ["compare", *map(str, words)])


@pytest.fixture
def compared(run_dir):
    """A run that was compared: only what is on a sheet can be picked."""
    assert run(run_dir).exit_code == 0
    return run_dir


def picked(run_dir):
    return run_dir / "output" / "my cat-picked.safetensors"


def test_the_picked_file_is_the_same_file_under_a_second_name(compared, run_dir):
    assert run(run_dir, "--pick", 2).exit_code == 0
    assert picked(run_dir).samefile(run_dir / "output" / "my cat-000002.safetensors")


def test_the_last_epoch_is_picked_by_its_number(compared, run_dir):
    run(run_dir, "--pick", 3)
    assert picked(run_dir).samefile(run_dir / "output" / "my cat.safetensors")


def test_the_choice_is_on_record(compared, run_dir):
    run(run_dir, "--pick", 2)
    record = json.loads((run_dir / "comparison" / "picked.json").read_bytes())
    assert (record["picked"], record["label"]) == (2, "epoch 2")
    assert record["file"].endswith("my cat-000002.safetensors")
    assert record["target"] == str(picked(run_dir))
    assert len(record["sha256"]) == 64


def test_nothing_else_changes(compared, run_dir):
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (run_dir / "output").iterdir()}
    run(run_dir, "--pick", 2)
    after = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in (run_dir / "output").iterdir()}
    assert before.items() <= after.items()
    assert set(after) - set(before) == {picked(run_dir).name}


def test_picking_twice_is_as_good_as_once(compared, run_dir):
    run(run_dir, "--pick", 2)
    record = (run_dir / "comparison" / "picked.json").read_bytes()
    assert run(run_dir, "--pick", 2).exit_code == 0
    assert (run_dir / "comparison" / "picked.json").read_bytes() == record


def test_a_second_choice_replaces_the_first_and_says_so(compared, run_dir):
    run(run_dir, "--pick", 2)
    ended = run(run_dir, "--pick", 1)
    assert ended.exit_code == 0, ended.output
    assert "epoch 1 is picked instead of epoch 2" in ended.output
    assert picked(run_dir).samefile(run_dir / "output" / "my cat-000001.safetensors")
    record = json.loads((run_dir / "comparison" / "picked.json").read_bytes())
    assert (record["picked"], record["replaced"]) == (1, "epoch 2")


def test_a_file_of_that_name_that_is_not_ours_stays(compared, run_dir):
    picked(run_dir).write_bytes(b"somebody's own")
    ended = run(run_dir, "--pick", 1)
    assert ended.exit_code == 7
    assert "--pick did not make it" in ended.output
    assert picked(run_dir).read_bytes() == b"somebody's own"


def test_only_what_was_compared_is_picked(run_dir):
    ended = run(run_dir, "--pick", 1)
    assert ended.exit_code == 2
    assert "was not compared yet" in ended.output
    assert "kohya-runner compare 'my cat/001'" in ended.output
    assert not picked(run_dir).exists()


def test_a_run_is_named_as_status_names_it(compared, run_dir):
    assert run("my cat/001", "--pick", 1).exit_code == 0
    assert picked(run_dir).is_file()


def test_an_epoch_that_is_not_there_is_told_the_ones_that_are(run_dir):
    ended = run(run_dir, "--pick", 9)
    assert ended.exit_code == 2
    assert "there are 1, 2, 3" in ended.output


def test_files_of_strangers_are_picked_by_their_place(odd_path, checkout):
    for name in ("a", "b"):
        lora_file(odd_path / "theirs" / f"{name}.safetensors", ord(name))
    base = ("--family", "sd15", "--model", "org/model", "--prompt", "a cat", "--size", "64x64")
    compared = run(odd_path / "theirs", *base)
    assert compared.exit_code == 0, compared.output
    assert run(odd_path / "theirs", "--pick", 2).exit_code == 0
    theirs = odd_path / "theirs"
    assert (theirs / "b-picked.safetensors").samefile(theirs / "b.safetensors")


def test_without_hard_links_it_is_a_copy(compared, run_dir, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "not here")

    monkeypatch.setattr(picking.os, "link", refuse)
    assert run(run_dir, "--pick", 2).exit_code == 0
    source = run_dir / "output" / "my cat-000002.safetensors"
    assert picked(run_dir).read_bytes() == source.read_bytes()
    assert not picked(run_dir).samefile(source)
    assert not list((run_dir / "output").glob("*.partial"))


def test_a_picked_file_is_no_column_of_the_next_comparison(compared, run_dir):
    run(run_dir, "--pick", 2)
    told = json.loads(run(run_dir, "--json").output)
    assert [column["label"] for column in told["columns"]] == ["base", "epoch 1", "epoch 2", "epoch 3"]
    assert told["skipped"] == []


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["/nowhere/at all"], 2, "there is no such file or folder"),
        (["a", "b"], 2, "there is no such file or folder"),
        (["gone.safetensors"], 2, "there is no such file or folder"),
        (["no such run"], 2, "no run"),
        (["--images", "/nowhere"], 2, "/nowhere"),
        (["--images", "/tmp", "--pick", "1"], 2, "--images goes alone"),
        (["--component", "ae"], 2, "write NAME=PATH"),
    ],
)
def test_wrong_words_end_with_a_sentence(run_dir, words, code, said):
    ended = run(*words)
    assert ended.exit_code == code, ended.output
    assert said in ended.output
    assert "Traceback" not in ended.output


def test_the_latest_run_is_meant_where_none_is_named(compared, run_dir):
    assert run("--pick", 1).exit_code == 0
    assert picked(run_dir).is_file()


def test_the_output_folder_stands_for_its_run(compared, run_dir):
    assert run(run_dir / "output", "--pick", 1).exit_code == 0
    assert (run_dir / "comparison" / "picked.json").is_file()
