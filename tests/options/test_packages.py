"""Names and parameters are read from the trainer's sources and from packages as installed; nothing is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.engines import table
from kohya_runner.engines.arguments import ParsedOptions
from kohya_runner.engines.rule_context import Context, evaluate
from kohya_runner.engines.rules_page import RULES
from kohya_runner.engines.table import options_for
from kohya_runner.options.optimizers import read_optimizers
from kohya_runner.options.packages import Packages, scheduler_arguments

NEXT_COMMIT = """
import torch
from futures.optimization import SchedulerType, TYPE_TO_SCHEDULER_FUNCTION
from others.optimization import SchedulerType as OtherType

def get_optimizer(args, params):
    optimizer_type = args.optimizer_type.lower()
    if optimizer_type == "Next".lower():
        import futures as fu
        optimizer_class = fu.Next
        optimizer = optimizer_class(params, lr=lr, extra=True, **kwargs)
    elif optimizer_type.startswith("two") or optimizer_type == "One".lower():
        if optimizer_type.startswith("two"):
            if optimizer_type == "TwoA".lower() or optimizer_type == "TwoB".lower():
                optimizer_class = futures.TwoA
        else:
            try:
                optimizer_class = futures.One
            except AttributeError:
                raise AttributeError("old")

def get_scheduler_fix(args, optimizer, num_processes):
    if name == OtherType.STAIRS.value:
        return schedule_func(optimizer, **kwargs)
    if name == SchedulerType.FLAT:
        return wrap(schedule_func(optimizer, **kwargs))
    if name == SchedulerType.WAVE or name == SchedulerType.HILL:
        return schedule_func(optimizer, num_warmup_steps=1, **kwargs)
    return schedule_func(optimizer, num_warmup_steps=1, num_decay_steps=2, **kwargs)
"""
FUTURES = {
    "__init__.py": "raise SystemExit('imported')\nfrom .inner import Next\nfrom . import inner as deep\n",
    "inner.py": """
from .base import Base
class Next(Base):
    pass
class Free:
    def __init__(self, params, **kwargs): ...
""",
    "base.py": "class Base:\n    def __init__(self, params, *, lr, extra=False, betas=(0.9, 0.99)): ...\n",
    "optimization.py": """
from .kinds import SchedulerType
def flat(optimizer, last_epoch=-1): ...
def wave(optimizer, num_warmup_steps, height=1): ...
def steep(optimizer, num_warmup_steps): ...
TYPE_TO_SCHEDULER_FUNCTION = {SchedulerType.FLAT: flat, SchedulerType.WAVE: wave, SchedulerType.STEEP: steep}
""",
    "kinds.py": """
class SchedulerType(str):
    FLAT = "flat"
    WAVE = "wave"
    STEEP = "steep"
""",
    "broken.py": "def (:",
}  # fmt: skip


def write(root: Path, files: dict[str, str]) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def packages(tmp_path: Path) -> Packages:
    return Packages({"futures": str(write(tmp_path / "odd place" / "futures", FUTURES))})


def test_the_optimizers_of_a_checkout_with_their_classes_and_what_it_passes_itself(tmp_path: Path):
    write(tmp_path / "library", {"new_home.py": NEXT_COMMIT, "broken.py": "def get_optimizer(:"})
    optimizers, schedulers = read_optimizers(tmp_path)
    assert optimizers == {
        "Next": ("futures.Next", "lr", "extra"), "One": ("futures.One", "lr"),
        "TwoA": ("futures.TwoA", "lr"), "TwoB": ("futures.TwoA", "lr"),
    }  # fmt: skip
    assert schedulers["futures.optimization.SchedulerType.HILL"] == ("num_warmup_steps",)
    assert schedulers["others.optimization.SchedulerType.STAIRS"] == ()
    assert schedulers[""] == ("num_warmup_steps", "num_decay_steps")


def test_a_class_is_found_through_imports_and_its_base(packages: Packages):
    assert packages.takes("futures.Next") == (("params", "lr", "extra", "betas"), ("params", "lr"), False)
    assert packages.takes("futures.deep.Free") == (("params",), ("params",), True)


@pytest.mark.parametrize("name", ["futures.Nothing", "futures.broken.Class", "futures.inner.Next.more", "absent.Class"])
def test_what_cannot_be_read_is_not_known(packages: Packages, name: str):
    assert packages.takes(name) is None


def test_a_scheduler_that_does_not_take_what_the_trainer_passes_fails(tmp_path: Path, packages: Packages):
    write(tmp_path / "library", {"train_util.py": NEXT_COMMIT})
    _, passed = read_optimizers(tmp_path)
    assert scheduler_arguments(passed, packages) == {"flat": ("last_epoch",), "wave": ("height",), "steep": None}


def found(options, given):
    row = table.find("sd15", "lora")
    assert row is not None
    return {f.code: f for f in evaluate(Context(ParsedOptions(options, given), row), RULES)}


def test_a_checkout_without_the_functions_refuses_no_name(tmp_path: Path):
    script = "import argparse\ndef setup_parser():\n    parser = argparse.ArgumentParser()\n"
    script += "".join(
        f'    parser.add_argument("--{n}", type=str, default=None)\n' for n in ("optimizer_type", "lr_scheduler")
    )
    write(tmp_path, {"train_network.py": script + "    return parser\n"})
    said = found(options_for("train_network.py", tmp_path), {"optimizer_type": "Anything", "lr_scheduler": "any"})
    assert not {"args.optimizer_unknown", "args.scheduler_unknown", "args.scheduler_broken"} & said.keys()


def test_arguments_of_a_class_of_any_package_are_judged_where_it_is_installed(packages: Packages):
    from dataclasses import replace

    options = replace(options_for("train_network.py", None), packages=packages)
    given = {"optimizer_type": "futures.Next", "optimizer_args": ["beta=(0.9,0.99)"], "network_module": "networks.lora"}
    finding = found(options, given)["args.optimizer_args"]
    assert "did you mean 'betas'?" in finding.message
    given["optimizer_args"] = ["betas=(0.9,0.99)"]
    assert "args.optimizer_args" not in found(options, given)
    unknown = replace(options, packages=Packages())
    assert "args.optimizer_args" not in found(unknown, {**given, "optimizer_args": ["beta=1"]})


def test_a_torch_that_was_seen_has_no_class_of_a_later_one():
    assert "Muon" in Packages().classes("torch.optim")
    assert "Muon" not in Packages(same=("torch",)).classes("torch.optim")
    assert "Optimizer" not in Packages().classes("torch.optim")


def test_the_launcher_takes_options_and_no_script():
    rows = Packages().launcher()
    assert all(row.flag.startswith("--") for row in rows.values())
    assert {"use_deepspeed", "use_fsdp", "fsdp_sharding_strategy", "zero_stage", "gpu_ids"} <= rows.keys()
    assert "FULL_SHARD" in (rows["fsdp_sharding_strategy"].choices or ())


def test_both_pins_know_what_they_always_knew():
    options = options_for("train_network.py", None)
    assert len(options.optimizers) == 23
    known = scheduler_arguments(options.schedulers, Packages())
    assert known["cosine_with_min_lr"] == ("last_epoch", "min_lr")
    assert [name for name, takes in known.items() if takes is None] == [
        "reduce_lr_on_plateau",
        "cosine_warmup_with_min_lr",
    ]
    assert known["piecewise_constant"] == ("step_rules", "last_epoch")
