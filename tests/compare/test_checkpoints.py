from __future__ import annotations

import pytest
from number_files import numbers_file
from sweep_trainer import lora_file

from kohya_runner.artefact.lora import shape_of
from kohya_runner.compare.checkpoints import find, in_folder
from kohya_runner.compare.subject import Named, find_subject
from kohya_runner.errors import UsageError


def labels(found):
    return [checkpoint.label for checkpoint in found.checkpoints]


def test_the_file_without_a_number_is_the_last_epoch(odd_path):
    for name in ("my cat.safetensors", "my cat-000002.safetensors", "my cat-000010.safetensors"):
        lora_file(odd_path / name)
    found = find(in_folder(odd_path), "sd15")
    assert labels(found) == ["epoch 2", "epoch 10", "epoch 11"]
    assert found.checkpoints[-1].path.name == "my cat.safetensors"


def test_the_metadata_knows_the_last_epoch(odd_path):
    lora_file(odd_path / "a-000002.safetensors", ss_epoch="2")
    lora_file(odd_path / "a.safetensors", ss_epoch="12")
    assert labels(find(in_folder(odd_path), "")) == ["epoch 2", "epoch 12"]


def test_the_plan_knows_the_last_epoch(odd_path):
    lora_file(odd_path / "a.safetensors")
    assert labels(find(in_folder(odd_path), "", last_epoch=5)) == ["epoch 5"]


def test_epochs_and_steps_are_in_the_order_of_training(odd_path):
    lora_file(odd_path / "a-step00000150.safetensors", ss_epoch="2")
    lora_file(odd_path / "a-step00000050.safetensors", ss_epoch="1")
    lora_file(odd_path / "a-000001.safetensors", ss_epoch="1")
    assert labels(find(in_folder(odd_path), "")) == ["epoch 1", "step 50", "step 150"]


def test_files_without_numbers_stay_in_the_order_they_were_given_in(odd_path):
    files = [lora_file(odd_path / f"{name}.safetensors") for name in ("zebra", "ant", "bee")]
    assert labels(find(files, "")) == ["zebra", "ant", "bee"]


def test_two_runs_with_the_same_epochs_are_told_apart_by_their_names(odd_path):
    files = [lora_file(odd_path / f"{name}-000001.safetensors") for name in ("a", "b")]
    assert labels(find(files, "")) == ["a-000001", "b-000001"]


def test_a_picked_file_is_not_counted_twice(odd_path):
    lora_file(odd_path / "a-000001.safetensors")
    lora_file(odd_path / "a-picked.safetensors")
    assert [path.name for path in in_folder(odd_path)] == ["a-000001.safetensors"]


def test_most_files_decide_which_shape_is_the_right_one(odd_path):
    lora_file(odd_path / "a-000001.safetensors", rank=8)
    lora_file(odd_path / "a-000002.safetensors", rank=4)
    lora_file(odd_path / "a-000003.safetensors", rank=4)
    found = find(in_folder(odd_path), "")
    assert labels(found) == ["epoch 2", "epoch 3"]
    assert [(s.path.name, s.reason) for s in found.skipped] == [
        ("a-000001.safetensors", "has rank 8, the others have rank 4")
    ]


def test_other_modules_are_counted(odd_path):
    lora_file(odd_path / "a-000001.safetensors", modules=("lora_unet_x", "lora_unet_y"))
    lora_file(odd_path / "a-000002.safetensors", modules=("lora_unet_x", "lora_unet_y"))
    lora_file(odd_path / "a-000003.safetensors", modules=("lora_unet_x", "lora_te_z", "lora_te_w"))
    (skipped,) = find(in_folder(odd_path), "").skipped
    assert skipped.reason == "has other modules than the others: 1 are missing, 2 are extra"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "has no safetensors header"),
        (b"<!doctype html>", "has no safetensors header"),
        ((2).to_bytes(8, "little") + b"{}", "empty"),
    ],
    ids=["nothing", "a page", "no tensors"],
)
def test_what_is_no_lora_is_left_out(odd_path, data, reason):
    (odd_path / "a.safetensors").write_bytes(data)
    (skipped,) = find(in_folder(odd_path), "").skipped
    assert reason in skipped.reason


def test_a_practice_file_is_left_out(odd_path):
    lora_file(odd_path / "a.safetensors", practice="1")
    assert "practice trainer" in find(in_folder(odd_path), "").skipped[0].reason


@pytest.mark.parametrize(
    ("module", "family", "fits"),
    [
        ("lora_unet_double_blocks_0_a", "flux", True),
        ("lora_unet_double_blocks_0_a", "hunyuan_image", True),
        ("lora_unet_double_blocks_0_a", "sdxl", False),
        ("lora_te2_text_model", "sdxl", True),
        ("lora_te2_text_model", "sd15", False),
        ("lora_unet_down_blocks_0_a", "sd2", True),
        ("lora_unet_joint_blocks_0_a", "sd3", True),
        ("lora_unet_layers_0_attention_qkv", "lumina", True),
        ("lora_unet_layers_0_attention_qkv", "sd3", False),
        ("lora_unet_blocks_0_self_attn_q_proj", "anima", True),
        ("lora_unet_blocks_0_self_attn_q_proj", "flux", False),
        ("lora_unet_something_new", "lumina", True),
    ],
)
def test_the_names_of_the_modules_tell_the_family(odd_path, module, family, fits):
    assert shape_of(lora_file(odd_path / "a.safetensors", modules=(module,))).for_family(family) is fits


def test_a_folder_without_a_lora_is_told_as_that(tmp_path):
    with pytest.raises(UsageError, match="no LoRA files here"):
        find_subject(Named((str(tmp_path),)))


def test_a_lokr_is_compared_where_the_generator_merges_it(tmp_path):
    block = "lora_unet_layers_0_attention_to_q"
    tensors = {f"{block}.lokr_w1": [1.0], f"{block}.lokr_w2_a": [1.0], f"{block}.lokr_w2_b": [1.0]}
    path = numbers_file(tmp_path / "a.safetensors", tensors)
    assert [one.path for one in find([path], "z_image").checkpoints] == [path]
    (left,) = find([path], "lumina").skipped
    assert left.reason == "is a LoKr, which the script that paints for lumina does not merge"
