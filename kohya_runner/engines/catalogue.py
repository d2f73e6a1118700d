"""What there is to choose from: the options of the trainers, and the families with their methods."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from kohya_runner.engines import substitutes, table
from kohya_runner.engines.arguments import OWNED
from kohya_runner.engines.table import all_scripts, info_of, options_for, user_settings
from kohya_runner.errors import UsageError
from kohya_runner.install.setup import find_trainer
from kohya_runner.options.snapshot import NOT_RUNNABLE
from kohya_runner.text import did_you_mean

if TYPE_CHECKING:
    from pathlib import Path

    from kohya_runner.engines.support import Support
    from kohya_runner.options.script_options import Option


class OptionRow(NamedTuple):
    """One option, as a line of the answer."""

    name: str
    takes: str
    default: str
    scripts: tuple[str, ...]
    where: str
    note: str  # which recipe key sets it, for those the runner owns


def options(script: str | None, word: str | None, sd_scripts: str | None) -> tuple[OptionRow, ...]:
    """Options by script and by a word in their name; a lone word that is no script is looked for in all of them.

    Raises:
        UsageError: no option of that script, or of any, holds the word.
    """
    checkout = _checkout(sd_scripts)
    known = all_scripts()
    chosen = _script(script, known)
    if chosen is None and script is not None and word is not None:
        raise UsageError(f"{script}: no such train script", hint=did_you_mean(script, known))
    wanted = word if chosen else script
    names = (chosen,) if chosen else tuple(s for s in known if s not in NOT_RUNNABLE)
    rows = _rows({name: options_for(name, checkout if info_of(name).default else None) for name in names}, wanted)
    if not rows:
        first = options_for(chosen or "sdxl_train_network.py", checkout)
        raise UsageError(f"no option holds '{wanted}'", hint=first.advice(wanted or ""))
    return rows


def _script(text: str | None, known: tuple[str, ...]) -> str | None:
    """``sdxl_train_network`` is as good as ``sdxl_train_network.py``; so is a family's name."""
    if text is None:
        return None
    if text in known or f"{text}.py" in known:
        return text if text in known else f"{text}.py"
    row = table.find(text, "lora")
    return row.script if row else None


def _rows(by_script: dict[str, Any], word: str | None) -> tuple[OptionRow, ...]:
    """One row per distinct declaration, with the scripts that have it."""
    holders: dict[tuple[str, str], tuple[Option, list[str]]] = {}
    plain = (word or "").lstrip("-").lower().replace("-", "_")
    for script, found in by_script.items():
        for name, option in found.items():
            if plain in name.lower():
                holders.setdefault((name, repr(option)), (option, []))[1].append(script)
    return tuple(_row(option, tuple(names)) for (_, (option, names)) in sorted(holders.items()))


def _row(option: Option, names: tuple[str, ...]) -> OptionRow:
    default = "" if option.default is None or option.kind == "switch" else str(option.default)
    return OptionRow(option.name, _takes(option), default, names, option.where, OWNED.get(option.name, ""))


def _takes(option: Option) -> str:
    if option.kind == "switch":
        return "true or false"
    if option.choices:
        return " | ".join(str(c) for c in option.choices if c is not None)
    word = {"str": "text", "int": "whole number", "float": "number", "path": "path",
            "int_or_float": "steps, a fraction below 1, or N%",
            "whole_or_float": "steps, a fraction below 1, or N%", "bool": "true or false"}[option.type]  # fmt: skip
    return f"list of {word}" if option.kind == "many" else word


def _checkout(option: str | None) -> Path | None:
    checkout, _ = find_trainer(os.environ, user_settings(os.environ), sd_scripts=option, engine=table.DEFAULT)
    return checkout.root if checkout else None


class ModelRow(NamedTuple):
    """One family with one method, and how far it is supported."""

    family: str
    method: str
    title: str
    state: str  # supported | stand-in | not available upstream
    detail: str


def models() -> tuple[ModelRow, ...]:
    """The rows of the table, then the pairs the trainer has nothing for, and what people ask for beside them."""
    ready = tuple(
        ModelRow(row.family, row.method, row.title, "supported", f"{_with_module(row)}; {row.recipe}")
        for row in table.FAMILIES
    )
    never = tuple(
        ModelRow(family, method, _title(family), "not available upstream", reason)
        for (family, method), reason in table.ABSENT.items()
    )
    others = tuple(
        ModelRow(row.family, row.method, _title(row.family), row.state, row.reason)
        for row in substitutes.substitutes(table.FAMILIES)
    )
    return ready + never + others


def _with_module(row: Support) -> str:
    return f"{row.script}, {row.network_module}" if row.network_module else row.script


def _title(family: str) -> str:
    return next((row.title for row in table.FAMILIES if row.family == family), family)
