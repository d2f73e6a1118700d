from __future__ import annotations

import json
import re

import PIL.Image
import pytest

from kohya_runner.artefact.lora import inspect, judge


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_says_practice_and_prints_what_the_trainer_prints(practice):
    done = practice.run()
    assert done.returncode == 0
    assert done.stdout.startswith("PRACTICE")
    assert "  num train images * repeats / 学習画像の数×繰り返し回数: 4\n" in done.stdout  # noqa: RUF001
    assert "  total optimization steps / 学習ステップ数: 8\n" in done.stdout
    assert "\nepoch 2/2\n" in done.stdout
    assert f"\nsaving checkpoint: {practice.output / 'my cat.safetensors'}\n" in done.stdout
    assert re.search(r"steps: 100%\|█{10}\| 8/8 \[", done.stderr)
    assert "model saved." in done.stderr


def test_its_files_can_be_read_and_are_marked(practice):
    practice.run(save_precision="bf16")
    found = inspect(practice.output / "my cat.safetensors")
    assert (found.problem, found.practice, found.modules, found.dtypes) == ("", True, 8, ("BF16",))
    assert found.metadata["ss_epoch"] == "2"
    assert judge(found.path, "", None) == "my cat.safetensors is a practice file, not a trained model"


def test_only_what_is_trained_is_saved(practice):
    done = practice.run(network_train_unet_only=True)
    assert inspect(practice.output / "my cat.safetensors").modules == 6
    assert "enable LoRA for U-Net: 6 modules" in done.stderr
    assert "enable LoRA for text encoder" not in done.stderr


def test_epochs_are_saved_and_old_ones_removed(practice):
    done = practice.run(max_train_epochs=5, save_last_n_epochs=2)
    assert names(practice.output) == ["my cat-000003.safetensors", "my cat-000004.safetensors", "my cat.safetensors"]
    assert "removing old checkpoint" in done.stdout


def test_steps_are_saved_and_the_last_epoch_may_be_short(practice):
    practice.run(max_train_epochs=None, max_train_steps=6, save_every_n_epochs=None, save_every_n_steps=4)
    assert names(practice.output) == ["my cat-step00000004.safetensors", "my cat.safetensors"]


def test_states_are_folders_with_their_step(practice):
    practice.run(save_state=True)
    assert names(practice.output)[:2] == ["my cat-000001-state", "my cat-000001.safetensors"]
    state = practice.output / "my cat-000001-state"
    assert json.loads((state / "train_state.json").read_text())["current_step"] == 4
    assert not (state / "random_states_0.pkl").read_bytes().startswith(b"\x80")


def test_a_state_is_resumed_at_its_epoch(practice):
    practice.run(save_state=True)
    done = practice.run(resume=practice.output / "my cat-000001-state", skip_until_initial_step=True)
    assert "epoch 1/2" not in done.stdout
    assert "epoch 2/2" in done.stdout


def test_buckets_decide_the_steps(practice):
    PIL.Image.new("RGB", (64, 128)).save(practice.train_dir / "1_my cat" / "tall.png")
    sizes = {"resolution": 128, "enable_bucket": True, "min_bucket_reso": 64}
    done = practice.run(train_batch_size=4, **sizes)
    assert "total optimization steps / 学習ステップ数: 4\n" in done.stdout


def test_no_data_ends_well_and_leaves_nothing(practice):
    done = practice.run(train_data_dir=practice.train_dir / "1_my cat")
    assert done.returncode == 0
    assert "No data found" in done.stderr
    assert names(practice.output) == []


def test_an_unknown_option_ends_as_the_trainer_ends(practice):
    assert practice.run(no_such_option=1).returncode == 2


def test_settings_that_the_trainer_asserts_end_with_1(practice):
    done = practice.run(enable_bucket=True, min_bucket_reso=256)
    assert done.returncode == 1
    assert "AssertionError" in done.stderr


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        ("nan@3", 0, "avr_loss=nan"),
        ("crash@3", 1, "RuntimeError: practice fault: crash"),
        ("oom@3", 1, "torch.OutOfMemoryError: CUDA out of memory."),
        ("no such fault", 1, "KOHYA_PRACTICE_FAULT: 'no such fault' is not a fault"),
    ],
    ids=["nan", "crash", "oom", "unknown"],
)
def test_a_fault_is_made_on_demand(practice, fault, code, text):
    done = practice.run(fault)
    assert done.returncode == code
    assert text in done.stderr


def test_a_run_may_end_well_without_its_file(practice):
    assert practice.run("no-file").returncode == 0
    assert (
        judge(practice.output / "my cat.safetensors", "", None, practice=True) == "my cat.safetensors was not written"
    )


def test_a_run_may_end_well_with_a_cut_file(practice):
    assert practice.run("truncate").returncode == 0
    assert "is cut" in judge(practice.output / "my cat.safetensors", "", None, practice=True)
