"""``python -m kohya_runner.engines.update_snapshot CHECKOUT [ENGINE]``: the shipped options of a changed commit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.engines.sd_scripts.families import SD_SCRIPTS
from kohya_runner.engines.table import INFOS
from kohya_runner.errors import RunnerError, TrainerError
from kohya_runner.install.checkout import commit_of
from kohya_runner.options.snapshot import encode, read_checkout, shipped_file
from kohya_runner.safe_files import write_text

if TYPE_CHECKING:
    from kohya_runner.engine_info import EngineInfo


def write_shipped(checkout: Path, engine: EngineInfo, target: Path | None = None) -> None:
    """Write the snapshot of a checkout, which must be at the pinned commit and readable to the last option."""
    commit = commit_of(checkout)
    if commit != engine.commit:
        hint = f"check out {engine.commit}, or change the engine's families.py"
        raise TrainerError(f"{checkout} is at {commit}", hint=hint)
    write_text(target or shipped_file(engine), encode(read_checkout(checkout, engine, engine.commit)))


if __name__ == "__main__":
    try:
        write_shipped(Path(sys.argv[1]), INFOS[sys.argv[2] if sys.argv[2:] else SD_SCRIPTS.name])
    except RunnerError as fault:
        raise SystemExit(f"{fault.message}; {fault.hint}") from None
