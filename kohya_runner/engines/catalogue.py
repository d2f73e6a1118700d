"""What there is to choose from: the options of the trainers, and the families with their methods."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from kohya_runner.engines import substitutes, table
from kohya_runner.engines.arguments import OWNED
from kohya_runner.engines.table import all_scripts, info_of, options_for, user_settings
from kohya_runner.errors import UsageError
from kohya_runner.install.setup import find_trainer
from kohya_runner.options.help_texts import help_texts
from kohya_runner.options.snapshot import NOT_RUNNABLE
from kohya_runner.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kohya_runner.engines.support import Support
    from kohya_runner.options.script_options import Option, ScriptOptions


class OptionRow(NamedTuple):
    """One option, as a line of the answer."""

    name: str
    takes: str
    default: str
    scripts: tuple[str, ...]
    where: str
    note: str  # which recipe key sets it, for those the runner owns
    help: str = ""  # what the checkout says of it; "" without a checkout


def options(words: tuple[str, ...], sd_scripts: str | None) -> tuple[OptionRow, ...]:
    """Options whose name holds all the words, else those whose help does; the first word may be a script or a family.

    Raises:
        UsageError: no option of that script, or of any, holds the words.
    """
    known = all_scripts()
    chosen = _script(words[0] if words else None, known)
    names = (chosen,) if chosen else tuple(s for s in known if s not in NOT_RUNNABLE)
    checkout = _checkouts(names, sd_scripts)
    default = checkout.get(table.DEFAULT.name)
    by_script = {name: options_for(name, default if info_of(name).default else None) for name in names}
    wanted = tuple(word.lstrip("-").lower().replace("-", "_") for word in words[chosen is not None :])
    rows = _rows(by_script, wanted, checkout)
    if not rows:
        first = options_for(chosen or "sdxl_train_network.py", default)
        raise UsageError(f"no option holds '{' '.join(wanted)}'", hint=first.advice(wanted[0] if wanted else ""))
    return rows


def _checkouts(scripts: tuple[str, ...], sd_scripts: str | None) -> dict[str, Path]:
    """The checkouts that are here of the engines of these scripts: only they hold the help texts."""
    found = {}
    for info in {info.name: info for info in map(info_of, scripts)}.values():
        option = sd_scripts if info.default else None
        checkout, _ = find_trainer(os.environ, user_settings(os.environ), sd_scripts=option, engine=info)
        if checkout is not None:
            found[info.name] = checkout.root
    return found


def _script(text: str | None, known: tuple[str, ...]) -> str | None:
    """``sdxl_train_network`` is as good as ``sdxl_train_network.py``; so is a family's name."""
    if text is None:
        return None
    if text in known or f"{text}.py" in known:
        return text if text in known else f"{text}.py"
    row = table.find(text, "lora")
    return row.script if row else None


def _rows(
    by_script: Mapping[str, ScriptOptions], words: tuple[str, ...], checkouts: Mapping[str, Path]
) -> tuple[OptionRow, ...]:
    """One row per distinct declaration, with the scripts that have it."""
    holders: dict[tuple[str, str], tuple[Option, list[str]]] = {}
    for script, found in by_script.items():
        for name, option in found.items():
            holders.setdefault((name, repr(option)), (option, []))[1].append(script)
    helps: dict[str, str] = {}
    for engine, root in checkouts.items():
        own = (option for option, scripts in holders.values() if info_of(scripts[0]).name == engine)
        helps |= help_texts(root, own)
    rows = [_row(option, tuple(names), helps.get(option.where, "")) for _, (option, names) in sorted(holders.items())]
    named = [row for row in rows if all(word in row.name.lower() for word in words)]
    spoken = [word.replace("_", " ") for word in words]
    return tuple(named or (row for row in rows if all(word in row.help.lower() for word in spoken)))


def _row(option: Option, names: tuple[str, ...], said: str) -> OptionRow:
    default = "" if option.default is None or option.kind == "switch" else str(option.default)
    owned = OWNED.get(option.name, "").replace("{value}", "...")
    return OptionRow(option.name, _takes(option), default, names, option.where, owned, said)


def _takes(option: Option) -> str:
    if option.kind == "switch":
        return "true or false"
    if option.choices:
        return " | ".join(str(c) for c in option.choices if c is not None)
    word = {"str": "text", "int": "whole number", "float": "number", "path": "path",
            "int_or_float": "steps, a fraction below 1, or N%",
            "whole_or_float": "steps, a fraction below 1, or N%", "bool": "true or false"}[option.type]  # fmt: skip
    return f"list of {word}" if option.kind == "many" else word


class ModelRow(NamedTuple):
    """One family with one method, and how far it is supported."""

    family: str
    method: str
    title: str
    state: str  # supported | stand-in | not available upstream
    detail: str


def models(family: str | None = None) -> tuple[ModelRow, ...]:
    """The rows of the table, then what comes near to what people ask for, then what upstream has nothing for.

    Raises:
        UsageError: there is no such family.
    """
    if family is not None and family not in table.families():
        raise UsageError(f"{family}: not supported", hint=did_you_mean(family, table.families()))
    ready = tuple(
        ModelRow(row.family, row.method, row.title, "supported", f"{_with_module(row)}; {row.recipe}")
        for row in table.FAMILIES
    )
    never = tuple(
        ModelRow(name, method, _title(name), "not available upstream", reason)
        for (name, method), reason in table.ABSENT.items()
    )
    others = tuple(
        ModelRow(row.family, row.method, _title(row.family), row.state, row.reason)
        for row in substitutes.substitutes(table.FAMILIES)
    )
    return tuple(row for row in ready + never + others if family in (None, row.family))


def _with_module(row: Support) -> str:
    return f"{row.script}, {row.network_module}" if row.network_module else row.script


def _title(family: str) -> str:
    return next((row.title for row in table.FAMILIES if row.family == family), family)
