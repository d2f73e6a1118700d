"""The bars of tqdm, as text: ``steps:  12%|#2  | 2/16 [00:12<01:20,  6.00s/it, avr_loss=0.123]``."""

from __future__ import annotations

import re

from kohya_runner.diagnosis.events import OtherBar, Step

BAR = re.compile(
    r"(?:(?P<label>[^\r\n|%]{0,80}?):\s+)?(?:\d+%)\|[^|\r\n]*\|\s*(?P<done>\d+)/(?P<total>\d+)\s"
    r"\[(?P<elapsed>[\d:]+)<(?P<remaining>[\d:?]+),\s*(?P<rate>[\d.?]+)\s?(?P<unit>s/it|it/s)(?P<more>[^\]\r\n]*)\]"
)
_SIGN = "%|"
_LONGEST = 2000  # characters; a longer line is no bar
_LOSS = re.compile(r"\b(?:avr_|step_)?loss=([^,\s]+)")
LABEL = "steps"
"""The label of the optimizer's steps in every train script (train_network.py:1358); diffusers writes it ``Steps``."""


def find_bar(text: str) -> re.Match[str] | None:
    """The bar in a line; the cheap look comes first, for most lines hold none."""
    return BAR.search(text) if _SIGN in text and len(text) < _LONGEST else None


def bar_event(match: re.Match[str]) -> Step | OtherBar:
    """What a match of ``BAR`` says."""
    done, total = int(match["done"]), int(match["total"])
    label = (match["label"] or "").strip()
    if label.lower() != LABEL:
        return OtherBar(label, done, total)
    loss = _LOSS.search(match["more"])
    return Step(
        done,
        total,
        seconds_per_step=_pace(match["rate"], match["unit"]),
        elapsed=_seconds(match["elapsed"]),
        remaining=_seconds(match["remaining"]),
        loss=_number(loss.group(1)) if loss else None,
    )


def _pace(rate: str, unit: str) -> float | None:
    value = _number(rate)
    if value is None or value <= 0:
        return None
    return value if unit == "s/it" else 1 / value


def _seconds(text: str) -> float | None:
    """``1:02:03`` and ``02:03`` as seconds."""
    parts = text.split(":")
    if not all(part.isdigit() for part in parts):
        return None
    total = 0.0
    for part in parts:
        total = total * 60 + int(part)
    return total


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
