"""The variables every trainer process gets for the sake of being watched."""

from __future__ import annotations


def child_environment() -> dict[str, str]:
    """What the runner adds so that the output can be followed.

    Bars at most once a second (tqdm reads ``TQDM_*``), output at once, log records 160 columns wide, and UTF-8: the
    scripts print Japanese (train_network.py:987), which another encoding would turn into a crash.
    """
    return {
        "COLUMNS": "160",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
        "TQDM_MININTERVAL": "1",
    }
