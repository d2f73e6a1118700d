"""What a session of tests was asked for; ``conftest.py`` fills it in before the first module of tests is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

TIERS = ("quick", "daily", "full")


@dataclass
class Asked:
    """The options of the command line (see tests/conftest.py)."""

    tier: str = "daily"
    keep: str | None = None


ASKED = Asked()


def full() -> bool:
    """Whether everything runs: every family, every method, every case."""
    return ASKED.tier == "full"


def keep(name: str, content: str | bytes) -> None:
    """Leave a file in the folder of ``--keep``; nothing happens without it."""
    if ASKED.keep is None:
        return
    path = Path(ASKED.keep) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
