from __future__ import annotations

import pytest

from kohya_runner.dataset.token_count import count
from kohya_runner.engines.table import find
from kohya_runner.engines.text_encoders import encoders

LIMITS = [
    ("sd15", {}, {"CLIP-L": 75}),
    ("sd15", {"max_token_length": 225}, {"CLIP-L": 225}),
    ("sd2", {"max_token_length": 150}, {"CLIP-H": 150}),
    ("sdxl", {}, {"CLIP-L": 75, "CLIP-G": 75}),
    ("sd3", {}, {"CLIP-L": 75, "CLIP-G": 75, "T5-XXL": 255}),
    ("sd3", {"t5xxl_max_token_length": 512, "max_token_length": 225}, {"CLIP-L": 75, "CLIP-G": 75, "T5-XXL": 511}),
    ("flux", {}, {"CLIP-L": 75, "T5-XXL": 511}),
    ("lumina", {}, {"Gemma 2": 255}),
    ("lumina", {"system_prompt": "You are an assistant", "gemma2_max_token_length": 128}, {"Gemma 2": 127}),
    ("hunyuan_image", {}, {"Qwen2.5-VL": 1024, "ByT5 (words in quotes)": 127}),
    ("anima", {}, {"Qwen3": 512, "T5": 511}),
    ("anima", {"qwen3_max_token_length": 100}, {"Qwen3": 100, "T5": 511}),
]


@pytest.mark.parametrize(("family", "options", "limits"), LIMITS, ids=lambda value: str(value)[:40])
def test_each_family_reads_so_many_tokens(family, options, limits):
    row = find(family, "lora")
    assert row is not None
    assert {one.name: one.limit for one in encoders(row, options.get)} == limits


def test_schnell_reads_half_as_much_as_dev():
    row = find("flux", "lora")
    assert row is not None
    assert encoders(row, {}.get, model="flux1-schnell.safetensors")[1].limit == 255


def test_a_byte_level_estimate_never_counts_too_few():
    row = find("hunyuan_image", "lora")
    assert row is not None
    encoder = encoders(row, {}.get)[0]
    found = count(encoder, "ein Bär 🐻 am See")
    assert found.most >= len("ein Bär 🐻 am See".encode())
    assert found.fewest <= 4
