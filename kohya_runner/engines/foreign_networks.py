"""What a network module from elsewhere makes of ``network_args``, read from its package as it is installed.

LyCORIS also has its algorithms in ``network_module_dict`` and its presets in a table, or in a TOML file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from kohya_runner.options.networks import kind_of, module_keys
from kohya_runner.options.package_sources import PackageSources
from kohya_runner.tables import read_table
from kohya_runner.text import did_you_mean

NUMBERS = {"int": int, "float": float}
PRESETS = ("lycoris.config.PRESET", "lycoris.config.BUILTIN_PRESET_CONFIGS")
"""The second is where the first is computed from it (4.0)."""


def network_faults(module: str, given: Mapping[str, str], sources: PackageSources) -> Iterator[tuple[str, str]]:
    """What is wrong with each argument, and what to write; nothing where the module cannot be read."""
    made = sources.find(f"{module}.create_network")
    path = sources.path(made.module) if made else None
    keys = dict(module_keys(path) or {}) if path else {}
    if not made or not keys:
        return
    file = path.relative_to(Path(sources.roots[made.module[0]]).parent).as_posix() if path else module
    where = f"({file}:{getattr(made.node, 'lineno', 1)})"
    known = (*keys, *sources.strings(f"{module}.deprecated_arg_dict"))
    algorithms = sources.strings(f"{module}.network_module_dict")
    algorithm = given.get("algo", "lora").lower()
    for key, text in given.items():
        kind = keys.get(key, "text")
        kind = _kind_in(sources, f"{module}.network_module_dict", algorithm, key) if kind == "text" else kind
        if key not in known:
            yield f"{module} never looks at {key} {where}", did_you_mean(key, known)
        elif key == "algo" and algorithms and algorithm not in algorithms:
            yield f"{module} has no algorithm {text} {where}", did_you_mean(algorithm, algorithms, "algo: ")
        elif key == "preset":
            yield from ((f"{fault} {where}", hint) for fault, hint in _preset(text, sources))
        elif kind in NUMBERS and not _reads(NUMBERS[kind], text):
            yield f"{key}={text} is no number {where}", f"write a {'whole ' * (kind == 'int')}number"


def _reads(convert: type, text: str) -> bool:
    try:
        convert(text)
    except ValueError:
        return False
    return True


def _kind_in(sources: PackageSources, classes_of: str, algorithm: str, key: str) -> str:
    """What the class of an algorithm makes of a keyword that is handed on to it."""
    table = sources.find(classes_of)
    if table is None or not isinstance(table.node, ast.Dict):
        return "text"
    classes = {ast.unparse(k): v for k, v in zip(table.node.keys, table.node.values, strict=True) if k}
    chosen = classes.get(repr(algorithm))
    made = sources.find(".".join((*table.module, ast.unparse(chosen)))) if chosen else None
    return kind_of(made.node, key) if made and isinstance(made.node, ast.ClassDef) else "text"


def _preset(text: str, sources: PackageSources) -> Iterator[tuple[str, str]]:
    """One of the table by its name, or a TOML file; the trainer's working folder is its checkout."""
    presets = next(filter(None, map(sources.strings, PRESETS)), ())
    if not presets or text in presets:
        return
    path = Path(text).expanduser()
    if not path.is_absolute() or not path.is_file():
        yield f"preset={text} is neither a preset nor the whole path of a file", did_you_mean(text, presets, "preset: ")
        return
    try:
        keys = read_table(path)
    except (OSError, ValueError) as fault:
        yield f"preset={text} is no TOML file: {fault}", "correct the file"
        return
    valid = sources.strings("lycoris.wrapper.VALID_PRESET_KEYS")
    for key in keys:
        if valid and key not in valid:
            yield f"preset={text} has a key that no preset has: {key}", did_you_mean(key, valid) or "take it out"
