"""Options, rules' lines and names on both commits: what is read from the sources against what the real code does.

python -m pytest tests/engine/test_names_engine.py --tier full -s
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kohya_runner.engines import table
from kohya_runner.engines.anchors import Sources
from kohya_runner.engines.anchors import table as anchors
from kohya_runner.engines.arguments import ParsedOptions
from kohya_runner.engines.rule_context import Context, evaluate
from kohya_runner.engines.rules_page import RULES
from kohya_runner.engines.sd_scripts import SD_SCRIPTS as SD
from kohya_runner.install.probe import probe
from kohya_runner.options.packages import LAUNCHER, Packages, scheduler_arguments
from kohya_runner.options.script_options import ScriptOptions
from kohya_runner.options.snapshot import engine_options, train_scripts

pytestmark = pytest.mark.full

HERE = Path(__file__).parent
ROOTS = (
    "torch", "transformers", "diffusers", "accelerate", "bitsandbytes", "lion_pytorch", "prodigyopt", "schedulefree",
    "dadaptation", "prodigyplus", "pytorch_optimizer",
)  # fmt: skip
FORETOLD = {"args.optimizer_unknown", "args.optimizer_unfit", "args.scheduler_unknown", "args.scheduler_broken"}
WRONG = (
    "AdamWW", "adamw8", "lion8", "Prodgy", "SGDNestero", "adam", "Adammax", "DAdaptX", "Adafactr", "radam", "", "8bit",
)  # fmt: skip
PACKAGES = (
    "prodigyplus.ProdigyPlusScheduleFree", "pytorch_optimizer.CAME", "torch.optim.NAdam", "bitsandbytes.optim.AdEMAMix",
)  # fmt: skip


@pytest.fixture(scope="module", params=["pinned", "other"])
def checkout(request: pytest.FixtureRequest) -> Path:
    root: Path = request.getfixturevalue("sd_scripts" if request.param == "pinned" else "other_sd_scripts")
    return root


@pytest.fixture(scope="module")
def packages(trainer_python: Path) -> Packages:
    told = probe(trainer_python, tuple(f"import:{name}" for name in ROOTS)).packages
    return Packages({name: place for name in ROOTS if (place := told[f"import:{name}"])})


def tell(counts: str) -> None:
    print(f"\n{counts}")  # noqa: T201 - shown with -s


def asked(python: Path, script: str, *words: str, given: object = None) -> dict:
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        (str(python), str(HERE / script), *words), input=json.dumps(given), check=True, capture_output=True, text=True,
        env=environ,
    )  # fmt: skip
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def options(checkout: Path, packages: Packages) -> ScriptOptions:
    return replace(engine_options(SD, "train_network.py", checkout), packages=packages)


@pytest.fixture(scope="module")
def real(checkout: Path, options: ScriptOptions, packages: Packages, trainer_python: Path) -> dict:
    names = [name.swapcase() for name in options.optimizers]
    exact = packages.classes("torch.optim")
    schedulers = scheduler_arguments(options.schedulers, packages)
    made = {row[0] for row in options.optimizers.values()} | {f"torch.optim.{name}" for name in exact} | set(PACKAGES)
    made |= {f"torch.optim.lr_scheduler.{name}" for name in packages.classes("torch.optim.lr_scheduler")}
    made |= {row[1] for row in packages.schedulers("transformers.optimization.SchedulerType").values()}
    given = {
        "optimizers": [*options.optimizers, *names, *exact, *PACKAGES, *WRONG],
        "schedulers": [*schedulers, "cosin", "step", "warmup", "CONSTANT"],
        "classes": sorted(made),
    }  # fmt: skip
    return asked(trainer_python, "names_child.py", str(checkout), given=given)


def said(options: ScriptOptions, given: dict) -> set[str]:
    row = table.find("sd15", "lora")
    assert row is not None
    full = {"network_module": "networks.lora", "learning_rate": 1.0, **given}
    context = Context(ParsedOptions(options, full), row, checkout=options.checkout)
    return {finding.code for finding in evaluate(context, [rule for rule in RULES if rule.code in FORETOLD])}


def test_every_option_of_every_script(checkout: Path, trainer_python: Path):
    scripts = train_scripts(checkout, SD)
    live = asked(trainer_python, "all_parsers_child.py", str(checkout), *scripts)
    count, dead = 0, {script: row for script, row in live.items() if isinstance(row, str)}
    assert len(dead) <= 1, dead
    for script in live.keys() - dead.keys():
        read = engine_options(SD, script, checkout)
        have = {name: [list(o.flags), list(o.choices) if o.choices else None, o.default] for name, o in read.items()}
        for name, row in live[script].items():
            default = have[name][2]
            assert [have[name][0], have[name][1]] == row[:2], (script, name)
            assert (list(default) if isinstance(default, tuple) else default) == row[2], (script, name)
        assert have.keys() == live[script].keys(), script
        count += len(have)
    tell(f"{checkout}: {len(live) - len(dead)} scripts, {count} options; not imported: {dead}")


def test_every_name_of_an_optimizer_has_the_fate_that_is_foretold(options: ScriptOptions, real: dict):
    known = {name.lower() for name in options.optimizers}
    counts = {"works": 0, "refused": 0, "package missing": 0}
    for name, fate in real["optimizers"].items():
        refused = bool(said(options, {"optimizer_type": name} if name else {}))
        if fate.startswith(("ImportError", "ModuleNotFoundError")) or name in ("LBFGS", "SparseAdam"):
            counts["package missing"] += 1  # or made, and failing at its first step
            assert refused is (name.lower() not in known and "." not in name), (name, fate)
        else:
            assert refused is bool(fate), (name, fate)
            counts["refused" if fate else "works"] += 1
    tell(f"{options.checkout}: optimizers {counts}")
    assert counts["works"] > 30
    assert counts["refused"] >= 8


def test_every_name_of_a_scheduler_has_the_fate_that_is_foretold(options: ScriptOptions, real: dict):
    works = 0
    for name, fate in real["schedulers"].items():
        given = {"lr_scheduler": name, "lr_scheduler_args": ["step_rules='1:10,0.1'"] if "piece" in name else None}
        assert bool(said(options, given)) is bool(fate), (name, fate)
        works += not fate
    tell(f"{options.checkout}: schedulers {works} work, {len(real['schedulers']) - works} do not")
    assert works >= 10


def test_what_a_class_takes_is_what_its_signature_says(checkout: Path, packages: Packages, real: dict):
    known = {name: signature for name, signature in real["classes"].items() if signature is not None}
    for name, signature in known.items():
        takes = packages.takes(name)
        assert takes is not None, name
        assert list(takes.names) == signature, name
    tell(f"{checkout}: {len(known)} signatures")
    assert len(known) > 50


def test_the_options_of_the_launcher(packages: Packages, real: dict):
    read, live = packages.launcher(), real["launcher"]
    left = {name for name, (kind, _) in live.items() if name not in read}
    assert left == {"vm", "env", "fp8_override_linear_precision", "training_script", "training_script_args"}
    for name, option in read.items():
        kind, choices = live[name]
        assert (option.kind == "switch") is (kind != "_StoreAction"), name
        if choices:
            assert list(option.choices or ()) == choices, name
    tell(f"accelerate: {len(read)} options of {len(live)} ({LAUNCHER})")


def test_the_lines_of_nearly_every_rule_are_there(checkout: Path):
    sources = Sources(checkout)
    rows = [(code, a) for code, scripts in anchors()[SD.name].items() for found in scripts.values() for a in found]
    lost = {code for code, anchor in rows if sources.find(anchor) is None}
    rules = len({code for code, _ in rows})
    tell(f"{checkout}: {len(rows)} lines of {rules} rules, {len(lost)} not applied: {sorted(lost)}")
    assert len(lost) < rules / 10
