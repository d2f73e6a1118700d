"""Set-ups of other programs through the real parser, and a real LoRA's header back into the recipe that trained it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from foreign_files import CASES, case_files, different, expected, recipe_of, training_tokens
from planned_recipes import ROOT

from kohya_runner.engines.table import options_for
from kohya_runner.importing.paths import Places
from kohya_runner.importing.reading import classify, read
from kohya_runner.importing.recipe import writer
from kohya_runner.options.script_options import argparse_parser
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Request

WORKER = Path(__file__).with_name("live_parsers.py")
WHOLE = [path.name for path in sorted(CASES.iterdir()) if "flags" in expected(path.name)]


@pytest.mark.daily
def test_the_real_parser_reads_what_each_set_up_had(odd_path, planned, sd_scripts, trainer_python):
    asked: dict[str, dict[str, Any]] = {}
    for case in WHOLE:
        output = odd_path / f"{case}.yaml"
        recipe_of(output, *case_files(case))
        asked[case] = {"script": expected(case)["script"], "argv": training_tokens(planned(output))}
    scripts = sorted({request["script"] for request in asked.values()})
    done = subprocess.run(
        [str(trainer_python), str(WORKER), str(sd_scripts), *scripts],
        input="".join(json.dumps(request) + "\n" for request in asked.values()),
        cwd=sd_scripts, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for case, line in zip(WHOLE, done.stdout.splitlines(), strict=True):
        options = options_for(asked[case]["script"], None)
        defaults = {name: list(o.default) if isinstance(o.default, tuple) else o.default for name, o in options.items()}
        assert different(json.loads(line)["read"], defaults, expected(case)["flags"]) == {}


NOT_IN_A_HEADER = {
    "cache_latents_to_disk", "lr_scheduler_num_cycles", "max_data_loader_n_workers", "sdpa", "tokenizer_cache_dir",
}  # fmt: skip
"""Of the quickstart's options."""


@pytest.mark.full
def test_the_header_of_a_real_lora_gives_its_options_back(odd_path, sd_scripts, trainer_python):
    recipe = ROOT / "recipes" / "quickstart.yaml"
    command = ["kohya_runner", "launch", str(recipe), "--workspace", str(odd_path / "ws"), "--json"]
    environ = {"KOHYA_RUNNER_SD_SCRIPTS": str(sd_scripts), "KOHYA_RUNNER_PYTHON": str(trainer_python)}
    subprocess.run([sys.executable, "-m", *command], env={**os.environ, **environ}, capture_output=True, check=True)
    lora = next((odd_path / "ws" / "runs").glob("quickstart/*/output/quickstart.safetensors"))
    output = odd_path / "back.yaml"
    setup = read([classify(lora, lora.read_bytes()[:16])])
    output.write_text(writer(setup, Places(lora.parent, odd_path)).text("back.yaml"))

    def options(path: Path) -> dict[str, Any]:
        plan = make_plan(Request(path, workspace=str(odd_path / "other"), elsewhere=True))
        parser = argparse_parser(options_for("train_network.py", None), whole=False)
        return vars(parser.parse_args(training_tokens(plan)))

    before, after = options(recipe), options(output)
    paths = {
        "pretrained_model_name_or_path",
        "train_data_dir",
        "output_dir",
        "output_name",
        "logging_dir",
        "log_prefix",
    }
    lost = {name: (before[name], after[name]) for name in before if before[name] != after[name] and name not in paths}
    assert lost.keys() == NOT_IN_A_HEADER, lost
