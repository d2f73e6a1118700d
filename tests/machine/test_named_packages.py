"""Packages that a value names are looked for before the launch, and nothing of them is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kohya_runner.engines.sd_scripts import SD_SCRIPTS
from kohya_runner.install.probe import probe
from kohya_runner.machine.checks import named_packages, recipe_packages
from kohya_runner.machine.device_checks import MachineNeeds, TrainerFacts, named_modules
from kohya_runner.machine.host import HostFacts

LYCORIS = {"network_module": "lycoris.kohya"}


def found(args, versions, checkout=None):
    needs = MachineNeeds("sd15", args=args, places={"network_module": "recipe.yaml:3:1"})
    trainer = TrainerFacts(Path("/venv/bin/python"), checkout, versions=versions, engine=SD_SCRIPTS)
    return list(named_packages(needs, HostFacts.__new__(HostFacts), trainer))


@pytest.mark.parametrize(
    ("args", "modules"),
    [
        (LYCORIS, {"lycoris": "network_module"}),
        ({"network_module": "networks.lokr", "optimizer_type": "AdamW8bit", "lr_scheduler_type": "StepLR"}, {}),
        ({"optimizer_type": "prodigyplus.ProdigyPlusScheduleFree"}, {"prodigyplus": "optimizer_type"}),
        ({"optimizer_type": "torch.optim.AdamW", "lr_scheduler_type": "mine.Schedule"}, {"mine": "lr_scheduler_type"}),
        ({"attn_mode": "flash", "deepspeed": True}, {"flash_attn": "attn_mode", "deepspeed": "deepspeed"}),
        ({"report_to": "comet_ml", "use_deepspeed": True}, {"comet_ml": "report_to", "deepspeed": "use_deepspeed"}),
        ({"attn_mode": "xformers", "report_to": "tensorboard"}, {"xformers": "attn_mode"}),
        ({"attn_mode": "torch", "deepspeed": False, "network_module": None}, {}),
    ],
)
def test_a_value_names_the_module_that_is_imported_by_name(args, modules):
    assert named_modules(args) == modules


def test_a_module_that_is_not_there_is_an_error_with_the_install_line():
    (finding,) = found(LYCORIS, {"import:lycoris": None})
    assert (finding.code, finding.where) == ("trainer.package", "recipe.yaml:3:1")
    assert finding.hint == "run /venv/bin/python -m pip install lycoris-lora"


def test_a_package_of_the_recipe_is_told_once_and_with_the_version_that_is_there():
    needs = MachineNeeds("sd15", args=LYCORIS, packages=("lycoris-lora==4.1.3", "prodigyopt==1.0"))
    versions = {"import:lycoris": None, "lycoris-lora": None, "prodigyopt": "1.1.2"}
    trainer = TrainerFacts(Path("/venv/bin/python"), None, versions=versions, engine=SD_SCRIPTS)
    host = HostFacts.__new__(HostFacts)
    first, second = recipe_packages(needs, host, trainer)
    assert "launch.packages: lycoris-lora==4.1.3 is not in the trainer's Python" in first.message
    assert second.message.endswith("prodigyopt==1.0 is not in the trainer's Python, which has 1.1.2")
    assert "setup --recipe" in first.hint
    assert list(named_packages(needs, host, trainer)) == []


def test_a_module_of_no_known_package_is_told_as_that():
    (finding,) = found({"network_module": "lycorris.kohya"}, {"import:lycorris": None})
    assert "lycorris" in finding.hint
    assert "correct the name" in finding.hint


@pytest.mark.parametrize("versions", [{"import:lycoris": ""}, {}])
def test_a_module_that_is_there_or_was_not_looked_for_is_no_finding(versions):
    assert found(LYCORIS, versions) == []


def test_a_module_of_the_checkout_itself_is_there(tmp_path: Path):
    (tmp_path / "lycoris.py").touch()
    assert found(LYCORIS, {"import:lycoris": None}, tmp_path) == []


def test_the_real_python_is_asked_without_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "loud_module.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    facts = probe(Path(sys.executable), ("import:json", "import:no_such_module_of_all", "import:loud_module"))
    assert str(facts.packages["import:json"]).endswith("/json")
    assert facts.packages["import:loud_module"] == str(tmp_path / "loud_module.py")
    assert facts.packages["import:no_such_module_of_all"] is None
