"""The table of causes as docs/diagnosis.md holds it; run as a program it writes it there."""

from __future__ import annotations

import re
from pathlib import Path

from kohya_runner.diagnosis.signature import CAUSES, KINDS, Signature, read_rows
from kohya_runner.tables import read_table

DOCS = Path(__file__).parents[2] / "docs" / "diagnosis.md"
HEADING = "## The table\n"


def markdown() -> str:
    parts = []
    for file in (CAUSES / f"{kind}.toml" for kind in KINDS):
        title = read_table(file)["title"]
        parts.append(f"\n### {title}\n\n| code | evidence | cause | what to do | known from |\n|---|---|---|---|---|\n")
        for row in read_rows(file):
            mark = "" if row.level == "error" else " (worth knowing, no reason for a failure)"
            fixes = "; ".join(_plain(fix.text) for fix in row.fixes)
            cells = (f"`{row.code}`", evidence(row), f"{_plain(row.cause)}{mark}", fixes, row.source)
            parts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(parts)


def evidence(row: Signature) -> str:
    ways = dict.fromkeys(" + ".join(("words", *sign.asked)) for sign in row.signs)
    return "; ".join(ways)


def _plain(text: str) -> str:
    text = re.sub(r"\{now:\w+\}", "", text)
    return re.sub(r"\{found:(\w+)[\w|]*\}", r"<\1>", text).replace("   ", ": ")


if __name__ == "__main__":
    start = DOCS.read_text(encoding="utf-8").partition(HEADING)[0]
    DOCS.write_text(start + HEADING + markdown(), encoding="utf-8")
