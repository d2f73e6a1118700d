"""Which options a train script has: from the shipped snapshot where it holds, else from the checkout's own sources."""

from __future__ import annotations

import contextlib
from types import MappingProxyType
from typing import TYPE_CHECKING

from kohya_runner.errors import TrainerError
from kohya_runner.options.script_options import Option, ScriptOptions
from kohya_runner.options.snapshot import (
    Snapshot,
    decode,
    encode,
    fingerprint,
    read_what_can_be,
    shipped,
    train_scripts,
    unchanged,
)
from kohya_runner.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kohya_runner.engine_info import EngineInfo

__all__ = ["NOT_RUNNABLE", "Option", "ScriptOptions", "engine_options", "matches_snapshot", "scripts"]

NOT_RUNNABLE: Mapping[str, str] = MappingProxyType(
    {
        "train_textual_inversion_XTI.py": "it cannot be imported with the trainer's own requirements: XTI_hijack.py:6 "
        "needs diffusers.models.unet_2d_condition, which the pinned diffusers has no more",
    }
)
"""Scripts of the pinned trainer whose options can be read and which cannot run, and why."""


def scripts(engine: EngineInfo) -> tuple[str, ...]:
    """The train scripts of an engine's pinned commit."""
    return tuple(shipped(engine).scripts)


def matches_snapshot(checkout: Path, engine: EngineInfo) -> bool:
    """Whether a checkout declares exactly the options of the snapshot: same files, no further train script."""
    known = shipped(engine)
    return unchanged(checkout, known.sources) and set(train_scripts(checkout, engine)) == set(known.scripts)


def engine_options(
    engine: EngineInfo, script: str, checkout: Path | None, cache: Path | None = None, *, write_cache: bool = False
) -> ScriptOptions:
    """The options of one train script of an engine.

    ``cache`` is a folder where what was read from a checkout other than the pinned one is looked up, and kept only
    with ``write_cache``. Raises ``TrainerError`` for a script that is not there and for sources that cannot be
    followed, with file and line.
    """
    if checkout is None or matches_snapshot(checkout, engine):
        _must_exist(script, scripts(engine), "the trainer")
        return shipped(engine).scripts[script]
    _must_exist(script, train_scripts(checkout, engine), str(checkout))
    file = cache / f"options-{fingerprint(checkout, engine)[:20]}.json" if cache else None
    kept = _kept(file, checkout) if file else None
    if kept and script in kept.scripts:
        return kept.scripts[script]
    options = _read(script, checkout, engine)
    if file and write_cache:
        from kohya_runner.atomic import write_text

        with contextlib.suppress(OSError):  # then the next run reads the sources again
            write_text(file, encode(read_what_can_be(checkout, engine)))
    return options


def _must_exist(script: str, known: tuple[str, ...], where: str) -> None:
    if not known:
        raise TrainerError(f"{where}: no train scripts here", hint="name the folder of the trainer's checkout")
    if script not in known:
        raise TrainerError(f"{where} has no train script '{script}'", hint=did_you_mean(script, known))


def _read(script: str, checkout: Path, engine: EngineInfo) -> ScriptOptions:
    from kohya_runner.options.modules import Modules
    from kohya_runner.options.reader import read_script

    return read_script(script, Modules(checkout, engine.imports), engine)


def _kept(file: Path, checkout: Path) -> Snapshot | None:
    """What an earlier run kept, where it is whole and the files it was read from are still the same."""
    try:
        snapshot = decode(file.read_text(encoding="utf-8"))
        same = unchanged(checkout, snapshot.sources)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return snapshot if same else None
