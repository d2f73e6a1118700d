"""Every option and every key that takes free text stands in the table of ``kohya_runner.plan.trust``."""

from __future__ import annotations

import re

import pytest

from kohya_runner.engines.table import INFOS
from kohya_runner.options.snapshot import shipped
from kohya_runner.plan.consent import GO_WITH, KEYS, OPTIONS, Effect, is_shipped
from kohya_runner.recipe.models import Recipe

TEXT = ("str", "path")
TELLING = re.compile(
    r"(^|_)(dir|path|file|folder|module|url|cache|upload|push|hub|huggingface|wandb|network|weights|log_with|report)(_|$)"
    r"|_(type|class)$|^(vae|resume|config|sample)"
)
HARMLESS_TYPES = {"bool", "int", "float", "int_or_float", "whole_or_float"}


def _options():
    for engine in INFOS.values():
        for script in shipped(engine).scripts.values():
            yield from script.rows


def test_every_option_that_takes_text_is_classed():
    free = {row.name for row in _options() if row.type in TEXT and row.kind != "switch" and not row.choices}
    assert free - OPTIONS.keys() == set()


def test_every_option_whose_name_speaks_of_a_path_a_module_or_the_network_is_classed():
    told = {row.name for row in _options() if TELLING.search(row.name) and not (row.choices and row.name != "log_with")}
    numbers = {row.name for row in _options() if row.type in {"int", "float", "int_or_float", "whole_or_float"}}
    switches = {row.name for row in _options() if row.kind == "switch"}
    speaking = re.compile(r"upload|push|hub|huggingface|wandb")
    silent = numbers | {name for name in switches if not speaking.search(name)}
    assert told - silent - OPTIONS.keys() == set()


def test_the_table_names_no_option_that_no_trainer_has():
    known = {row.name for row in _options()}
    assert {name for name in OPTIONS if name not in known} == set()
    assert GO_WITH.keys() | set(GO_WITH.values()) <= OPTIONS.keys()


def test_every_key_of_a_recipe_that_takes_text_is_classed():
    found = set()

    def walk(schema, path):
        if "$ref" in schema:
            schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
        for name, child in schema.get("properties", {}).items():
            walk(child, (*path, name))
        for child in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *filter(None, [schema.get("items")])):
            walk(child, path)
        if schema.get("type") == "string" and "enum" not in schema and "const" not in schema:
            found.add(".".join(path))

    root = Recipe.model_json_schema()
    walk(root, ())
    unclassed = {p for p in found if not any(p == key or p.startswith(f"{key}.") for key in KEYS)}
    assert unclassed == set()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("network_module", "networks.lora"), ("network_module", "networks.lora_flux_2"),
        ("network_module", "lycoris.kohya"), ("optimizer_type", "AdamW8bit"), ("optimizer_type", "prodigy"),
        ("optimizer_type", "prodigyplus.ProdigyPlusScheduleFree"), ("optimizer_type", "pytorch_optimizer.CAME"),
        ("optimizer_type", "prodigyplus.prodigy_plus_schedulefree.ProdigyPlusScheduleFree"),
        ("optimizer_type", "bitsandbytes.optim.AdEMAMix8bit"), ("optimizer_type", "torch.optim.sgd.SGD"),
        ("optimizer_type", "came_pytorch.CAME"), ("optimizer_type", "transformers.optimization.Adafactor"),
        ("lr_scheduler_type", "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts"),
        ("lr_scheduler_type", "CosineAnnealingLR"), ("lr_scheduler_type", ""),
    ],
)  # fmt: skip
def test_what_the_trainer_and_the_field_ship_needs_no_consent(option: str, value: str):
    assert is_shipped(option, value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("optimizer_type", "unittest.mock.Mock"), ("optimizer_type", "torch.hub.load"),
        ("optimizer_type", "torch.utils.cpp_extension.load"), ("optimizer_type", "torch.load"),
        ("optimizer_type", "torch.optim.optimizer.warnings.warn"), ("optimizer_type", "torch.optim.Adam\n"),
        ("optimizer_type", "pytorch_optimizer.load_optimizer"), ("optimizer_type", "pytorch_optimizer..X"),
        ("lr_scheduler_type", "timeit.timeit"), ("lr_scheduler_type", "torch.optim.lr_scheduler.partial"),
        ("lr_scheduler_type", "partial"), ("network_module", "antigravity"), ("network_module", "networksx.lora"),
        ("network_module", "networks"), ("network_module", "networks.lora;x"), ("vae", "networks.lora"),
    ],
)  # fmt: skip
def test_what_could_run_anything_needs_consent(option: str, value: str):
    assert not is_shipped(option, value)


def test_each_effect_is_used():
    assert {*OPTIONS.values(), *KEYS.values()} == set(Effect)
