"""A made-up next commit of a trainer: what it changed is told, and what it brought is known at once."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from kohya_runner.commands.cli import main
from kohya_runner.engines import table
from kohya_runner.engines.anchors import anchors
from kohya_runner.engines.arguments import ParsedOptions
from kohya_runner.engines.rule_context import Context, evaluate
from kohya_runner.engines.rules_page import RULES
from kohya_runner.engines.sd_scripts import SD_SCRIPTS
from kohya_runner.engines.table import options_for
from kohya_runner.engines.upstream import compare, lines, sources
from kohya_runner.errors import UsageError

MOVED, CHANGED, GONE = (anchors("sd-scripts", f"args.{name}")[0] for name in (
    "adaptive_noise_scale", "scheduler_unknown", "optimizer_unfit"))  # fmt: skip
SCRIPT = """
import argparse
def setup_parser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--network_module", type=str, default=None)
    parser.add_argument("--network_args", type=str, default=None, nargs="*")
    parser.add_argument("--adaptive_noise_scale", type=float, default=None)
    parser.add_argument("--noise_offset", type=float, default=None)
    parser.add_argument("--seed", type=int, default={offset})
    parser.add_argument("--{third}", type=int, default=1)
    return parser
"""
NETWORK = """
def create_network(multiplier, network_dim, network_alpha, vae, text_encoder, unet, **kwargs):
    conv_dim = kwargs.get("conv_dim", None)
    if conv_dim is not None:
        conv_dim = {conv}(conv_dim)
    {more}
    return None
"""


CHOOSES = """
def get_optimizer(args, params):
    if optimizer_type == "{name}".lower():
        optimizer_class = torch.optim.AdamW
"""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def line(anchor, above: int = 0) -> str:
    return "#\n" * above + f"def {anchor.function}(a):\n    # {anchor.text}\n    pass\n"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return write(tmp_path / "old", {
        "train_network.py": SCRIPT.format(offset=None, third="old_option"),
        "library/train_util.py": CHOOSES.format(name="Kept"),
        "networks/lora.py": NETWORK.format(conv="int", more="pass"),
        MOVED.file: line(MOVED),
        CHANGED.file: line(CHANGED) + line(GONE),
    })  # fmt: skip


@pytest.fixture
def new(tmp_path: Path, old: Path) -> Path:
    root = tmp_path / "new"
    shutil.copytree(old, root)
    (root / MOVED.file).unlink()
    return write(root, {
        "train_network.py": SCRIPT.format(offset=7, third="new_option"),
        "train_next.py": SCRIPT.format(offset=None, third="another"),
        "networks/lora.py": NETWORK.format(conv="float", more='kwargs.get("gate")'),
        "networks/lora_next.py": NETWORK.format(conv="int", more='kwargs["rank_of_it"]'),
        "library/train_util.py": CHOOSES.format(name="Came"),
        "library/moved.py": line(MOVED, above=3),
        CHANGED.file: f"def {CHANGED.function}(a):\n    pass\n",
    })  # fmt: skip


def test_what_came_what_went_and_what_reads_otherwise_is_told(old: Path, new: Path):
    found = compare(str(old), str(new), SD_SCRIPTS)
    assert found["scripts"] == {"added": ["train_next.py"], "removed": [], "unreadable": []}
    assert [row["name"] for row in found["options"]["added"] if row["new"]] == ["another", "new_option"]
    assert [row["name"] for row in found["options"]["removed"]] == ["old_option"]
    assert [(row["name"], row["what"]) for row in found["options"]["changed"]] == [("seed", "default None -> 7")]
    assert found["networks"] == {
        "added": ["networks.lora_next"], "removed": [],
        "changed": {"networks.lora": {"added": ["gate"], "removed": [], "kinds": {"conv_dim": "int -> float"}}},
    }  # fmt: skip
    assert found["optimizers"] == {"added": ["Came"], "removed": ["Kept"]}
    places = {kind: {row["code"] for row in rows} for kind, rows in found["anchors"].items()}
    assert "args.adaptive_noise_scale" in places["moved"]
    assert "args.scheduler_unknown" in places["changed"]
    assert "args.adaptive_noise_scale" not in places["changed"] | places["vanished"]
    told = "\n".join(lines(found))
    assert "- option added: new_option: int, default 1 [train_network.py]" in told
    assert "- networks.lora: added gate; conv_dim int -> float" in told
    json.dumps(found)


def test_what_the_next_commit_brought_is_known_at_once(new: Path):
    options = options_for("train_network.py", new)
    assert "new_option" in options
    assert "old_option" not in options
    assert options.networks["networks.lora_next"] == {"conv_dim": "int", "rank_of_it": "text"}
    row = table.find("sd15", "lora")
    assert row is not None
    assert options.optimizers == {"Came": ("torch.optim.AdamW", "lr")}
    given = {"network_module": "networks.lora_next", "network_args": ["rank_of_its=3"], "adaptive_noise_scale": 0.1}
    said = {f.code: f.message for f in evaluate(Context(ParsedOptions(options, given), row, checkout=new), RULES)}
    assert "args.network_module_unknown" not in said
    assert "args.network_module_family" not in said
    assert "(library/moved.py:5)" in said["args.adaptive_noise_scale"]


def test_a_module_that_the_checkout_has_not_is_unknown(old: Path, new: Path):
    assert "networks.lora_next" not in options_for("train_network.py", old).networks


def test_a_commit_of_a_repository_is_as_good_as_a_folder(old: Path, new: Path, tmp_path: Path):
    def git(*words: str) -> str:
        named = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ("git", "-C", str(old), *named, *words)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "one")
    first = git("rev-parse", "HEAD")
    by_commit = compare(f"{old}@{first}", str(new), SD_SCRIPTS)
    by_folder = compare(str(old), str(new), SD_SCRIPTS)
    assert {**by_commit, "old": ""} == {**by_folder, "old": ""}
    with pytest.raises(UsageError, match="0000000"), sources(f"{old}@0000000"):
        pass


def test_a_folder_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(UsageError, match="no such folder"), sources(str(tmp_path / "none")):
        pass


def test_the_command_prints_a_list_or_one_object(old: Path, new: Path):
    def run(*words: str):
        return CliRunner().invoke(main, words)

    shown = run("upstream", str(old), str(new))
    assert shown.exit_code == 0, shown.output
    assert "- scripts added: train_next.py" in shown.stdout
    assert json.loads(run("upstream", str(old), str(new), "--json").stdout)["version"] == 1
