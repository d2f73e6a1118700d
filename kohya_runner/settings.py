"""What this machine's user settled once: ``~/.config/kohya-runner/config.yaml``."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner import yamlio
from kohya_runner.engine_info import SETTINGS
from kohya_runner.errors import UsageError
from kohya_runner.findings import Finding, error
from kohya_runner.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.yaml_tree import Node

LISTS = ("trust", "env", "folders")
"""Consents for every recipe, variables that a recipe may read, and folders that a dataset's links may lead into."""
KEYS = (*SETTINGS, "workspace", *LISTS)


@dataclass(frozen=True, slots=True)
class Settings:
    """Absolute paths, or None where the file does not say. ``file`` is where they stand, or would."""

    file: Path
    sd_scripts: Path | None = None
    python: Path | None = None
    workspace: Path | None = None
    musubi_tuner: Path | None = None
    musubi_python: Path | None = None
    diffusers: Path | None = None
    diffusers_python: Path | None = None
    trust: tuple[str, ...] = ()  # KEY or KEY=VALUE, as after --trust
    env: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()

    def path(self, key: str) -> Path | None:
        """What stands under one of ``KEYS``."""
        value = getattr(self, key)
        return value if isinstance(value, Path) else None


def settings_file(environ: Mapping[str, str]) -> Path:
    """``$XDG_CONFIG_HOME/kohya-runner/config.yaml``, or the same below ``~/.config``."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".config")
    return Path(base) / "kohya-runner" / "config.yaml"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings; all of them None where there is no such file.

    Raises:
        UsageError: the file cannot be read, or says something it may not; its findings have file:line:column.
    """
    file = settings_file(environ)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings(file)
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageError(f"{file}: cannot be read: {fault}", hint="it is a short YAML file in UTF-8") from None
    tree, problems = yamlio.parse(text, str(file), file.parent)
    findings = tuple(replace(p, code="trainer.settings") for p in problems) or _faults(tree)
    if findings:
        raise UsageError(f"{file}: {len(findings)} problem(s) in the settings", findings=findings)
    items = tree.value if tree is not None and isinstance(tree.value, dict) else {}
    home = Path(environ.get("HOME") or Path.home())
    given = {key: node.plain() for key, node in items.items() if node.value is not None}
    lists = {key: tuple(map(str, value)) for key, value in given.items() if isinstance(value, list)}
    folders = tuple(_path(text, file.parent, home) for text in lists.pop("folders", ()))
    paths = {key: _path(str(value), file.parent, home) for key, value in given.items() if key not in LISTS}
    return Settings(file, **paths, **lists, folders=folders)  # type: ignore[arg-type]


def _faults(tree: Node | None) -> tuple[Finding, ...]:
    if tree is None or tree.value is None:
        return ()
    if not isinstance(tree.value, dict):
        hint = "write sd_scripts: PATH and python: PATH, each on its line"
        return (error("trainer.settings", "the settings are a mapping of keys", where=str(tree.place), hint=hint),)
    return tuple(fault for key, node in tree.value.items() for fault in _fault(key, node))


def _fault(key: str, node: Node) -> tuple[Finding, ...]:
    if key not in KEYS:
        where = str(node.key_place or node.place)
        return (error("trainer.settings", f"{key}: is no setting", where=where, hint=did_you_mean(key, KEYS)),)
    if key in LISTS:
        entries = node.plain()
        texts = isinstance(entries, list) and all(isinstance(entry, str) and entry.strip() for entry in entries)
        fault = error("trainer.settings", f"{key}: is no list of texts", where=str(node.place),
                      hint=f"write {key}: [first, second]")  # fmt: skip
        return () if entries is None or texts else (fault,)
    if node.value is not None and not (isinstance(node.value, str) and node.value.strip()):
        hint = f"write {key}: /some/path"
        return (error("trainer.settings", f"{key}: is no path", where=str(node.place), hint=hint),)
    return ()


def _path(text: str, folder: Path, home: Path) -> Path:
    """Relative to the settings' folder. Links stay as they are: a venv's Python is one."""
    expanded = home / text[2:] if text.startswith("~/") else Path(text)
    return Path(os.path.abspath(folder / expanded))
