"""A recipe's value becomes tokens that argparse reads back as that value, or a problem that says what to write."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from option_values import differs, recipe_args

from kohya_runner.engines.sd_scripts import SD_SCRIPTS
from kohya_runner.engines.table import options_for
from kohya_runner.options.script_options import Option, argparse_parser
from kohya_runner.options.snapshot import scripts
from kohya_runner.options.values import problem, tokens

SDXL = options_for("sdxl_train_network.py", None)
FULL = options_for("sdxl_train.py", None)
PARSERS = {script: argparse_parser(options_for(script, None), whole=False) for script in scripts(SD_SCRIPTS)}

EACH = "('kohya-runner sweep' trains with each)"


@pytest.mark.parametrize("script", scripts(SD_SCRIPTS))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_argparse_reads_back_what_the_recipe_said(script: str, data: st.DataObject) -> None:
    options = options_for(script, None)
    said = data.draw(recipe_args(options))
    argv = [token for name, value in said.items() for token in tokens(options[name], value)]
    read = vars(PARSERS[script].parse_args(argv))
    expected = {name: said.get(name) for name in options}
    assert [name for name, value in expected.items() if differs(options[name], value, read[name])] == []


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["-x", "--", "a=1", "5%"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=1500, deadline=None)
@given(script=st.sampled_from(scripts(SD_SCRIPTS)), data=st.data(), value=ANYTHING)
def test_what_has_no_problem_is_taken_by_the_parser(script: str, data: st.DataObject, value: Any) -> None:
    option = data.draw(st.sampled_from(options_for(script, None).rows))
    found = problem(option, value)
    if found is None:
        argv = tokens(option, value)
        PARSERS[script].parse_args([*argv, "--xformers"])
        assert "\0" not in "".join(argv).encode().decode()
    else:
        assert "write" in found


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("learning_rate", 1e-4, ("--learning_rate=0.0001",), id="small-float"),
        pytest.param("unet_lr", 5e-5, ("--unet_lr=0.00005",), id="smaller-float"),
        pytest.param("learning_rate", 1.2345678901234e-7, ("--learning_rate=1.2345678901234e-07",), id="long-float"),
        pytest.param("learning_rate", "1e-4", ("--learning_rate=0.0001",), id="number-in-quotes"),
        pytest.param("learning_rate", 1, ("--learning_rate=1",), id="int-for-a-float"),
        pytest.param("max_train_steps", 1600.0, ("--max_train_steps=1600",), id="whole-float-for-an-int"),
        pytest.param("network_dim", "32", ("--network_dim=32",), id="digits-for-an-int"),
        pytest.param("seed", 0, ("--seed=0",), id="zero"),
        pytest.param("caption_separator", "", ("--caption_separator=",), id="empty-text"),
        pytest.param("noise_offset", 0.0, ("--noise_offset=0.0",), id="zero-float"),
        pytest.param("seed", None, (), id="null"),
        pytest.param("xformers", True, ("--xformers",), id="switch-on"),
        pytest.param("xformers", False, (), id="switch-off"),
        pytest.param("caption_prefix", "-a b", ("--caption_prefix=-a b",), id="leading-dash"),
        pytest.param("training_comment", 'it\'s "it"', ('--training_comment=it\'s "it"',), id="quotes"),
        pytest.param("output_name", 123, ("--output_name=123",), id="number-for-a-text"),
        pytest.param("text_encoder_lr", 5e-5, ("--text_encoder_lr=0.00005",), id="one-of-many"),
        pytest.param("text_encoder_lr", [1e-4, 0], ("--text_encoder_lr", "0.0001", "0"), id="many"),
        pytest.param("text_encoder_lr", [], (), id="none-of-many"),
        pytest.param("base_weights_multiplier", [-0.5, 1], ("--base_weights_multiplier", "-0.5", "1"), id="negative"),
        pytest.param("resolution", 512, ("--resolution=512",), id="one-side"),
        pytest.param("resolution", [1024, 768], ("--resolution=1024,768",), id="two-sides"),
        pytest.param("resolution", "1024,1024", ("--resolution=1024,1024",), id="two-sides-as-text"),
        pytest.param("lr_warmup_steps", 100, ("--lr_warmup_steps=100",), id="steps"),
        pytest.param("lr_warmup_steps", 0, ("--lr_warmup_steps=0",), id="no-steps"),
        pytest.param("lr_warmup_steps", 0.05, ("--lr_warmup_steps=0.05",), id="fraction"),
        pytest.param("lr_decay_steps", "10%", ("--lr_decay_steps=10%",), id="percentage"),
        pytest.param("max_token_length", 225, ("--max_token_length=225",), id="int-choice"),
        pytest.param("network_args", {"conv_dim": 8}, ("--network_args=conv_dim=8",), id="one-pair"),
        pytest.param(
            "network_args",
            {"conv_dim": 8, "train_t5xxl": True, "in_dims": [4, 0, 4], "algo": None},
            ("--network_args", "conv_dim=8", "train_t5xxl=True", "in_dims=4,0,4"),
            id="pairs",
        ),
        pytest.param(
            "network_args",
            {"exclude_patterns": [r"a\d", "b"]},
            (r"--network_args=exclude_patterns=['a\\d', 'b']",),
            id="python-list",
        ),
        pytest.param(
            "network_args",
            {"network_reg_lrs": {".*attn.*": 1e-4, "mlp": 0.5}},
            ("--network_args=network_reg_lrs=.*attn.*=0.0001,mlp=0.5",),
            id="patterns-with-numbers",
        ),
        pytest.param(
            "optimizer_args",
            {"weight_decay": 0.01, "betas": [0.9, 0.99], "amsgrad": False},
            ("--optimizer_args", "weight_decay=0.01", "betas=0.9,0.99", "amsgrad=False"),
            id="optimizer",
        ),
        pytest.param("optimizer_args", {"milestones": [10]}, ("--optimizer_args=milestones=10,",), id="tuple-of-one"),
        pytest.param("optimizer_args", ["eps=1e-8"], ("--optimizer_args=eps=1e-8",), id="pairs-as-list"),
        pytest.param("optimizer_args", "eps=1e-8", ("--optimizer_args=eps=1e-8",), id="one-pair-as-text"),
    ],
)
def test_a_value_becomes_these_tokens(name: str, value: Any, expected: tuple[str, ...]) -> None:
    assert problem(SDXL[name], value) is None
    assert tokens(SDXL[name], value) == expected


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        pytest.param("xformers", "yes", "is a switch and got 'yes'; write true", id="switch-text"),
        pytest.param("xformers", 1, "is a switch and got '1'; write true", id="switch-number"),
        pytest.param("seed", 1.5, "'1.5' is not a whole number; write one, such as 1 or 2", id="fraction-for-an-int"),
        pytest.param("seed", True, "true is not a whole number; write one, such as 1", id="bool-for-an-int"),
        pytest.param("seed", "0x10", "'0x10' is not a whole number; write one, such as 1", id="hex"),
        pytest.param("learning_rate", "fast", "'fast' is not a number; write one, such as 0.0001", id="word"),
        pytest.param(
            "learning_rate", float("nan"), "'nan' is not a number to train with; write a finite number", id="nan"
        ),
        pytest.param(
            "learning_rate", float("inf"), "'inf' is not a number to train with; write a finite number", id="inf"
        ),
        pytest.param("learning_rate", "nan", "'nan' is not a number; write one, such as 0.0001", id="nan-text"),
        pytest.param(
            "learning_rate", "1e999", "'inf' is not a number to train with; write a finite number", id="overflow"
        ),
        pytest.param(
            "learning_rate",
            [1e-4],
            "takes one value and got a list ('kohya-runner sweep' trains with each); write 0.0001",
            id="list",
        ),
        pytest.param(
            "caption_separator",
            True,
            "takes a text and got true; write 'true' in quotes if that is the text",
            id="bool-for-a-text",
        ),
        pytest.param(
            "caption_prefix", "--", "'--' ends the options for the trainer's parser; write something else", id="--"
        ),
        pytest.param(
            "caption_prefix", "a\0b", "holds a character that no command line can; write it without", id="nul"
        ),
        pytest.param("save_precision", "fp32", "'fp32' is not what the trainer calls it; write float", id="fp32"),
        pytest.param("mixed_precision", False, "false is not what the trainer calls it; write 'no'", id="no-as-bool"),
        pytest.param(
            "loss_type",
            "hubert",
            "'hubert' is none of the choices (l1, l2, huber, smooth_l1); write huber",
            id="choice",
        ),
        pytest.param(
            "max_token_length",
            200,
            "'200' is none of the choices; write one of: 150, 225, or null",
            id="int-choice",
        ),
        pytest.param("resolution", "512x768", "the trainer does not read '512x768'; write 512,768", id="x"),
        pytest.param(
            "resolution",
            [512, 512, 512],
            "'512,512,512' is not a resolution; write 1024, or width,height such as 1024,768",
            id="three-sides",
        ),
        pytest.param(
            "lr_warmup_steps", 1.0, "1.0 could be one step or all of them; write 1 or '100%'", id="one-point-0"
        ),
        pytest.param("lr_warmup_steps", 100.0, "the trainer refuses 100.0; write 100", id="hundred-point-0"),
        pytest.param(
            "lr_warmup_steps",
            1.5,
            "'1.5' is not a number of steps; "
            "write a number of steps (100), a fraction below 1 (0.05) or a percentage ('5%')",
            id="one-and-a-half",
        ),
        pytest.param(
            "lr_decay_steps",
            "150%",
            "150% is more than all of the steps; "
            "write a number of steps (100), a fraction below 1 (0.05) or a percentage ('5%')",
            id="more-than-all",
        ),
        pytest.param(
            "base_weights",
            ["a", "-b"],
            "the trainer would take '-b' for an option; write it without the leading '-'",
            id="dash-among-many",
        ),
        pytest.param(
            "optimizer_args",
            {"name": "foo"},
            "name: the trainer reads 'foo' as a Python value and it is none; write name: \"'foo'\"",
            id="no-literal",
        ),
        pytest.param(
            "optimizer_args",
            ["weight_decay"],
            "'weight_decay' is no 'key=value'; write {key: value}",
            id="no-pair",
        ),
        pytest.param(
            "optimizer_args",
            ["a=b=c"],
            "a: the trainer allows no second '=' in 'a=b=c'; write a=VALUE",
            id="second-equals-sign",
        ),
        pytest.param(
            "network_args",
            {"enable_conv": False},
            "enable_conv: the trainer takes any text for yes, 'False' too; leave enable_conv out",
            id="no-means-yes",
        ),
        pytest.param("base_weights", {"a": 1}, "takes a list and got a mapping; write [first, second]", id="mapping"),
    ],
)
def test_a_wrong_value_says_what_to_write(name: str, value: Any, says: str) -> None:
    assert problem(SDXL[name], value) == says


@pytest.mark.parametrize("value", [-1, "-1", -0.5, "-5%", True, [1], float("nan"), "ten"])
def test_negative_and_senseless_steps_are_refused(value: Any) -> None:
    assert problem(SDXL["lr_warmup_steps"], value) is not None


def test_block_learning_rates_are_counted() -> None:
    assert problem(FULL["block_lr"], [1e-4] * 23) is None
    assert problem(FULL["block_lr"], [1e-4] * 22) == (
        "needs 23 learning rates, one per block of the U-Net; write a list of them"
    )


def test_a_fixed_number_of_values_is_checked() -> None:
    pair = Option("size", ("--size",), "many", "int", nargs=2)
    assert tokens(pair, [1, 2]) == ("--size", "1", "2")
    assert problem(pair, [1]) == "takes 2 values and got 1; write a list of 2"
