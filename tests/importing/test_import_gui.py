"""The kohya_ss GUI: what really ran, not only what its file says."""

from __future__ import annotations

import pytest
from foreign_files import foreign, told

__all__ = ["foreign"]

LORA = {"LoRA_type": "Standard", "max_resolution": "512,512", "output_name": "a", "learning_rate": 1e-4}


@pytest.mark.parametrize(
    ("more", "script"),
    [
        ({"LoRA_type": "Standard"}, "train_network.py"),
        ({"LoRA_type": "Standard", "sdxl": True}, "sdxl_train_network.py"),
        ({"LoRA_type": "Flux1", "flux1_checkbox": True}, "flux_train_network.py"),
        ({"LoRA_type": "Standard", "sd3_checkbox": True}, "sd3_train_network.py"),
        ({"LoRA_type": "Anima", "anima_checkbox": True}, "anima_train_network.py"),
        ({"LoRA_type": "Lumina", "lumina_checkbox": True}, "lumina_train_network.py"),
        ({"LoRA_type": "HunyuanImage-2.1", "hunyuan_image_checkbox": True}, "hunyuan_image_train_network.py"),
        ({"learning_rate_te": 1e-5, "model_list": "custom"}, "train_db.py"),
        ({"learning_rate_te1": 1e-5, "sdxl": True, "model_list": "custom"}, "sdxl_train.py"),
        ({"num_vectors_per_token": 4, "model_list": "custom"}, "train_textual_inversion.py"),
        ({"train_dir": "a", "image_folder": "b", "model_list": "custom"}, "fine_tune.py"),
        ({"train_dir": "a", "image_folder": "b", "sdxl_checkbox": True, "model_list": "custom"}, "sdxl_train.py"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_each_tab_and_model_has_its_script(foreign, more, script):
    loaded, setup = foreign({"max_resolution": "512,512", "output_name": "a", **more})
    assert setup.script == script
    assert loaded.findings == ()


@pytest.mark.parametrize(("key", "default"), [("max_grad_norm", "1.0"), ("guidance_scale", "3.5")])
def test_a_zero_was_never_passed(foreign, key, default):
    loaded, setup = foreign({**LORA, "LoRA_type": "Flux1", "flux1_checkbox": True, key: 0})
    assert key not in loaded.args
    assert f"own default ran, {default}" in told(setup, key)


def test_a_seed_of_zero_was_random(foreign):
    loaded, setup = foreign({**LORA, "seed": "0"})
    assert "seed" not in loaded.args
    assert "never passes a zero" in told(setup, "seed")


def test_chroma_is_the_exception_to_the_zero(foreign):
    loaded, _ = foreign({**LORA, "LoRA_type": "Flux1", "flux1_checkbox": True, "model_type": "chroma",
                         "guidance_scale": 0, "ae": "x.safetensors"})  # fmt: skip
    assert loaded.args["guidance_scale"] == 0
    assert loaded.args["apply_t5_attn_mask"] is True


def test_keys_of_another_lora_type_are_not_passed(foreign):
    loaded, setup = foreign({**LORA, "conv_dim": 8, "factor": 4, "rank_dropout": 0.1})
    assert loaded.args["network_args"] == ["rank_dropout=0.1"]
    assert "another LoRA type than Standard" in told(setup, "conv_dim")


def test_the_type_decides_the_module_and_its_arguments(foreign):
    loaded, _ = foreign({**LORA, "LoRA_type": "Kohya LoCon", "conv_dim": 8, "conv_alpha": 4, "loraplus_lr_ratio": 16})
    assert loaded.args["network_module"] == "networks.lora"
    assert loaded.args["network_args"] == ["conv_dim=8", "conv_alpha=4", "loraplus_lr_ratio=16"]


def test_percent_of_warmup_is_a_share_and_steps_go_first(foreign):
    assert foreign({**LORA, "lr_warmup": 10})[0].args["lr_warmup_steps"] == 0.1
    assert foreign({**LORA, "lr_warmup": "10", "lr_warmup_steps": 50})[0].args["lr_warmup_steps"] == 50


def test_an_epoch_counts_only_where_no_steps_are_said(foreign):
    assert foreign({**LORA, "epoch": "7", "max_train_steps": ""})[0].args["max_train_epochs"] == 7
    loaded, setup = foreign({**LORA, "epoch": 7, "max_train_steps": 200})
    assert "max_train_epochs" not in loaded.args
    assert "did not count" in told(setup, "epoch")


def test_a_rate_of_zero_is_one_part_only(foreign):
    only_unet = foreign({**LORA, "text_encoder_lr": 0, "unet_lr": 1e-4})[0].args
    assert only_unet["network_train_unet_only"] is True
    assert "text_encoder_lr" not in only_unet
    assert foreign({**LORA, "text_encoder_lr": 1e-5, "unet_lr": 0})[0].args["network_train_text_encoder_only"] is True


def test_keys_with_the_models_name_are_the_trainers(foreign):
    loaded, _ = foreign({**LORA, "sd3_checkbox": True, "sd3_clip_l": "l.safetensors", "clip_g": "g.safetensors",
                         "sd3_cache_text_encoder_outputs": True, "flux1_cache_text_encoder_outputs_to_disk": True,
                         "discrete_flow_shift": 3})  # fmt: skip
    assert loaded.recipe.components["clip_l"].endswith("l.safetensors")
    assert loaded.args["cache_text_encoder_outputs"] is True
    assert "cache_text_encoder_outputs_to_disk" not in loaded.args
    assert loaded.args["network_module"] == "networks.lora_sd3"


def test_prompts_in_the_form_become_samples(foreign):
    text = "# comment\na cat --w 512\n\na dog"
    loaded, _ = foreign({**LORA, "sample_prompts": text, "sample_every_n_epochs": 1})
    assert loaded.recipe.samples.prompts == ("a cat --w 512", "a dog")
    assert loaded.args["sample_every_n_epochs"] == 1


def test_additional_parameters_are_read_last(foreign):
    loaded, _ = foreign({**LORA, "additional_parameters": '--learning_rate="3e-4" --zero_terminal_snr --no_such'})
    assert loaded.args["learning_rate"] == 0.0003
    assert loaded.args["zero_terminal_snr"] is True


def test_variables_in_a_foreign_file_are_only_text(foreign):
    loaded, _ = foreign({**LORA, "metadata_description": "{{ env.HOME }} {a|b}", "output_name": "my [v1] 猫"})
    assert loaded.findings == ()
    assert loaded.args["metadata_description"] == "{{ env.HOME }} {a|b}"
    assert loaded.recipe.name == "my [v1] 猫"
