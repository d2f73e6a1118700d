"""``python -m kohya_runner.engines.update_snapshot CHECKOUT [ENGINE]``: the shipped options of a changed commit.

The lines that the rules rest on get their present places, too; those that are not there any more stay, and are told.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kohya_runner.engine_info import EngineInfo
from kohya_runner.engines.anchors import FILE, Anchor, Sources, encode_anchors, table
from kohya_runner.engines.sd_scripts import SD_SCRIPTS
from kohya_runner.engines.table import INFOS
from kohya_runner.errors import RunnerError, TrainerError
from kohya_runner.install.checkout import commit_of
from kohya_runner.options.snapshot import encode, read_checkout, shipped_file
from kohya_runner.safe_files import write_text


def write_shipped(checkout: Path, engine: EngineInfo, target: Path | None = None) -> None:
    """Write the snapshot of a checkout, which must be at the pinned commit and readable to the last option."""
    commit = commit_of(checkout)
    if commit != engine.commit:
        hint = f"check out {engine.commit}, or change the engine's trainer.toml"
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


if __name__ == "__main__":
    try:
        chosen = INFOS[sys.argv[2] if sys.argv[2:] else SD_SCRIPTS.name]
        write_shipped(Path(sys.argv[1]), chosen)
        for gone in write_anchors(Path(sys.argv[1]), chosen.name):
            print(f"not there any more: {gone.place} {gone.function}: {gone.text}")  # noqa: T201
    except RunnerError as fault:
        raise SystemExit(f"{fault.message}; {fault.hint}") from None
