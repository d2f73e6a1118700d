"""What this machine's user settled once: ``~/.config/kohya-runner/config.yaml``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from kohya_runner import yamlio
from kohya_runner.errors import UsageError
from kohya_runner.findings import Finding, error
from kohya_runner.text import did_you_mean
from kohya_runner.yamlio import Node

LISTS = ("trust", "env", "folders", "prices")
"""Consents for every recipe, variables that a recipe may read, folders that a dataset's links may lead into, and what
machines cost an hour (``cost``)."""
WORKSPACE = "workspace"
PLACES = "places"
"""Other machines and engines that recipes are handed to, by names of the user's own (``launch --on``)."""


@dataclass(frozen=True, slots=True)
class UserSettings:
    """Absolute paths by their keys, none where the file does not say. ``file`` is where they stand, or would."""

    file: Path
    paths: Mapping[str, Path] = field(default_factory=dict)
    trust: tuple[str, ...] = ()  # KEY or KEY=VALUE, as after --trust
    env: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    prices: tuple[str, ...] = ()  # 0.44 or CARD=0.44, as after --price
    places: Mapping[str, Node] = field(default_factory=dict)  # by kind; remote/kinds.py reads the rest

    def path(self, key: str) -> Path | None:
        return self.paths.get(key)

    @property
    def workspace(self) -> Path | None:
        """Where runs and caches are, unless a command or a recipe says otherwise."""
        return self.paths.get(WORKSPACE)


def settings_file(environ: Mapping[str, str]) -> Path:
    """``$XDG_CONFIG_HOME/kohya-runner/config.yaml``, or the same below ``~/.config``."""
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME") or Path.home()) / ".config")
    return Path(base) / "kohya-runner" / "config.yaml"


def read_settings(environ: Mapping[str, str], trainers: Iterable[str]) -> UserSettings:
    """The settings; none where there is no such file. ``trainers`` are the keys that name trainers and their Pythons.

    Raises:
        UsageError: the file cannot be read, or says something it may not; its findings have file:line:column.
    """
    file = settings_file(environ)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return UserSettings(file)
    except (OSError, UnicodeDecodeError) as fault:
        raise UsageError(f"{file}: cannot be read: {fault}", hint="it is a short YAML file in UTF-8") from None
    tree, problems = yamlio.parse(text, str(file), file.parent)
    findings = tuple(replace(p, code="trainer.settings") for p in problems) or _faults(
        tree, (*trainers, WORKSPACE, PLACES, *LISTS)
    )
    if findings:
        raise UsageError(f"{file}: {len(findings)} problem(s) in the settings", findings=findings)
    items = tree.value if tree is not None and isinstance(tree.value, dict) else {}
    home = Path(environ.get("HOME") or Path.home())
    named = items.get(PLACES)
    places = dict(named.value) if named is not None and isinstance(named.value, dict) else {}
    given = {key: node.plain() for key, node in items.items() if node.value is not None and key != PLACES}
    lists = {key: tuple(map(str, value)) for key, value in given.items() if isinstance(value, list)}
    folders = tuple(_path(text, file.parent, home) for text in lists.pop("folders", ()))
    paths = {key: _path(str(value), file.parent, home) for key, value in given.items() if key not in LISTS}
    return UserSettings(file, paths, **lists, folders=folders, places=places)


def _faults(tree: Node | None, keys: tuple[str, ...]) -> tuple[Finding, ...]:
    if tree is None or tree.value is None:
        return ()
    if not isinstance(tree.value, dict):
        hint = "write sd_scripts: PATH and python: PATH, each on its line"
        return (error("trainer.settings", "the settings are a mapping of keys", where=str(tree.place), hint=hint),)
    return tuple(fault for key, node in tree.value.items() for fault in _fault(key, node, keys))


def _fault(key: str, node: Node, keys: tuple[str, ...]) -> tuple[Finding, ...]:
    if key not in keys:
        where = str(node.key_place or node.place)
        return (error("trainer.settings", f"{key}: is not a setting", where=where, hint=did_you_mean(key, keys)),)
    if key == PLACES:
        return tuple(_place_faults(node))
    if key in LISTS:
        entries = node.plain()
        texts = isinstance(entries, list) and all(
            (isinstance(entry, str) and entry.strip()) or (key == "prices" and type(entry) in (int, float))
            for entry in entries
        )
        fault = error("trainer.settings", f"{key}: is not a list of texts", where=str(node.place),
                      hint=f"write {key}: [first, second]")  # fmt: skip
        return () if entries is None or texts else (fault,)
    if node.value is not None and not (isinstance(node.value, str) and node.value.strip()):
        hint = f"write {key}: /some/path"
        return (error("trainer.settings", f"{key}: is not a path", where=str(node.place), hint=hint),)
    return ()


def _place_faults(node: Node) -> Iterator[Finding]:
    """A mapping of mappings, each with its kind; what else it may say depends on that."""
    named: dict[str, Node | None] = {} if node.value is None else {PLACES: None}
    if isinstance(node.value, dict):
        named = {f"{PLACES}.{name}": child for name, child in node.value.items()}
    for key, place in named.items():
        kind = place.child("kind") if place is not None else None
        if kind is None or not (isinstance(kind.value, str) and kind.value):
            hint = "write places: {NAME: {kind: ssh, host: user@machine}} (docs/remote.md)"
            where = str((place or node).place)
            yield error("trainer.settings", f"{key}: is not a place with its kind", where=where, hint=hint)


def _path(text: str, folder: Path, home: Path) -> Path:
    """Relative to the settings' folder. Links stay as they are: a venv's Python is one."""
    expanded = home / text[2:] if text.startswith("~/") else Path(text)
    return Path(os.path.abspath(folder / expanded))
