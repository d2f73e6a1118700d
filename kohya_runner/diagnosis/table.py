"""The table of causes. Where two rows know a line, the first one is meant."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kohya_runner.diagnosis.table_data import DATA, MODELS
from kohya_runner.diagnosis.table_install import HUB, INSTALL
from kohya_runner.diagnosis.table_memory import MEMORY
from kohya_runner.diagnosis.table_options import OPTIONS

if TYPE_CHECKING:
    from kohya_runner.diagnosis.signature import Signature

GROUPS: tuple[tuple[str, tuple[Signature, ...]], ...] = (
    ("Memory, disk, GPU", MEMORY),
    ("Packages", INSTALL),
    ("The Hub", HUB),
    ("Pictures, captions, caches", DATA),
    ("Model files and numbers", MODELS),
    ("Options", OPTIONS),
)
TABLE: tuple[Signature, ...] = tuple(row for _, rows in GROUPS for row in rows)


def markdown() -> str:
    """The table as docs/diagnosis.md holds it, below its heading."""
    parts = []
    for title, rows in GROUPS:
        parts.append(f"\n### {title}\n\n| code | cause | what to do | known from |\n|---|---|---|---|\n")
        for row in rows:
            mark = "" if row.level == "error" else " (worth knowing, no reason for a failure)"
            fixes = "; ".join(_plain(fix.text) for fix in row.fixes)
            cells = (f"`{row.code}`", f"{_plain(row.cause)}{mark}", fixes, row.source)
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


def _plain(text: str) -> str:
    """Without what a run's own values would fill."""
    text = re.sub(r"\{now:\w+\}", "", text)
    return re.sub(r"\{found:(\w+)\}", r"<\1>", text).replace("   ", ": ")
