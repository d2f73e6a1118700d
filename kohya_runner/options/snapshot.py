"""What was read from a checkout, as JSON, and whether its files are still the same; the pinned commit's is shipped.

``python -m kohya_runner.engines.update_snapshot CHECKOUT [ENGINE]`` writes it anew after the commit was changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from kohya_runner.engine_info import EngineInfo
from kohya_runner.errors import TrainerError
from kohya_runner.options.script_options import Kind, Option, ScriptOptions, Type
from kohya_runner.text import did_you_mean

if TYPE_CHECKING:
    from kohya_runner.options.networks import Networks
    from kohya_runner.options.optimizers import Optimizers, Schedulers


def scripts(engine: EngineInfo, checkout: Path | None = None) -> tuple[str, ...]:
    """The train scripts of a checkout, or those of the pinned commit."""
    return train_scripts(checkout, engine) if checkout else tuple(shipped(engine).scripts)


def matches_snapshot(checkout: Path, engine: EngineInfo) -> bool:
    """Whether a checkout declares exactly the options of the snapshot: same files, no further train script."""
    known = shipped(engine)
    same = unchanged(checkout, known.sources) and set(train_scripts(checkout, engine)) == set(known.scripts)
    return same and network_files(checkout).keys() <= known.sources.keys()


def engine_options(
    engine: EngineInfo, script: str, checkout: Path | None, cache: Path | None = None, *, write_cache: bool = False
) -> ScriptOptions:
    """The options of one train script of an engine.

    ``cache`` is a folder where what was read from a checkout other than the pinned one is looked up, and kept only
    with ``write_cache``. Raises ``TrainerError`` for a script that is not there and for sources that cannot be
    followed, with file and line.
    """
    found = _found(engine, script, checkout, cache, write_cache=write_cache)
    return replace(
        found.scripts[script], checkout=checkout, networks=found.networks, optimizers=found.optimizers,
        schedulers=found.schedulers,
    )  # fmt: skip


def _found(
    engine: EngineInfo, script: str, checkout: Path | None, cache: Path | None, *, write_cache: bool
) -> Snapshot:
    if checkout is None or matches_snapshot(checkout, engine):
        _must_exist(script, scripts(engine), "the trainer")
        return shipped(engine)
    _must_exist(script, train_scripts(checkout, engine), str(checkout))
    file = cache / f"options-{fingerprint(checkout, engine)[:20]}.json" if cache else None
    kept = _kept(file, checkout) if file else None
    if kept and script in kept.scripts:
        return kept
    found = _read(checkout, engine, (script,))
    if file and write_cache:
        from kohya_runner.safe_files import write_text

        with contextlib.suppress(OSError):  # then the next run reads the sources again
            write_text(file, encode(read_what_can_be(checkout, engine)))
    return found


def _must_exist(script: str, known: tuple[str, ...], where: str) -> None:
    if not known:
        raise TrainerError(f"{where}: no train scripts here", hint="name the folder of the trainer's checkout")
    if script not in known:
        raise TrainerError(f"{where} has no train script '{script}'", hint=did_you_mean(script, known))


def _kept(file: Path, checkout: Path) -> Snapshot | None:
    """What an earlier run kept, where it is whole and the files it was read from are still the same."""
    try:
        snapshot = decode(file.read_text(encoding="utf-8"))
        same = unchanged(checkout, snapshot.sources)
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return None
    return snapshot if same else None


VERSION = 3
TABLES = ("networks", "optimizers", "schedulers")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read from one checkout: the files (path to SHA-256), its scripts' options, and names that it knows."""

    commit: str
    sources: Mapping[str, str]
    scripts: Mapping[str, ScriptOptions]
    networks: Networks = field(default_factory=dict)
    optimizers: Optimizers = field(default_factory=dict)
    schedulers: Schedulers = field(default_factory=dict)


def shipped_file(engine: EngineInfo) -> Path:
    return Path(__file__).with_name(engine.snapshot)


@lru_cache
def shipped(engine: EngineInfo) -> Snapshot:
    return decode(shipped_file(engine).read_text(encoding="utf-8"))


def read_checkout(checkout: Path, engine: EngineInfo, commit: str = "") -> Snapshot:
    """The options of every train script of a checkout; a ``TrainerError`` for the first that cannot be followed."""
    return _read(checkout, engine, train_scripts(checkout, engine), commit)


def read_what_can_be(checkout: Path, engine: EngineInfo) -> Snapshot:
    """``read_checkout`` without the scripts that cannot be followed."""
    return _read(checkout, engine, train_scripts(checkout, engine), "", TrainerError)


def _read(
    root: Path, engine: EngineInfo, scripts: Iterable[str], commit: str = "", *skipped: type[Exception]
) -> Snapshot:
    from kohya_runner.options.modules import Modules
    from kohya_runner.options.networks import read_networks
    from kohya_runner.options.optimizers import optimizer_files, read_optimizers
    from kohya_runner.options.reader import read_script

    modules, found = Modules(root, engine.imports), dict[str, ScriptOptions]()
    for script in scripts:
        with contextlib.suppress(*skipped):
            found[script] = read_script(script, modules, engine)
    own = {path.relative_to(root).as_posix(): content_hash(path) for path in optimizer_files(root)}
    sources = {**modules.hashes, **network_files(root), **own}
    return Snapshot(commit, dict(sorted(sources.items())), found, read_networks(root), *read_optimizers(root))


NETWORKS = "networks"


def network_files(root: Path) -> Mapping[str, str]:
    """The files where network modules may be, by their paths in the checkout, and their hashes."""
    return {f"{NETWORKS}/{path.name}": content_hash(path) for path in sorted((root / NETWORKS).glob("*.py"))}


def encode(snapshot: Snapshot) -> str:
    """As JSON: each distinct option once, one a line, and every script as a list of their numbers."""
    distinct = {_key(row): row for options in snapshot.scripts.values() for row in options.rows}
    keys = sorted(distinct)
    number = {key: index for index, key in enumerate(keys)}
    lines = ",\n".join("  " + json.dumps(row_of(distinct[key]), ensure_ascii=False) for key in keys)
    members = {name: [number[_key(row)] for row in options.rows] for name, options in snapshot.scripts.items()}
    listed = ",\n".join(f"  {json.dumps(name)}: {json.dumps(rows)}" for name, rows in members.items())
    head = f'"version": {VERSION},\n"commit": {json.dumps(snapshot.commit)}'
    sources = json.dumps(snapshot.sources, indent=2)
    head = f'{head},\n"sources": {sources}'
    for table in TABLES:
        rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in getattr(snapshot, table).items())
        head += f',\n"{table}": {{\n{rows}\n}}'
    return f'{{\n{head},\n"options": [\n{lines}\n],\n"scripts": {{\n{listed}\n}}\n}}\n'


def decode(text: str) -> Snapshot:
    """The reverse of ``encode``; a ``ValueError``, ``LookupError`` or ``TypeError`` for anything else."""
    data = json.loads(text)
    if data["version"] != VERSION:
        raise ValueError("written by another version")
    rows = [option_of(row) for row in data["options"]]
    listed = {name: ScriptOptions(name, tuple(rows[i] for i in numbers)) for name, numbers in data["scripts"].items()}
    return Snapshot(data["commit"], dict(data["sources"]), listed, *(data[table] for table in TABLES))


def _key(option: Option) -> tuple[str, str, str]:
    return (option.name, option.where, repr(option))


_COMMON: dict[str, Any] = {
    "kind": "one", "type": "str", "nargs": None, "choices": None, "default": None, "required": False,
}  # fmt: skip


def _common(name: str, kind: str) -> dict[str, Any]:
    """What most options of a kind have in common; it is not written."""
    common = {**_COMMON, "flags": (f"--{name}",)}
    return {**common, "type": "bool", "default": False} if kind == "switch" else common


def row_of(option: Option) -> dict[str, Any]:
    """An option as plain data: what it has besides the common."""
    common = _common(option.name, option.kind)
    special = {key: getattr(option, key) for key in common if not _same(getattr(option, key), common[key])}
    return {"name": option.name, **special, "where": option.where}


def _same(value: object, other: object) -> bool:
    """Equal, and of one type: 1 is not 1.0, 0 is not False."""
    return type(value) is type(other) and value == other


def option_of(row: dict[str, Any]) -> Option:
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    kind = str(given.get("kind", "one"))
    fields = {**_common(row["name"], kind), **given}
    if kind not in get_args(Kind) or fields["type"] not in get_args(Type) or not isinstance(fields["flags"], tuple):
        raise ValueError("no option of this version")
    return Option(**fields)


def train_scripts(root: Path, engine: EngineInfo) -> tuple[str, ...]:
    """The train scripts of a checkout: those the engine lists, else the files in its root that train something."""
    entry = f"def {engine.entry}(".encode()
    if engine.scripts:
        return tuple(name for name in engine.scripts if entry in _content(root / engine.script_path(name)))
    files = sorted(path for path in root.glob("*.py") if "train" in path.stem or path.stem == "fine_tune")
    return tuple(path.name for path in files if entry in _content(path))


def content_hash(path: Path) -> str:
    """SHA-256 of a source file, whatever its line ends; empty where there is no such file."""
    data = _content(path)
    return hashlib.sha256(data.replace(b"\r\n", b"\n")).hexdigest() if data else ""


def unchanged(root: Path, hashes: Mapping[str, str]) -> bool:
    """Whether all these files, by their paths in the checkout, have these hashes."""
    return all(content_hash(root / path) == digest for path, digest in hashes.items())


def fingerprint(root: Path, engine: EngineInfo) -> str:
    """One hash over the files that may declare options: those beside the scripts and in the folders below."""
    below = f"{engine.folder}/**/*.py" if engine.folder else "library/**/*.py"
    files = sorted({*root.glob("*.py"), *root.glob(below), *root.glob(f"{NETWORKS}/*.py")})
    lines = (f"{path.relative_to(root).as_posix()} {content_hash(path)}\n" for path in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _content(path: Path) -> bytes:
    """The bytes of a regular file; none where it is not one or cannot be read."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""
