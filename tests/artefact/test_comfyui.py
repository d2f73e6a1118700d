from __future__ import annotations

import json

import click.testing
import pytest
from number_files import trained

from kohya_runner.artefact.comfyui import comfy_names, known_names, table
from kohya_runner.commands.cli import main
from kohya_runner.engines.table import families

UNET = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_"
TEXT = "lora_te_text_model_encoder_layers_11_mlp_fc"
HUNYUAN = ("lora_unet_double_blocks_0_img_mlp_fc1", "lora_unet_double_blocks_0_img_attn_qkv")
SAID = {"ss_base_model_version": "hunyuan-image-2.1"}


def run(*words):
    done = click.testing.CliRunner().invoke(main, ["verify", *map(str, words)])
    return done.exit_code, done.output


def test_every_family_that_is_trained_has_names():
    assert set(families()) == set(table()["families"])
    assert all(len(known_names(family)) > 2000 for family in table()["families"])


def test_braces_stand_for_every_number_in_them():
    flux = known_names("flux")
    assert {"lora_unet_double_blocks_18_img_attn_qkv", "lora_te2_encoder_block_23_layer_0_SelfAttention_q"} <= flux
    assert "lora_unet_double_blocks_19_img_attn_qkv" not in flux
    assert "lora_unet_single_blocks_47_linear1" in known_names("flux2")
    assert "text_encoders.qwen3_06b.transformer.model.layers.0.mlp.up_proj" in known_names("anima")


def test_a_file_that_is_read_as_it_is(tmp_path):
    modules, said = (f"{UNET}q", f"{TEXT}2"), {"ss_base_model_version": "sd_v1"}
    path = trained(tmp_path / "a.safetensors", modules=modules, metadata=said)
    code, out = run(path, "--for", "comfyui", "--json")
    told = json.loads(out)["files"][0]["comfyui"]
    assert (code, told) == (
        0, {"verdict": "as it is", "family": "sd15", "keys": 6, "skipped": [], "convert": None},
    )  # fmt: skip
    assert "comfyui" not in json.loads(run(path, "--json")[1])["files"][0]


def test_keys_that_would_be_skipped_are_told_with_what_to_do(tmp_path):
    path = trained(tmp_path / "my cat.safetensors", modules=HUNYUAN, metadata=SAID)
    code, out = run(path, "--for", "comfyui")
    assert code == 10
    for text in ("must be converted, for hunyuan_image", f"skipped    {HUNYUAN[0]}.lora_up.weight",
                 "would load 3 of 6 keys", f"publish '{path}' --comfyui --output FOLDER"):  # fmt: skip
        assert text in out
    assert run(path)[0] == 0


def test_a_file_of_which_nothing_is_read_is_an_error(tmp_path):
    modules = ("oft_unet_down_blocks_1_attentions_0_transformer_blocks_0", "oft_unet_mid_block_attentions_0")
    path = trained(tmp_path / "a.safetensors", modules=modules, metadata={"ss_base_model_version": "sdxl_base_v1-0"})
    code, out = run(path, "--for", "comfyui")
    assert code == 10
    assert "would load none of 6 keys" in out
    assert "cannot be used, for sdxl" in out


def test_of_an_unknown_family_nothing_is_said(tmp_path):
    code, out = run(trained(tmp_path / "a.safetensors", modules=("lora_unet_a",)), "--for", "comfyui")
    assert code == 0
    assert "not known" in out
    assert "nothing is wrong" not in out


@pytest.mark.parametrize(
    ("module", "said", "family"),
    [
        ("lora_unet_single_blocks_{}_linear1", "", "flux2"),
        ("lora_unet_single_blocks_{}_linear1", "flux_2_dev", "flux2"),
        ("lora_unet_double_blocks_18_img_attn_{}", "flux_kontext", "flux_kontext"),
        ("diffusion_model.layers.0.attention.to_{}", "", "z_image"),
        ("lora_unet_layers_0_attention_{}", "z_image", "z_image"),
        ("lora_unet_layers_0_attention_{}", "lumina2", "lumina"),
        ("lora_unet_blocks_0_attn_{}", "", "krea2"),
        ("lora_unet_transformer_blocks_0_attn_{}", "qwen_image_edit", "qwen_image_edit"),
        ("diffusion_model.blocks.0.self_attn.{}", "", "anima"),
    ],
)
def test_families_that_are_named_alike_are_told_apart(tmp_path, module, said, family):
    ends = {
        "flux2": ("0", "47"), "flux_kontext": ("qkv", "proj"), "lumina": ("qkv", "out"), "krea2": ("wq", "wk"),
        "z_image": ("k", "q") if "to_" in module else ("qkv", "out"), "qwen_image_edit": ("to_q", "add_k_proj"),
        "anima": ("q_proj", "v_proj"),
    }  # fmt: skip
    metadata = {"ss_base_model_version": said} if said else {}
    modules = tuple(module.format(end) for end in ends[family])
    names = comfy_names(trained(tmp_path / "a.safetensors", modules=modules, metadata=metadata))
    assert (names.family, names.skipped) == (family, ())
