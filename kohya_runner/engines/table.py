"""The engines, and what follows from all of them together: every family, every script, every key of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.engine_info import EngineInfo
from kohya_runner.engines.diffusers import DiffusersEngine
from kohya_runner.engines.musubi import MusubiEngine
from kohya_runner.engines.protocol import Engine
from kohya_runner.engines.sd_scripts import SdScriptsEngine
from kohya_runner.engines.support import Converter, Support
from kohya_runner.options import snapshot
from kohya_runner.options.script_options import ScriptOptions
from kohya_runner.settings import UserSettings, read_settings

if TYPE_CHECKING:
    from kohya_runner.engines.painting import Base, ClassPainter, Painter

ENGINES: Mapping[str, Engine] = {
    "sd-scripts": SdScriptsEngine(),
    "musubi-tuner": MusubiEngine(),
    "diffusers": DiffusersEngine(),
}
"""By name, as ``Support.engine`` and ``setup --engine`` say it."""

INFOS: Mapping[str, EngineInfo] = {name: engine.INFO for name, engine in ENGINES.items()}
DEFAULT = next(info for info in INFOS.values() if info.default)
"""What ``setup`` makes and ``doctor`` looks at without being asked for another."""

FAMILIES: tuple[Support, ...] = tuple(row for engine in ENGINES.values() for row in engine.FAMILIES)
"""Every family with every method that is supported."""
ABSENT: Mapping[tuple[str, str], str] = {
    pair: reason for engine in ENGINES.values() for pair, reason in engine.ABSENT.items()
}
"""Pairs of family and method that upstream has no script for, with the reason."""

CONVERTERS: Mapping[str, tuple[EngineInfo, Converter]] = {
    family: (engine.INFO, row) for engine in ENGINES.values() for family, row in engine.CONVERTERS.items()
}
"""By family, what makes its LoRAs readable for ComfyUI, and whose script that is."""

OTHERS: Mapping[str, tuple[str, str]] = {
    family: (title, f"trained by {engine.INFO.name}, not by a recipe here yet")
    for engine in ENGINES.values()
    for family, title in engine.OTHERS.items()
}
"""Families that a trainer knows and no recipe of ours: title, and what to say of them."""

SETTINGS = tuple(key for info in INFOS.values() for key in info.settings)
"""The keys of the settings file that name trainers and their Pythons."""

_OWNERS = {script: info for info in INFOS.values() for script in info.scripts}


def info_of(script: str) -> EngineInfo:
    """The engine a train script belongs to: no two engines have one of the same name."""
    return _OWNERS.get(script, DEFAULT)


def user_settings(environ: Mapping[str, str]) -> UserSettings:
    """What the settings file says. Raises ``UsageError`` (``settings.py``)."""
    return read_settings(environ, SETTINGS)


def families() -> tuple[str, ...]:
    """The families a recipe may name, in table order."""
    return tuple(dict.fromkeys(row.family for row in FAMILIES))


def other_family(name: str) -> tuple[str, str] | None:
    """What is said of a family without a recipe, however it is written: ``Wan2.2``, ``hidream-o1``."""
    said = _plain(name)
    return next((told for family, told in OTHERS.items() if said.startswith(_plain(family))), None)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def methods(family: str) -> tuple[str, ...]:
    return tuple(row.method for row in FAMILIES if row.family == family)


def find(family: str, method: str) -> Support | None:
    return next((row for row in FAMILIES if row.key == (family, method)), None)


def class_painters() -> tuple[ClassPainter, ...]:
    return tuple(row for engine in ENGINES.values() for row in engine.class_painters())


def painters() -> tuple[Painter, ...]:
    return tuple(row for engine in ENGINES.values() for row in engine.painters())


def painter_of(base: Base) -> Painter | None:
    """What paints with a base model; None where no script of a trainer does."""
    return next((found for engine in ENGINES.values() if (found := engine.painter(base)) is not None), None)


def options_for(
    script: str, checkout: Path | None, cache: Path | None = None, *, write_cache: bool = False
) -> ScriptOptions:
    """The options of one train script of any engine (``options/snapshot.py``)."""
    return snapshot.engine_options(info_of(script), script, checkout, cache, write_cache=write_cache)


def all_scripts(checkout: Path | None = None) -> tuple[str, ...]:
    """The train scripts of every engine; ``checkout`` is one of the default engine's."""
    return tuple(s for info in INFOS.values() for s in snapshot.scripts(info, checkout if info.default else None))
