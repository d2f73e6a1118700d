from __future__ import annotations

from pathlib import Path
from types import MappingProxyType

import pytest

from kohya_runner.engines.diffusers import rules as diffusers
from kohya_runner.engines.musubi import rules as musubi
from kohya_runner.engines.rule_context import Context
from kohya_runner.engines.rule_table import read_rules
from kohya_runner.engines.sd_scripts import rules as sd_scripts
from kohya_runner.engines.table import FAMILIES
from kohya_runner.tables import read_table

HEAD = '[args.one]\noptions = ["network_dim"]\nmessage = "{network_dim}"\nfix = "leave it out"\nmoment = "start"\n'
ROW = FAMILIES[0]


class Options:
    networks = MappingProxyType({})

    def __init__(self, **given):
        self.given = given

    def get(self, name):
        return self.given.get(name)

    def on(self, name):
        return self.given.get(name) is True


@pytest.fixture
def rule_of(odd_path):
    def read(when: str, conditions=None):
        (odd_path / "rules.toml").write_text(HEAD + when, encoding="utf-8")
        (rule,) = read_rules(odd_path / "rules.toml", conditions or {})
        return rule

    return read


@pytest.mark.parametrize(
    ("when", "broken", "kept"),
    [
        ("on = ['a', 'b']", {"a": True, "b": True}, {"a": True, "b": False}),
        ("off = ['a', 'b']", {}, {"a": True}),
        ("given = ['a', 'b']", {"a": 0, "b": 0}, {"a": 0}),
        ("absent = ['a', 'b']", {}, {"b": 0}),
        ("filled = ['a']", {"a": 1}, {"a": 0}),
        ("empty = ['a']", {"a": ""}, {"a": "text"}),
        ("equals = { a = ['not set', 1] }", {}, {"a": 2}),
        ("differs = { a = ['not set', 1] }", {"a": 2}, {}),
        ("above = { a = 1 }", {"a": 1.5}, {"a": 1}),
        ("below = { a = 1 }", {}, {"a": 1}),
        ("most = { a = 1 }", {"a": 1}, {"a": 2}),
        ("least = { a = 1 }", {"a": 1}, {"a": 0}),
        ("nonzero = ['a']", {"a": -1}, {"a": 0}),
        ("facts = ['caches_latents']", {"cache_latents": True}, {}),
        ("not_facts = ['caches_latents']", {}, {"cache_latents_to_disk": True}),
        ("modules = ['networks.oft']", {"network_module": "networks.oft"}, {}),
        ("on = ['a']\nwhen.off = ['b']", {"a": True}, {"a": True, "b": True}),
    ],
)
def test_a_condition_of_a_row(rule_of, when, broken, kept):
    rule = rule_of(f"when.{when}\n")
    assert rule.applies(Context(Options(**broken), ROW)) is True
    assert rule.applies(Context(Options(**kept), ROW)) is False


def test_a_script_is_asked_for_by_its_name(rule_of):
    assert rule_of(f"when.scripts = ['{ROW.script}']").applies(Context(Options(), ROW)) is True
    assert rule_of(f"when.not_scripts = ['{ROW.script}']").applies(Context(Options(), ROW)) is False


def test_options_that_are_listed_become_what_the_message_says(rule_of):
    context = Context(Options(a=1, b=True, c=False), ROW)
    assert rule_of("when.listed = ['a', 'b', 'x']").applies(context) == "a: 1, b: true"
    assert rule_of("when.listed_on = ['b', 'c']").applies(context) == "b: true"
    assert rule_of("when.listed = ['x']").applies(context) == ""


def test_a_row_without_when_has_its_condition_in_python(rule_of):
    assert rule_of("", {"one": lambda _: "it"}).applies(Context(Options(), ROW)) == "it"
    with pytest.raises(KeyError):
        rule_of("")


@pytest.mark.parametrize("key", ["when.of = ['a']", "familys = ['sdxl']"])
def test_a_key_that_nobody_reads_is_a_bug(rule_of, key):
    with pytest.raises((KeyError, TypeError)):
        rule_of(key)


def test_every_condition_in_python_is_the_one_of_a_row():
    modules = [module for module in (*vars(sd_scripts).values(), musubi, diffusers) if hasattr(module, "CONDITIONS")]
    own = [Path(module.__file__).with_name("rules.toml") for module in (musubi, diffusers)]
    files = [*Path(sd_scripts.__file__).parent.glob("*.toml"), *own]
    rows = [(name, row) for file in files for of in read_table(file).values() for name, row in of.items()]
    conditions = [name for module in modules for name in module.CONDITIONS]
    assert sorted(name for name, row in rows if "when" not in row) == sorted(conditions)
