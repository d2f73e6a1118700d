"""The commands: import writes and plans, export prints what needs no runner, plan names what is no recipe."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner
from foreign_files import case_files, recipe_of, told
from PIL import Image
from safetensors_files import lora

from kohya_runner.commands.cli import main
from kohya_runner.errors import RecipeError
from kohya_runner.importing.script import shell_script
from kohya_runner.recipe.load import load


@pytest.fixture
def run(odd_path, monkeypatch):
    """The command line in a folder of its own."""
    monkeypatch.chdir(odd_path)
    monkeypatch.setenv("KOHYA_WORKSPACE", str(odd_path / "ws"))
    return lambda *words, text=None: CliRunner().invoke(main, words, input=text)


def test_import_writes_a_recipe_and_plans_it(run, odd_path):
    found = run("import", *map(str, case_files("05")), "-o", "made.yaml")
    assert "wrote made.yaml: a script, sdxl_train_network.py" in found.stderr
    assert "max_resolution" in found.stderr
    assert (odd_path / "made.yaml").is_file()
    assert found.exit_code in (4, 6)  # the pictures are not here
    again = run("import", *map(str, case_files("05")), "-o", "made.yaml")
    assert again.exit_code == 2
    assert "is left as it is" in again.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [((".",), ". is a folder"), (("gone.json",), "no such file"), (("-", "--map", "E:"), "is not OLD=NEW")],
)
def test_what_cannot_be_imported_is_told(run, words, said):
    found = run("import", *words, text="python train_network.py --seed 7\n")
    assert (found.exit_code, said in found.stderr) == (2, True), found.stderr


def test_a_pasted_command_is_read_from_standard_input(run, odd_path):
    run("import", "-", "-o", "made.yaml", text="python train_network.py --seed 7 --resolution 64\n")
    assert "seed: 7" in (odd_path / "made.yaml").read_text()


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.json", json.dumps({"LoRA_type": "Standard", "network_dim": 4, "train_data_dir": "x"}), "kohya_ss GUI"),
        ("a.ipynb", json.dumps({"cells": []}), "a notebook"),
        ("a.toml", "[x]\nnetwork_dim = 4\n", "a TOML file"),
        ("a.bat", "@echo off\nset A=1\n", "a shell script"),
        ("a.ps1", "$a = 1\n", "a shell script"),
        ("a.yaml", "compute_environment: LOCAL_MACHINE\ndebug: false\n", "a configuration of accelerate"),
        ("a.safetensors", "x", "a safetensors file"),
    ],
)
def test_plan_of_another_programs_file_names_its_kind_and_the_import(run, odd_path, name, content, kind):
    (odd_path / name).write_text(content)
    found = run("plan", name)
    assert found.exit_code == 3
    told = " ".join((found.stdout + found.stderr).split())
    assert kind in told
    assert f"kohya-runner import {name}" in told


@pytest.mark.parametrize("processes", [1, 2])
def test_export_prints_a_script_whose_folders_a_shell_makes(odd_path, planned, pictures, processes):
    folder = pictures(2, (64, 64))
    (odd_path / "r.yaml").write_text(
        "name: it (s) [a]\nfamily: sd15\nmodel: a/b\nargs: {resolution: 64}\n"
        "samples: {prompts: [a cat], every_n_epochs: 1}\n"
        f"datasets: [{{images: {json.dumps(str(folder))}, concept: o w, repeats: 3}}]\n"
        f"launch: {{num_processes: {processes}}}\n"
    )
    plan = planned(odd_path / "r.yaml")
    text = shell_script(plan)
    assert "kohya_runner" not in text
    (odd_path / "python3").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"; env | grep ^PET_\n:\n")
    (odd_path / "python3").chmod(0o755)
    script = text.replace(f"\ncd {shlex.quote(str(plan.command.cwd))}\n", "\n")
    env = {**os.environ, "PATH": f"{odd_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], cwd=odd_path, env=env, capture_output=True, text=True, check=True)
    tokens = done.stdout.splitlines()
    assert "--output_name=it (s) [a]" in tokens
    data = next(Path(one.partition("=")[2]) for one in tokens if one.startswith("--train_data_dir="))
    assert {one.name for one in (data / "3_o w").iterdir()} == {one.name for one in folder.iterdir()}
    prompts = next(Path(one.partition("=")[2]) for one in tokens if one.startswith("--sample_prompts="))
    assert prompts.read_text() == "a cat\n"
    assert "--sample_every_n_epochs=1" in tokens
    launcher = [Path(one.partition("=")[2]) for one in tokens if one.startswith("--config_file=")]
    assert [file.name for file in launcher if file.is_file()] == ["accelerate.yaml"] * (processes - 1)
    assert ("PET_STANDALONE=1" in tokens) == (processes == 2)


def test_a_vae_among_the_components_is_the_option(odd_path, planned):
    (odd_path / "pics").mkdir()
    Image.new("RGB", (64, 64)).save(odd_path / "pics" / "a.png")
    (odd_path / "r.yaml").write_text(
        "name: a\nfamily: sdxl\nmodel: a/b\ncomponents: {vae: my/vae}\nargs: {resolution: 64}\n"
        "datasets: [{images: pics, concept: a, captions: none}]\n"
    )
    plan = planned(odd_path / "r.yaml")
    assert plan.command is not None
    assert "--vae=my/vae" in plan.command.argv


def test_an_imported_recipe_carries_no_consent(run, odd_path):
    script = "python train_network.py --resolution 64 --log_with wandb --huggingface_repo_id me/x"
    run("import", "-", "-o", "made.yaml", text=script)
    found = json.loads(run("plan", "made.yaml", "--elsewhere", "--json").stdout)
    trusted = [one["message"] for one in found["findings"] if one["code"] == "recipe.trust"]
    assert any("log_with" in one for one in trusted)
    assert any("huggingface_repo_id" in one for one in trusted)


SAID = {
    "ss_base_model_version": "sd_v1", "ss_output_name": "mine", "ss_network_module": "networks.lora",
    "ss_network_dim": "16", "ss_network_alpha": "8.0", "ss_network_args": '{"conv_dim": "8"}',
    "ss_learning_rate": "0.0001",
    "ss_text_encoder_lr": "[1e-05, 2e-05]", "ss_resolution": "(512, 768)", "ss_batch_size_per_device": "2",
    "ss_num_epochs": "3", "ss_num_batches_per_epoch": "5", "ss_max_train_steps": "15", "ss_cache_latents": "True",
    "ss_optimizer": "bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1,betas=(0.9, 0.99))", "ss_clip_skip": "None",
    "ss_dataset_dirs": '{"3_ohwx": {"n_repeats": 3, "img_count": 4}}', "ss_sd_model_name": "base.safetensors",
}  # fmt: skip


def test_the_header_of_a_lora_is_a_recipe(odd_path):
    path = lora(odd_path / "a.safetensors", metadata=SAID)
    setup = recipe_of(odd_path / "r.yaml", path)
    loaded = load(odd_path / "r.yaml", environ={})
    assert loaded.findings == ()
    assert (loaded.recipe.name, loaded.recipe.family) == ("mine", "sd15")
    entry = loaded.recipe.datasets[0]
    assert (entry.concept, entry.repeats) == ("ohwx", 3)
    assert loaded.args == {
        "network_module": "networks.lora", "network_dim": 16, "network_alpha": 8.0, "network_args": ["conv_dim=8"],
        "learning_rate": 0.0001, "text_encoder_lr": [1e-05, 2e-05], "resolution": "512,768", "train_batch_size": 2,
        "max_train_epochs": 3, "cache_latents": True, "optimizer_type": "AdamW8bit",
        "optimizer_args": ["weight_decay=0.1", "betas=(0.9, 0.99)"], "save_precision": loaded.args["save_precision"],
    }  # fmt: skip
    assert "attention" in told(setup, "the header")


def test_a_lora_that_says_nothing_is_refused(odd_path):
    path = lora(odd_path / "a.safetensors", metadata={})
    with pytest.raises(RecipeError, match="does not say how it was trained"):
        recipe_of(odd_path / "r.yaml", path)
