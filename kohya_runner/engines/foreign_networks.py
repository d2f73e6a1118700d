"""What a network module from elsewhere makes of ``network_args``, read from its package as it is installed.

LyCORIS also has its algorithms in ``network_module_dict`` and its presets in a table, or in a TOML file.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

from kohya_runner.engines.rule_context import reads
from kohya_runner.options.constants import NotConstantError
from kohya_runner.options.networks import kind_of, module_keys
from kohya_runner.options.package_sources import Found, PackageSources
from kohya_runner.tables import read_table
from kohya_runner.text import did_you_mean

TIMESTEPS = ("sd15", "sd2")
"""Their U-Net has a TimestepEmbedding (library/original_unet.py)."""
TARGETS = ("unet_target_module", "unet_target_name")
TWICE = ("TimestepEmbedding", "time_embedding.linear_1")
NUMBERS = {"int": int, "float": float}
PRESETS = ("lycoris.config.PRESET", "lycoris.config.BUILTIN_PRESET_CONFIGS")
"""The second is where the first is computed from it (4.0)."""


def network_faults(
    module: str, given: Mapping[str, str], sources: PackageSources, family: str = ""
) -> Iterator[tuple[str, str]]:
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
    if family in TIMESTEPS and _names_twice(given.get("preset", "full"), sources):
        message = f"preset={given.get('preset', 'full')} names {TWICE[1]} twice for {family}, and the trainer stops"
        yield f"{message} {where}", "write args.network_args: {preset: attn-mlp}"
    for key, text in given.items():
        kind = keys.get(key, "text")
        kind = _kind_in(sources, f"{module}.network_module_dict", algorithm, key) if kind == "text" else kind
        if key not in known:
            yield f"{module} never looks at {key} {where}", did_you_mean(key, known)
        elif key == "algo" and algorithms and algorithm not in algorithms:
            yield f"{module} has no algorithm {text} {where}", did_you_mean(algorithm, algorithms, "algo: ")
        elif key == "preset":
            yield from ((f"{fault} {where}", hint) for fault, hint in _preset(text, sources))
        elif kind in NUMBERS and not reads(NUMBERS[kind], text):
            yield f"{key}={text} is no number {where}", f"write a {'whole ' * (kind == 'int')}number"


def _entry(sources: PackageSources, name: str, key: str) -> tuple[Found | None, ast.expr | None]:
    """A dictionary of a package, and what it has under a key."""
    table = sources.find(name)
    pairs = zip(table.node.keys, table.node.values, strict=True) if table and isinstance(table.node, ast.Dict) else ()
    return table, next((v for k, v in pairs if isinstance(k, ast.Constant) and k.value == key), None)


def _names_twice(preset: str, sources: PackageSources) -> bool:
    """Whether a preset names the same layer as a module and as a layer: "duplicated lora name" (lycoris/kohya.py)."""
    table, made = _entry(sources, PRESETS[1], preset)
    if table is None or not isinstance(made, ast.Call):
        return False
    words = {word.arg: word.value for word in made.keywords}
    try:
        return all(name in sources.texts(words[key], table) for key, name in zip(TARGETS, TWICE, strict=True))
    except (KeyError, NotConstantError):
        return False


def _kind_in(sources: PackageSources, classes_of: str, algorithm: str, key: str) -> str:
    """What the class of an algorithm makes of a keyword that is handed on to it."""
    table, chosen = _entry(sources, classes_of, algorithm)
    made = sources.find(".".join((*table.module, ast.unparse(chosen)))) if table and chosen else None
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
