"""All rows of the table of causes, and the table as Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kohya_runner.diagnosis.causes.table_data import DATA
from kohya_runner.diagnosis.causes.table_distributed import DISTRIBUTED
from kohya_runner.diagnosis.causes.table_gpu import GPU
from kohya_runner.diagnosis.causes.table_hub import HUB
from kohya_runner.diagnosis.causes.table_memory import MEMORY
from kohya_runner.diagnosis.causes.table_models import FAMILIES, FILES, NETWORKS, NUMBERS
from kohya_runner.diagnosis.causes.table_options import OPTIONS
from kohya_runner.diagnosis.causes.table_packages import COMPILERS, PACKAGES
from kohya_runner.diagnosis.causes.table_runs import LOGGERS, RESUME, SAMPLING
from kohya_runner.diagnosis.causes.table_system import SYSTEM

if TYPE_CHECKING:
    from kohya_runner.diagnosis.signature import Signature

GROUPS: tuple[tuple[str, tuple[Signature, ...]], ...] = (
    ("Memory and disk", MEMORY),
    ("GPU, driver, attention kernels", GPU),
    ("Several processes", DISTRIBUTED),
    ("Resume", RESUME),
    ("Sample pictures", SAMPLING),
    ("Pictures, captions, caches", DATA),
    ("Model files", FILES),
    ("Network modules", NETWORKS),
    ("Model families, layouts, quantized models", FAMILIES),
    ("NaN", NUMBERS),
    ("The Hub", HUB),
    ("Options", OPTIONS),
    ("Loggers", LOGGERS),
    ("Compilers and torch.compile", COMPILERS),
    ("Packages", PACKAGES),
    ("The start, the shell, Windows, native crashes", SYSTEM),
)
"""Where two rows have equal evidence in the same line, the first one counts."""

TABLE: tuple[Signature, ...] = tuple(row for _, rows in GROUPS for row in rows)


def markdown() -> str:
    """The table as docs/diagnosis.md holds it, below its heading."""
    parts = []
    for title, rows in GROUPS:
        parts.append(f"\n### {title}\n\n| code | evidence | cause | what to do | known from |\n|---|---|---|---|---|\n")
        for row in rows:
            mark = "" if row.level == "error" else " (worth knowing, no reason for a failure)"
            fixes = "; ".join(_plain(fix.text) for fix in row.fixes)
            cells = (f"`{row.code}`", evidence(row), f"{_plain(row.cause)}{mark}", fixes, row.source)
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


def evidence(row: Signature) -> str:
    """What its signs ask for, each way once."""
    ways = dict.fromkeys(" + ".join(("words", *sign.asked)) for sign in row.signs)
    return "; ".join(ways)


def _plain(text: str) -> str:
    """Without what a run's own values would fill."""
    text = re.sub(r"\{now:\w+\}", "", text)
    return re.sub(r"\{found:(\w+)[\w|]*\}", r"<\1>", text).replace("   ", ": ")
