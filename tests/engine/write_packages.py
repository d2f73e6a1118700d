"""python tests/engine/write_packages.py SITE-PACKAGES: what the packages there say, as the package ships it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from kohya_runner.engines.table import INFOS
from kohya_runner.machine.device_checks import PACKAGE_OF
from kohya_runner.options import packages
from kohya_runner.options.package_sources import PackageSources
from kohya_runner.options.snapshot import row_of, shipped


def read_packages(site: Path) -> dict[str, dict[str, Any]]:
    """As far as the pinned commits name them."""
    read = PackageSources({path.name: str(path) for path in site.iterdir() if path.is_dir()})
    known = [shipped(engine) for engine in INFOS.values()]
    enumerations = {member.rpartition(".")[0] for one in known for member in one.schedulers if member}
    schedulers = {name: read.schedulers(name) for name in sorted(enumerations)}
    classes = {module: read.classes(module) for module in ("torch.optim", "torch.optim.lr_scheduler")}
    named = {row[0] for one in known for row in one.optimizers.values()}
    named |= {f"{module}.{name}" for module, names in classes.items() for name in names}
    named |= {row[1] for rows in schedulers.values() for row in rows.values()}
    modules = {name.partition(".")[0] for name in (*named, packages.LAUNCHER)}
    return {
        "versions": {name: found for name in sorted(modules) if (found := version(site, PACKAGE_OF.get(name, name)))},
        "takes": {name: takes for name in sorted(named) if (takes := read.takes(name))},
        "classes": classes,
        "schedulers": schedulers,
        "launcher": {packages.LAUNCHER: {k: row_of(o) for k, o in read.launcher(packages.LAUNCHER).items()}},
    }


def version(site: Path, package: str) -> str:
    names = (path.name.removesuffix(".dist-info").partition("-") for path in site.glob("*.dist-info"))
    return next((found for name, _, found in names if name.replace("_", "-") == package), "")


def encoded(found: dict[str, dict[str, Any]]) -> str:
    """A row a line."""
    tables = []
    for what, rows in found.items():
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
        tables.append(f'"{what}": {{\n{lines}\n}}')
    return "{\n" + ",\n".join(tables) + "\n}\n"


if __name__ == "__main__":
    packages.FILE.write_text(encoded(read_packages(Path(sys.argv[1]))), encoding="utf-8")
