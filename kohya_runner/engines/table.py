"""The engines, and what follows from all of them together: every family, every script, every key of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.engines.diffusers import families as diffusers
from kohya_runner.engines.musubi import families as musubi
from kohya_runner.engines.sd_scripts import families as sd_scripts
from kohya_runner.engines.sd_scripts.families import SD_SCRIPTS
from kohya_runner.options import lookup
from kohya_runner.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kohya_runner.engine_info import EngineInfo
    from kohya_runner.engines.painting import Base, Painter
    from kohya_runner.engines.support import Support
    from kohya_runner.options.script_options import ScriptOptions
    from kohya_runner.settings import UserSettings

INFOS: Mapping[str, EngineInfo] = {info.name: info for info in (SD_SCRIPTS, musubi.MUSUBI_TUNER, diffusers.DIFFUSERS)}
"""By name, as ``Support.engine`` and ``setup --engine`` say it."""
DEFAULT = next(info for info in INFOS.values() if info.default)
"""What ``setup`` makes and ``doctor`` looks at without being asked for another."""

FAMILIES: tuple[Support, ...] = (*sd_scripts.FAMILIES, *musubi.FAMILIES, *diffusers.FAMILIES)
"""Every family with every method that is supported."""
ABSENT: Mapping[tuple[str, str], str] = {**sd_scripts.ABSENT, **musubi.ABSENT}
"""Pairs of family and method that upstream has no script for, with the reason."""

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


def methods(family: str) -> tuple[str, ...]:
    """The methods of one family."""
    return tuple(row.method for row in FAMILIES if row.family == family)


def find(family: str, method: str) -> Support | None:
    """The row of a family and a method."""
    return next((row for row in FAMILIES if row.key == (family, method)), None)


def painters() -> tuple[Painter, ...]:
    """What paints with the families' base models."""
    from kohya_runner.engines.musubi import painter as musubi_painter  # a plan paints nothing, and loads neither
    from kohya_runner.engines.sd_scripts import painter as sd_scripts_painter

    return (*sd_scripts_painter.PAINTERS, *musubi_painter.PAINTERS)


def painter_of(base: Base) -> Painter | None:
    """What paints with a base model; None where no script of a trainer does."""
    from kohya_runner.engines.musubi import painter as musubi_painter
    from kohya_runner.engines.sd_scripts import painter as sd_scripts_painter

    return sd_scripts_painter.painter(base) or musubi_painter.painter(base)


def options_for(
    script: str, checkout: Path | None, cache: Path | None = None, *, write_cache: bool = False
) -> ScriptOptions:
    """The options of one train script of any engine (``options/lookup.py``)."""
    return lookup.engine_options(info_of(script), script, checkout, cache, write_cache=write_cache)


def all_scripts() -> tuple[str, ...]:
    """The train scripts of every engine."""
    return tuple(script for info in INFOS.values() for script in lookup.scripts(info))
