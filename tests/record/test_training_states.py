"""Which training states are whole."""

from __future__ import annotations

import json
import zipfile

import pytest
from safetensors_files import lora

from kohya_runner.engines.diffusers import CHECKPOINT
from kohya_runner.engines.support import INITIAL_STEP, REMAINING
from kohya_runner.record.attempts import Attempt, Attempts
from kohya_runner.record.resume_point import checked, states_of


def write_state(output, epoch, *, name="my cat", steps=4):
    folder = output / f"{name}-{epoch:06d}-state"
    folder.mkdir(parents=True)
    said = {"current_epoch": epoch, "current_step": steps}
    (folder / "train_state.json").write_text(json.dumps(said), encoding="utf-8")
    lora(folder / "model.safetensors")
    for part in ("optimizer.bin", "scheduler.bin"):
        with zipfile.ZipFile(folder / part, "w") as file:
            file.writestr("data.pkl", b"0" * 500)
    (folder / "random_states_0.pkl").write_bytes(b"random")
    return folder


def cut(path):
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


def test_states_come_newest_first(odd_path):
    for epoch in (1, 3, 2):
        write_state(odd_path, epoch)
    assert [(state.epoch, state.problem, state.counted) for state in states_of(odd_path, "my cat", INITIAL_STEP)] == [
        (3, "", 4),
        (2, "", 4),
        (1, "", 4),
    ]


@pytest.mark.parametrize("harm", [cut, empty, remove])
@pytest.mark.parametrize(
    "part", ["train_state.json", "model.safetensors", "optimizer.bin", "scheduler.bin", "random_states_0.pkl"]
)
def test_a_state_that_was_cut_anywhere_is_none(odd_path, part, harm):
    folder = write_state(odd_path, 2)
    harm(folder / part)
    (state,) = states_of(odd_path, "my cat", INITIAL_STEP)
    assert state.problem or (part, harm) == ("random_states_0.pkl", cut)  # its loss is survived, and so is its cut


def test_a_state_of_another_epoch_than_its_name_is_none(odd_path):
    folder = write_state(odd_path, 2)
    (folder / "train_state.json").write_text('{"current_epoch": 3, "current_step": 4}', encoding="utf-8")
    assert states_of(odd_path, "my cat", INITIAL_STEP)[0].problem == "says it is of epoch 3"


def test_other_folders_are_no_states(odd_path):
    write_state(odd_path, 1, name="my cat too")
    (odd_path / "my cat-state").mkdir()
    (odd_path / "my cat-step00000004-state").mkdir()
    (odd_path / "my cat-000001.safetensors").touch()
    assert states_of(odd_path, "my cat", INITIAL_STEP) == ()
    assert states_of(odd_path / "nowhere", "my cat", INITIAL_STEP) == ()


def test_a_state_was_written_by_the_last_attempt_that_began_before_it():
    tried = Attempts(
        attempts=tuple(
            Attempt(number=n, world_size=1, steps_per_epoch=4, epoch=epoch, log="", queued=0.0)
            for n, epoch in ((1, 0), (2, 2), (3, 2), (4, 5))
        )
    )
    assert [tried.writer_of(epoch).number for epoch in (1, 2, 3, 5, 6)] == [1, 1, 3, 3, 4]
    assert tried.writer_of(0) is None


@pytest.mark.parametrize(("number", "says"), [("007e", "contains NaN"), ("0000", "is untrained"), ("003c", "")])
def test_a_state_of_worthless_numbers_is_not_gone_on_from(odd_path, number, says):
    folder = write_state(odd_path, 2)
    weights = folder / "model.safetensors"
    data = weights.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    weights.write_bytes(data[:begin] + bytes.fromhex(number) * ((len(data) - begin) // 2))
    (state,) = states_of(odd_path, "my cat", INITIAL_STEP)
    assert not state.problem
    assert checked(state).problem.startswith(says)
    assert bool(checked(state).problem) == bool(says)


def test_where_no_counts_are_written_the_name_says_how_far_it_was(odd_path):
    for name, epoch in (("my cat", 1), ("my cat", 2), ("my cat+000002", 1), ("my cat+000002", 3)):
        (write_state(odd_path, epoch, name=name) / "train_state.json").unlink()
    found = states_of(odd_path, "my cat", REMAINING)
    assert [(state.epoch, state.path.name, state.problem) for state in found] == [
        (5, "my cat+000002-000003-state", ""), (3, "my cat+000002-000001-state", ""),
        (2, "my cat-000002-state", ""), (1, "my cat-000001-state", ""),
    ]  # fmt: skip


def test_a_state_that_is_named_by_its_step_may_lie_inside_an_epoch(odd_path):
    for step in (4, 6):
        folder = write_state(odd_path, step).rename(odd_path / f"checkpoint-{step}")
        (folder / "unet").mkdir()
        (folder / "model.safetensors").rename(folder / CHECKPOINT.weights)
    (odd_path / "checkpoint-8").mkdir()
    found = states_of(odd_path, "any", CHECKPOINT, 4)
    assert [(state.epoch, state.step, bool(state.problem)) for state in found] == [
        (2, 8, True), (1, 6, False), (1, 4, False),
    ]  # fmt: skip
