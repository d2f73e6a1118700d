"""What there is to choose from: the options of the trainers, the families, and what comes nearest to what none does."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kohya_runner.engines import table
from kohya_runner.engines.arguments import OWNED
from kohya_runner.engines.support import Support
from kohya_runner.engines.table import all_scripts, info_of, options_for, user_settings
from kohya_runner.errors import UsageError
from kohya_runner.install.checkout import find_trainer
from kohya_runner.options.modules import parsed
from kohya_runner.options.script_options import Option, ScriptOptions
from kohya_runner.tables import read_table
from kohya_runner.text import did_you_mean


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
    checkout = _checkouts(sd_scripts)
    default = checkout.get(table.DEFAULT.name)
    known = all_scripts(default)
    chosen = _script(words[0] if words else None, known)
    names = (chosen,) if chosen else known
    by_script = {name: options_for(name, default if info_of(name).default else None) for name in names}
    wanted = tuple(word.lstrip("-").lower().replace("-", "_") for word in words[chosen is not None :])
    rows = _rows(by_script, wanted, checkout)
    if not rows:
        first = options_for(chosen or "sdxl_train_network.py", default)
        raise UsageError(f"no option holds '{' '.join(wanted)}'", hint=first.advice(wanted[0] if wanted else ""))
    return rows


def _checkouts(sd_scripts: str | None) -> dict[str, Path]:
    """The engines' checkouts that are here: only they hold the help texts."""
    found = {}
    for info in table.INFOS.values():
        option = sd_scripts if info.default else None
        checkout, _ = find_trainer(os.environ, user_settings(os.environ), sd_scripts=option, engine=info)
        if checkout is not None:
            found[info.name] = checkout.root
    return found


def _script(text: str | None, known: tuple[str, ...]) -> str | None:
    """``sdxl_train_network`` is as good as ``sdxl_train_network.py``; so is a family's name."""
    if text is None:
        return None
    row = table.find(text, "lora")
    return next((name for name in (text, f"{text}.py") if name in known), row.script if row else None)


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
    rows = []
    for _, (option, names) in sorted(holders.items()):
        default = "" if option.default is None or option.kind == "switch" else str(option.default)
        owned, said = OWNED.get(option.name, "").replace("{value}", "..."), helps.get(option.where, "")
        rows.append(OptionRow(option.name, _takes(option), default, tuple(names), option.where, owned, said))
    named = [row for row in rows if all(word in row.name.lower() for word in words)]
    spoken = [word.replace("_", " ") for word in words]
    return tuple(named or (row for row in rows if all(word in row.help.lower() for word in spoken)))


_PLAIN = {
    "str": "text", "int": "whole number", "float": "number", "path": "path", "bool": "true or false",
    "int_or_float": "steps, a fraction below 1, or N%", "whole_or_float": "steps, a fraction below 1, or N%",
}  # fmt: skip


def _takes(option: Option) -> str:
    if option.choices:
        return " | ".join(str(c) for c in option.choices if c is not None)
    return f"list of {_PLAIN[option.type]}" if option.kind == "many" else _PLAIN[option.type]


class ModelRow(NamedTuple):
    """One family with one method, and how far it is supported."""

    family: str
    method: str
    title: str
    state: str  # supported | stand-in | not by a recipe yet | not available upstream
    detail: str


NOT_YET = "not by a recipe yet"


def models(family: str | None = None) -> tuple[ModelRow, ...]:
    """The rows of the table, then what comes near to what people ask for, then what upstream has nothing for.

    Raises:
        UsageError: there is no such family.
    """
    if family is not None and family not in table.families():
        other = table.other_family(family)
        what = f"{other[0]}, {other[1]}" if other else "not supported"
        raise UsageError(f"{family}: {what}", hint=did_you_mean(family, table.families()))
    scripts = (", ".join(filter(None, (row.script, row.network_module))) for row in table.FAMILIES)
    ready = tuple(
        ModelRow(row.family, row.method, row.title, "supported", f"{script}; {row.recipe}")
        for row, script in zip(table.FAMILIES, scripts, strict=True)
    )
    never = tuple(
        ModelRow(name, method, _title(name), "not available upstream", reason)
        for (name, method), reason in table.ABSENT.items()
    )
    yet = tuple(ModelRow(name, "lora", title, NOT_YET, why) for name, (title, why) in table.OTHERS.items())
    return tuple(row for row in (*ready, *yet, *never, *substitutes()) if family in (None, row.family))


def _title(family: str) -> str:
    return next((row.title for row in table.FAMILIES if row.family == family), family)


INPAINT, ANIMA = "inpaint", "anima"
FILL = ("fill", INPAINT, "inpainting")
"""What a recipe may call the training of an inpainting model."""

_TEXTS: Mapping[str, Any] = read_table(Path(__file__).with_name("catalogue.toml"))
_FILL, _EDIT = _TEXTS["fill"], _TEXTS["edit"]
EDIT = "instruct_pix2pix"
EDITORS = ("edit", "controls")
"""Data of the methods that edit by instruction themselves."""
STAND_IN = _EDIT["stand_in"]


def refusal(family: str, method: str, table: Iterable[Support]) -> tuple[str, str]:
    """Why a method cannot be had with a family, and what to write instead; ("", "") where nothing is known of it."""
    if method in FILL:
        own = any(row.key == (family, INPAINT) for row in table)
        hint = _FILL["hints"].get(family, _FILL["hint"])
        return ("it has another name here", f"write method: {INPAINT}") if own else (_no_fill(family), hint)
    if method == EDIT:
        return _editing(family, tuple(table))
    return "", ""


def _no_fill(family: str) -> str:
    return str(_FILL["reasons"].get(family, _FILL["other"]))


def _editing(family: str, table: tuple[Support, ...]) -> tuple[str, str]:
    own = next((row.method for row in table if row.family == family and row.data in EDITORS), "")
    if own:
        return f"this family edits by method: {own}", f"write method: {own}"
    stand_ins = [row.method for row in table if row.family == family and row.data == "pairs"]
    if not stand_ins:
        return _EDIT["none"], "see: kohya-runner models"
    nearest = f"method: {' or '.join(stand_ins)} with the same dataset: {STAND_IN}"
    return f"{_EDIT['only_sd']}; the stand-in is {nearest}", f"write {nearest}"


def substitutes() -> Iterator[ModelRow]:
    """A row for every family: editing and filling where they are no method of its own."""
    rows, none = table.FAMILIES, "not available upstream"
    paired = {row.family for row in rows if row.data == "pairs"}
    editors = {row.family for row in rows if row.data in EDITORS}
    inpainting = {row.family for row in rows if row.method == INPAINT}
    for row in (row for row in rows if row.data == "pairs"):
        method, detail = f"{row.method} on edit pairs", f"{row.script}; {STAND_IN}"
        yield ModelRow(row.family, method, _title(row.family), "stand-in", detail)
    for name in (name for name in table.families() if name not in editors):
        state = "stand-in" if name in paired else none
        yield ModelRow(name, EDIT, _title(name), state, _editing(name, rows)[0])
    for name in (name for name in table.families() if name not in inpainting):
        yield ModelRow(name, INPAINT, _title(name), "stand-in" if name == ANIMA else none, _no_fill(name))


JAPANESE = 0x3000
"""Where the trainers' second language begins; it follows the first after a slash."""


def help_texts(root: Path, options: Iterable[Option]) -> dict[str, str]:
    """The help of each option by its place (``file:line``), where the checkout declares it there."""
    wanted = {option.where: option.flag for option in options if option.where}
    found: dict[str, str] = {}
    for name in {place.rpartition(":")[0] for place in wanted}:
        tree = parsed(root / name)
        for call in ast.walk(tree) if tree else ():
            if isinstance(call, ast.Call) and (place := f"{name}:{call.lineno}") in wanted:
                flags = [_text(argument) for argument in call.args]
                said = next((_text(k.value) for k in call.keywords if k.arg == "help"), "")
                if wanted[place] in flags:
                    first = next((n for n, sign in enumerate(said) if ord(sign) >= JAPANESE), None)
                    english = said if first is None else said[:first].rpartition(" / ")[0] or said
                    found[place] = " ".join(english.split())
    return found


def _text(node: ast.expr) -> str:
    """A text that is written down, also over several lines; the values of an f-string are left out."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case _:
            return ""
