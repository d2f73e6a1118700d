"""Which cards bear a run, by the memory that they are sold with, and what would make a smaller one do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kohya_runner.machine.memory_savings import enough, savings
from kohya_runner.machine.memory_use import VramSettings, estimate
from kohya_runner.text import size

GB = 10**9
"""Of a card that is sold with 24 GB torch sees 24.1 (L4, A10) to 25.8 billion bytes (RTX 4090): never less than 24."""
CLASSES: tuple[tuple[int, str], ...] = (
    (8, "RTX 3070, RTX 4060"),
    (12, "RTX 3060, RTX 4070"),
    (16, "RTX 4080, RTX A4000, RTX 5080"),
    (24, "RTX 3090, RTX 4090, L4, A10, RTX A5000"),
    (32, "RTX 5090"),
    (40, "A100 40 GB"),
    (48, "RTX A6000, A40, L40S"),
    (80, "A100 80 GB, H100"),
    (96, "RTX PRO 6000"),
    (141, "H200"),
    (180, "B200"),
)
"""GB, and examples: facts of the cards, no offers."""


@dataclass(frozen=True, slots=True)
class CardClass:
    """One size of cards. ``lines`` are those of the recipe that make it do, none where it does as it is.

    ``needed`` are the bytes with these lines; ``fits`` is False where no lines are known that do.
    """

    gb: int
    examples: str
    needed: int
    fits: bool
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        """``24 GB (L4, ...)``."""
        return f"{self.gb} GB ({self.examples})"

    def as_json(self) -> Mapping[str, object]:
        """One entry of ``rent.cards`` in ``plan --json``."""
        return {"gb": self.gb, "examples": self.examples, "fits": self.fits, "lines": list(self.lines),
                "needed_bytes": self.needed}  # fmt: skip


def card_classes(settings: VramSettings) -> tuple[CardClass, ...]:
    """All of them, the smallest first; none for a family whose numbers are not known."""
    now = estimate(settings)
    if now is None:
        return ()
    return tuple(_judged(settings, now.total, gb, examples) for gb, examples in CLASSES)


def _judged(settings: VramSettings, needed: int, gb: int, examples: str) -> CardClass:
    room = gb * GB
    if needed <= room:
        return CardClass(gb, examples, needed, fits=True)
    taken, after = enough(settings, savings(settings, room), room)
    if after > room:
        return CardClass(gb, examples, after, fits=False)
    return CardClass(gb, examples, after, fits=True, lines=tuple(f"args.{saving.line}" for saving in taken))


def described(classes: tuple[CardClass, ...], cards: int) -> tuple[tuple[str, str], ...]:
    """(label, text) for the screen: the smallest class that does, and the next smaller one."""
    if not classes:
        return ()
    plain = [one for one in classes if one.fits and not one.lines]
    if not plain:
        return (("card", f"none of {classes[-1].gb} GB or less bears it as it is: {_with_lines(classes[-1])}"),)
    several = f"{cards} cards, each of " if cards > 1 else ""
    rows = [("card", f"{several}{plain[0]} or more; about {size(plain[0].needed)} are needed")]
    smaller = [one for one in classes if one.gb < plain[0].gb]
    return (*rows, ("smaller", f"{smaller[-1]}: {_with_lines(smaller[-1])}")) if smaller else tuple(rows)


def _with_lines(one: CardClass) -> str:
    if not one.fits:
        return f"with every line that is known to save memory about {size(one.needed)} are still needed"
    return f"would do with {', '.join(one.lines)}: then about {size(one.needed)} are needed"
