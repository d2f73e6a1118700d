"""What changed between two commits of a trainer, as far as this package rests on it: for whoever moves the pin."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kohya_runner.engine_info import EngineInfo
from kohya_runner.engines.anchors import Sources, table
from kohya_runner.errors import UsageError
from kohya_runner.options.script_options import Option
from kohya_runner.options.snapshot import Snapshot, read_what_can_be, train_scripts

FIELDS = ("flags", "kind", "type", "nargs", "choices", "default", "required")
"""What makes an option another one; not its line."""


@contextmanager
def sources(name: str) -> Iterator[Path]:
    """A checkout by its folder, or by ``FOLDER@COMMIT`` of a repository: then its Python files, in a folder of now."""
    folder, at, commit = name.rpartition("@")
    if not at or Path(name).is_dir():
        if not Path(name).is_dir():
            raise UsageError(f"{name}: no such folder", hint="name a checkout, or REPOSITORY@COMMIT")
        yield Path(name)
        return
    command = ("git", "-C", folder, "archive", "--format=tar", commit)
    done = subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UsageError(f"{name}: {' '.join(said) or 'git archive failed'}", hint="name a commit that it has")
    with TemporaryDirectory() as place, tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        root = Path(place).resolve()
        for member in archive:
            target = (root / member.name).resolve()
            content = archive.extractfile(member) if member.isfile() and member.name.endswith(".py") else None
            if content is not None and root in target.parents:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())
        yield root


def compare(old: str, new: str, engine: EngineInfo) -> dict[str, Any]:
    """Scripts, options, network modules, and the lines that rules rest on, as plain data."""
    with sources(old) as before, sources(new) as after:
        one, two = read_what_can_be(before, engine), read_what_can_be(after, engine)
        return {
            "version": 1, "old": old, "new": new, "engine": engine.name,
            "scripts": {
                **_names(train_scripts(before, engine), train_scripts(after, engine)),
                "unreadable": sorted(set(train_scripts(after, engine)) - set(two.scripts)),
            },
            "options": _options(one, two),
            "networks": {**_names(one.networks, two.networks), "changed": _networks(one, two)},
            "optimizers": _names(one.optimizers, two.optimizers),
            "anchors": _anchors(before, after, engine.name),
        }  # fmt: skip


def _names(old: Any, new: Any) -> dict[str, list[str]]:
    return {"added": sorted(set(new) - set(old)), "removed": sorted(set(old) - set(new))}


def _options(old: Snapshot, new: Snapshot) -> dict[str, Any]:
    """Each once, with the scripts; an option of a new script is new where no script had it before."""
    changes: dict[tuple[str, str, str], list[str]] = {}
    for script in sorted({*old.scripts, *new.scripts}):
        before, after = (dict(side.scripts[script]) if script in side.scripts else {} for side in (old, new))
        for name in {*before, *after}:
            if told := _change(before.get(name), after.get(name)):
                changes.setdefault((name, *told), []).append(script)
    found = {kind: [] for kind in ("added", "removed", "changed")}  # type: dict[str, list[dict[str, Any]]]
    known = {name for options in old.scripts.values() for name in options}
    kept = {name for options in new.scripts.values() for name in options}
    for (name, kind, what), scripts in sorted(changes.items()):
        everywhere = (kind == "added" and name not in known) or (kind == "removed" and name not in kept)
        found[kind].append({"name": name, "what": what, "scripts": scripts, "new": everywhere})
    return found


def _change(before: Option | None, after: Option | None) -> tuple[str, str] | None:
    if before is None or after is None:
        return ("added", _takes(after)) if after else ("removed", _takes(before)) if before else None
    rows = [(field, getattr(before, field), getattr(after, field)) for field in FIELDS]
    told = [f"{field} {was!r} -> {now!r}" for field, was, now in rows if repr(was) != repr(now)]
    return ("changed", "; ".join(told)) if told else None


def _takes(option: Option) -> str:
    choices = f" of {', '.join(map(str, option.choices))}" if option.choices else ""
    required = ", required" if option.required else ""
    return f"{option.type}{choices}, default {option.default!r}{required}"


def _networks(old: Snapshot, new: Snapshot) -> dict[str, Any]:
    """Keys that a module looks at now and did not, and the other way; and those it reads in another way."""
    found: dict[str, Any] = {}
    for module in sorted(set(old.networks) & set(new.networks)):
        before, after = old.networks[module], new.networks[module]
        kinds = {k: f"{before[k]} -> {after[k]}" for k in before.keys() & after.keys() if before[k] != after[k]}
        if before != after:
            found[module] = {**_names(before, after), "kinds": kinds}
    return found


def _anchors(before: Path, after: Path, engine: str) -> dict[str, list[dict[str, str]]]:
    """The rules' lines that are elsewhere now, those that read otherwise, those whose function is gone."""
    old, new = Sources(before), Sources(after)
    found: dict[str, list[dict[str, str]]] = {"moved": [], "changed": [], "vanished": []}
    for code, scripts in table().get(engine, {}).items():
        for script, rows in scripts.items():
            for anchor in rows:
                was, now = old.find(anchor), new.find(anchor)
                told = {"code": code, "script": script, "text": anchor.text, "was": was.place if was else ""}
                if now is None:
                    there = any(name == anchor.function for name, _, _ in new.spans(anchor.file))
                    found["changed" if there else "vanished"].append(told)
                elif was is None or was.place != now.place:
                    found["moved"].append({**told, "is": now.place})
    return found


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The same for people, in the form of a changelog's list."""
    for what in ("scripts", "networks", "optimizers"):
        for change in ("added", "removed", "unreadable"):
            if found[what].get(change):
                word = "network modules" if what == "networks" else what
                yield f"- {word} {change}: {', '.join(found[what][change])}"
    for module, keys in found["networks"]["changed"].items():
        told = [f"{change} {', '.join(keys[change])}" for change in ("added", "removed") if keys[change]]
        yield f"- {module}: {'; '.join((*told, *(f'{key} {kind}' for key, kind in keys['kinds'].items())))}"
    for change in ("added", "removed", "changed"):
        for row in found["options"][change]:
            if change == "changed" or row["new"]:
                yield f"- option {change}: {row['name']}: {row['what']} [{', '.join(row['scripts'])}]"
    for change in ("changed", "vanished"):
        for row in found["anchors"][change]:
            yield f"- a rule's line {change}: {row['code']} {row['script']} {row['was']}: {row['text']}"
    moved = found["anchors"]["moved"]
    yield f"- {len(moved)} lines of rules moved, in {len({row['code'] for row in moved})} rules (--json names them)"
