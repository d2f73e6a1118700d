"""``python -m kohya_runner.engines.update_snapshot CHECKOUT [ENGINE [SITE-PACKAGES]]``: the shipped facts of a commit.

The lines that the rules rest on get their present places, too; those that are not there any more stay, and are told.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from kohya_runner.engine_info import EngineInfo
from kohya_runner.engines.anchors import FILE, Anchor, Sources, encode_anchors, table
from kohya_runner.engines.sd_scripts.families import SD_SCRIPTS
from kohya_runner.engines.table import INFOS
from kohya_runner.errors import RunnerError, TrainerError
from kohya_runner.install.checkout import commit_of
from kohya_runner.machine.device_checks import PACKAGE_OF
from kohya_runner.options import packages
from kohya_runner.options.package_sources import PackageSources
from kohya_runner.options.snapshot import encode, read_checkout, row_of, shipped, shipped_file
from kohya_runner.safe_files import write_text


def write_shipped(checkout: Path, engine: EngineInfo, target: Path | None = None) -> None:
    """Write the snapshot of a checkout, which must be at the pinned commit and readable to the last option."""
    commit = commit_of(checkout)
    if commit != engine.commit:
        hint = f"check out {engine.commit}, or change the engine's families.py"
        raise TrainerError(f"{checkout} is at {commit}", hint=hint)
    write_text(target or shipped_file(engine), encode(read_checkout(checkout, engine, engine.commit)))


def write_anchors(checkout: Path, engine: str, target: Path = FILE) -> list[Anchor]:
    """Write where the lines are now; those that were not found."""
    sources, lost = Sources(checkout), []

    def now(anchor: Anchor) -> Anchor:
        found = sources.find(anchor)
        lost.extend([] if found else [anchor])
        return found or anchor

    codes = table()[engine]
    moved = {code: {s: tuple(map(now, rows)) for s, rows in of.items()} for code, of in codes.items()}
    write_text(target, encode_anchors({**table(), engine: moved}))
    return lost


def write_packages(site: Path, target: Path = packages.FILE) -> None:
    """Write what the packages in a folder of installed ones say, as far as the pinned commits name them."""
    read = PackageSources({path.name: str(path) for path in site.iterdir() if path.is_dir()})
    known = [shipped(engine) for engine in INFOS.values()]
    enumerations = {member.rpartition(".")[0] for one in known for member in one.schedulers if member}
    schedulers = {name: read.schedulers(name) for name in sorted(enumerations)}
    classes = {module: read.classes(module) for module in ("torch.optim", "torch.optim.lr_scheduler")}
    named = {row[0] for one in known for row in one.optimizers.values()}
    named |= {f"{module}.{name}" for module, names in classes.items() for name in names}
    named |= {row[1] for rows in schedulers.values() for row in rows.values()}
    modules = {name.partition(".")[0] for name in (*named, packages.LAUNCHER)}
    versions = {name: version for name in sorted(modules) if (version := _version(site, PACKAGE_OF.get(name, name)))}
    found: dict[str, dict[str, Any]] = {
        "versions": versions,
        "takes": {name: takes for name in sorted(named) if (takes := read.takes(name))},
        "classes": classes,
        "schedulers": schedulers,
        "launcher": {packages.LAUNCHER: {k: row_of(o) for k, o in read.launcher(packages.LAUNCHER).items()}},
    }
    tables = []
    for what, rows in found.items():
        tables.append(f'"{what}": {{\n' + ",\n".join(f"  {json.dumps(k)}: {json.dumps(rows[k])}" for k in rows) + "\n}")
    write_text(target, "{\n" + ",\n".join(tables) + "\n}\n")


def _version(site: Path, package: str) -> str:
    names = (path.name.removesuffix(".dist-info").partition("-") for path in site.glob("*.dist-info"))
    return next((found for name, _, found in names if name.replace("_", "-") == package), "")


if __name__ == "__main__":
    try:
        chosen = INFOS[sys.argv[2] if sys.argv[2:] else SD_SCRIPTS.name]
        write_shipped(Path(sys.argv[1]), chosen)
        for gone in write_anchors(Path(sys.argv[1]), chosen.name):
            print(f"not there any more: {gone.place} {gone.function}: {gone.text}")  # noqa: T201
        if sys.argv[3:]:
            write_packages(Path(sys.argv[3]))
    except RunnerError as fault:
        raise SystemExit(f"{fault.message}; {fault.hint}") from None
