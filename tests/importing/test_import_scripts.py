"""Scripts of three shells, notebooks and pasted lines: literal values are followed, computed ones named."""

from __future__ import annotations

import json

import pytest
from foreign_files import foreign, told

from kohya_runner.errors import RecipeError

__all__ = ["foreign"]


ARGS = "--optimizer_args weight_decay=0.1"
FORMS = {
    "sh": "python train_network.py --seed 7 --learning_rate=1e-3 @ARGS 'betas=0.9, 0.99'",
    "pasted": "$ python train_network.py --seed 7 --learning_rate=1e-3 @ARGS \\\n 'betas=0.9, 0.99'",
    "sh array": """LR=1e-3
S=${SEED:-7}
ARGS=(--seed $S
  # no
  @ARGS "betas=0.9, 0.99")
accelerate launch train_network.py "${ARGS[@]}" --learning_rate="$LR" 2>&1 | tee log""",
    "sh if": """V=0
if [[ $V == 1 ]]; then X=(--v2); else X=(--seed 7); fi
python train_network.py ${X[@]} --learning_rate=1e-3 @ARGS 'betas=0.9, 0.99'""",
    "bat": """@echo off
set LR=1e-3
set "S=7"
REM x
python.exe C:\\sd\\train_network.py ^
 --seed %S% ^
 --learning_rate=%lr% @ARGS "betas=0.9, 0.99"
""",
    "ps1": """$lr = 1e-3
$a = @("--seed", 7)
$multi = 0
if ($multi) { $a += "--v2" }
& python ./train_network.py @a `
  --learning_rate=$lr @ARGS "betas=0.9, 0.99"
""",
    "notebook": json.dumps({"cells": [
        {"cell_type": "code", "source": ["lr = 1e-3 #@param\n", "seed = 7\n"]},
        {"cell_type": "code", "source": "%cd x\n!python train_network.py --seed {seed} \\\n --learning_rate=$lr "
                                        "@ARGS 'betas=0.9, 0.99'"},
    ]}),
}  # fmt: skip
"""One command in every form."""


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_one_command_in_every_form(foreign, text):
    loaded, setup = foreign(text.replace("@ARGS", ARGS))
    assert setup.script == "train_network.py"
    assert loaded.findings == ()
    found = {name: loaded.args.get(name) for name in ("seed", "learning_rate", "optimizer_args", "v2")}
    assert found == {"seed": 7, "learning_rate": 0.001, "optimizer_args": ["weight_decay=0.1", "betas=0.9, 0.99"],
                     "v2": None}  # fmt: skip


@pytest.mark.parametrize("sign", ["`", "\\"], ids=["ps1", "sh"])
def test_a_comment_in_a_continuation_ends_the_command(foreign, sign):
    loaded, setup = foreign(f"python train_network.py {sign}\n --seed 7 {sign}\n # --v2 {sign}\n --flip_aug {sign}\n")
    assert loaded.args["seed"] == 7
    assert "flip_aug" not in loaded.args
    assert "--flip_aug: " in told(setup, "cut off")


def test_what_trains_without_pictures_gets_no_datasets(foreign):
    loaded, _ = foreign("python sdxl_train_leco.py --prompts_file=p.yaml --seed 7")
    assert (loaded.findings, loaded.recipe.datasets) == ((), ())


def test_what_is_computed_is_named_and_left_open(foreign):
    loaded, setup = foreign("STEPS=$((10*3))\npython train_network.py --seed 7 --max_train_steps=$STEPS --clip_skip $C")
    assert "max_train_steps" not in loaded.args
    assert "left open" in told(setup, "max_train_steps")
    assert "$C" in told(setup, "clip_skip")


def test_lists_that_grow_and_conditions_of_powershell_are_followed(foreign):
    loaded, _ = foreign("""$ext = [System.Collections.ArrayList]::new()
$v2 = 0
$opt = "Lion"
if ($v2) { [void]$ext.Add("--v2") } else { [void]$ext.Add("--clip_skip=2") }
if ($opt) {
  [void]$ext.Add("--optimizer_type=" + $opt)
}
python train_network.py `
  --seed 7 $ext
""")
    assert {"seed": 7, "clip_skip": 2, "optimizer_type": "Lion"}.items() <= loaded.args.items()
    assert "v2" not in loaded.args


def test_a_default_that_a_shell_gives_a_variable_holds_from_then_on(foreign):
    assert foreign(': "${LR:=2e-4}"\npython train_network.py --learning_rate $LR')[0].args["learning_rate"] == 0.0002


def test_an_abbreviation_is_the_option_that_the_trainer_takes_it_for(foreign):
    assert foreign("python train_network.py --max_train_ep 3")[0].args["max_train_epochs"] == 3


def test_what_the_parser_refuses_is_told(foreign):
    loaded, setup = foreign("python train_network.py --seed x --no_such 1 --max_token_length=75")
    assert not {"seed", "max_token_length"} & loaded.args.keys()
    assert "refuses" in told(setup, "seed")
    assert "no --no_such" in told(setup, "no_such")


def test_secrets_and_variables_of_the_environment_are_named_only(foreign, odd_path):
    _, setup = foreign(
        "export HF_TOKEN=hf_abcdefghijklmnopqrst\npython train_network.py --huggingface_token hf_aaaaaaaaaaaaaaaaaaaa"
    )
    text = (odd_path / "recipe.yaml").read_text(encoding="utf-8")
    assert "hf_" not in text
    assert set(setup.secrets.values()) == {"HF_TOKEN"}


def test_a_file_without_a_training_command_is_refused(foreign):
    with pytest.raises(RecipeError, match="no training command"):
        foreign("echo hello\n")
