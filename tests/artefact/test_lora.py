from __future__ import annotations

import pytest

from kohya_runner.artefact.lora import family_of
from kohya_runner.artefact.safetensors_header import Header, Tensor
from kohya_runner.engines import table


def header(names, metadata=None, shape=(4, 8)):
    return Header(tuple(Tensor(name, "F16", shape, 0, 0) for name in names), metadata or {}, 0)


@pytest.mark.parametrize(
    ("name", "shape", "family"),
    [
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", (4, 768), "sd15"),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", (4, 1024), "sd2"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight", (4, 2048), "sdxl"),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight", (4, 2048), "sdxl"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", (4, 1280), "sdxl"),
        ("lora_unet_single_blocks_0_linear1.lora_down.weight", (4, 3072), "flux"),
        ("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", (4, 3072), "flux"),
        ("lora_unet_joint_blocks_0_context_block_attn_qkv.lora_down.weight", (4, 1536), "sd3"),
        ("lora_unet_layers_0_attention_qkv.lora_down.weight", (4, 2304), "lumina"),
        ("lora_unet_blocks_0_self_attn_q_proj.lora_down.weight", (4, 2048), "anima"),
        ("lora_unet_something.lora_down.weight", (4, 8), ""),
    ],
)
def test_a_family_is_told_by_the_names_and_shapes(name, shape, family):
    assert family_of(header([name], shape=shape)) == family


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"ss_base_model_version": "sd_v1"}, "sd15"),
        ({"ss_base_model_version": "sd_v2_v"}, "sd2"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl"),
        ({"ss_base_model_version": "hunyuan-image-2.1"}, "hunyuan_image"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "sdxl"),
        ({"modelspec.architecture": "flux-1-dev/lora"}, "flux"),
        ({"ss_base_model_version": "?"}, ""),
    ],
)
def test_where_names_tell_nothing_the_file_is_believed(metadata, family):
    assert family_of(header(["a.lora_down.weight"], metadata)) == family


def test_names_are_believed_more_than_what_the_file_says():
    name = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.lora_down.weight"
    assert family_of(header([name], {"ss_base_model_version": "sd_v1"}, (4, 2048))) == "sdxl"


def test_hunyuan_image_has_the_names_of_flux_and_is_told_by_what_the_file_says():
    names = ["lora_unet_single_blocks_0_linear1.lora_down.weight"]
    assert family_of(header(names, {"ss_base_model_version": "hunyuan-image-2.1"})) == "hunyuan_image"
    assert family_of(header(names, {"ss_base_model_version": "sd_v1"})) == "flux"


def test_the_families_of_the_table_are_called_the_same():
    assert {"sd15", "sdxl", "flux"} <= set(table.families())
