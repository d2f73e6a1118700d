"""A LoRA of SD 2 is given to gen_img.py with linear projections, everything else as it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from kohya_runner.artefact.safetensors_header import read_header
from kohya_runner.engines.sd_scripts.painter import PAINTERS, linear

if TYPE_CHECKING:
    from pathlib import Path

DATA = bytes(range(16))


def written(path: Path, name: str, shape: list[int]) -> Path:
    rows = {"__metadata__": {"ss_epoch": "3"}, name: {"dtype": "F16", "shape": shape, "data_offsets": [0, len(DATA)]}}
    head = json.dumps(rows).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + DATA)
    return path


@pytest.mark.parametrize("end", ["in", "out"])
def test_a_projection_of_one_pixel_becomes_linear_with_the_same_numbers(tmp_path, end):
    name = f"lora_unet_down_blocks_0_attentions_0_proj_{end}.lora_down.weight"
    lora = written(tmp_path / "it's a LoRA.safetensors", name, [2, 4, 1, 1])
    before = lora.read_bytes()
    copy = linear(lora, tmp_path)
    header = read_header(copy)
    assert (header.tensors[0].name, header.tensors[0].shape, dict(header.metadata)) == (name, (2, 4), {"ss_epoch": "3"})
    assert copy.read_bytes().endswith(DATA)
    assert lora.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "shape"),
    [("lora_unet_mid_block_attentions_0_proj_in.lora_up.weight", [2, 4]),
     ("lora_unet_down_blocks_1_resnets_0_conv_shortcut.lora_up.weight", [2, 4, 1, 1]),
     ("lora_unet_down_blocks_1_resnets_0_conv1.lora_down.weight", [2, 4, 1, 1])],
)  # fmt: skip
def test_a_file_without_such_a_projection_is_read_as_it_is(tmp_path, name, shape):
    lora = written(tmp_path / "a LoRA.safetensors", name, shape)
    assert linear(lora, tmp_path) == lora


def test_sd2_alone_needs_it():
    assert {row.family for row in PAINTERS if row.readable is linear} == {"sd2"}
