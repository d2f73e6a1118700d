from __future__ import annotations

import json
import sys

import pytest
from number_files import trained

from kohya_runner.artefact.safetensors_header import read_header
from kohya_runner.engines.table import CONVERTERS

UNET = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_"
SAID = {"ss_base_model_version": "hunyuan-image-2.1", "ss_dataset_dirs": '{"10_my secret": {}}'}
BLOCK = "lora_unet_double_blocks_0_"
COPY = "my cat_comfyui.safetensors"

CONVERTER = """
import sys
data = open(sys.argv[1], "rb").read()
end = 8 + int.from_bytes(data[:8], "little")
text = data[8:end].replace(b"img_mlp_fc1", b"img_mlp_0")
open(sys.argv[2], "wb").write(len(text).to_bytes(8, "little") + text + data[end:])
"""


@pytest.fixture
def converter(tmp_path, monkeypatch):
    """A checkout whose converter is a program of ours: what is tested is what is done with its result."""
    root = tmp_path / "sd scripts"
    engine, row = CONVERTERS["hunyuan_image"]
    for name in (*engine.marks, row.script):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(CONVERTER, "utf-8")
    monkeypatch.setenv("KOHYA_RUNNER_SD_SCRIPTS", str(root))
    monkeypatch.setenv("KOHYA_RUNNER_PYTHON", sys.executable)
    monkeypatch.setenv("KOHYA_WORKSPACE", str(tmp_path / "work space"))
    return root / row.script


@pytest.fixture
def hunyuan(tmp_path):
    modules = (f"{BLOCK}img_mlp_fc1", f"{BLOCK}img_attn_qkv")
    return trained(tmp_path / "my cat.safetensors", modules=modules, metadata=SAID)


def test_a_copy_is_converted_into_a_folder(converter, hunyuan, tmp_path, publish):
    before = hunyuan.read_bytes()
    done = publish(hunyuan, "--comfyui", "--output", tmp_path / "lo ras", "--clean", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, [(f["name"], f["converted"]) for f in told["files"]]) == (0, [(COPY, True)])
    header = read_header(tmp_path / "lo ras" / COPY)
    assert {t.name for t in header.tensors} >= {f"{BLOCK}img_mlp_0.lora_up.weight", f"{BLOCK}img_attn_qkv.alpha"}
    assert header.metadata.keys() == {"ss_base_model_version", "modelspec.title"}
    assert hunyuan.read_bytes() == before


def test_a_file_that_is_there_is_not_overwritten(converter, hunyuan, tmp_path, publish):
    (tmp_path / COPY).write_text("mine")
    done = publish(hunyuan, "--comfyui", "--output", tmp_path)
    assert done.exit_code == 2
    assert "is there already" in done.output
    assert (tmp_path / COPY).read_text() == "mine"


def test_what_is_read_as_it_is_is_copied(tmp_path, publish, monkeypatch):
    monkeypatch.setenv("KOHYA_WORKSPACE", str(tmp_path / "none"))
    path = trained(tmp_path / "a.safetensors", modules=(f"{UNET}q",), metadata={"ss_base_model_version": "sd_v1"})
    done = publish(path, "--comfyui", "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.safetensors"]
    assert "the same tensors, for ComfyUI" in done.output


def test_a_converter_that_leaves_keys_that_are_skipped_is_not_believed(converter, hunyuan, tmp_path, publish):
    converter.write_text(CONVERTER.replace("img_mlp_0", "img_mlp_7"), "utf-8")
    done = publish(hunyuan, "--comfyui", "--output", tmp_path / "out")
    assert done.exit_code == 10
    assert "would load 3 of 6 keys" in done.output
    assert not (tmp_path / "out").exists()


def test_a_converter_that_fails_is_told_with_its_last_line(converter, hunyuan, tmp_path, publish):
    converter.write_text("import sys; sys.exit('no such tensor')", "utf-8")
    done = publish(hunyuan, "--comfyui", "--output", tmp_path / "out")
    assert done.exit_code == 5
    assert "ended with code 1: no such tensor" in done.output


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        ({}, 2, "not known whether ComfyUI reads it"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, 10, "no trainer here has a converter for it"),
    ],
)
def test_what_cannot_be_converted_is_refused(tmp_path, publish, said, code, text):
    path = trained(tmp_path / "a.safetensors", modules=("oft_unet_a",), metadata=said)
    done = publish(path, "--comfyui", "--output", tmp_path / "b")
    assert done.exit_code == code
    assert text in done.output


@pytest.mark.parametrize(
    "words", [(), ("--repo", "me/cat", "--output", "x"), ("--output", "x", "--dry-run"), ("--output", "x", "--public")]
)
def test_one_place_is_named(tmp_path, publish, words):
    done = publish(trained(tmp_path / "a.safetensors"), *words)
    assert done.exit_code == 2
    assert "name one place" in done.output


def test_the_hub_gets_the_copy_beside_the_file_and_the_card_tells_it(converter, hunyuan, mine, publish):
    done = publish(hunyuan, "--repo", "me/cat", "--comfyui", "--json")
    assert done.exit_code == 0, done.output
    names = {file["name"] for file in json.loads(done.stdout)["files"]}
    assert names == {"my cat.safetensors", COPY, "README.md"}
    assert "| my cat\\_comfyui.safetensors | for ComfyUI |" in mine.repos["me/cat"].at("main")["README.md"].decode()
