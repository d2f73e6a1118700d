"""Which rows of the table know an error, and how much of the log speaks for each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re
    from collections.abc import Iterator, Sequence

    from kohya_runner.diagnosis.signature import Sign, Signature

Spans = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Scene:
    """An error and what is known around it: ``lines`` of its message, ``before`` of the log, the script that ran.

    ``name`` and ``frames`` are empty for an error that left no traceback.
    """

    lines: tuple[str, ...]
    name: str = ""
    frames: tuple[str, ...] = ()
    before: Sequence[str] = ()
    script: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A row and the line that shows it. ``weight`` counts the words and each kind of evidence that it asked for."""

    row: Signature
    line: str
    weight: int
    groups: Spans = field(default_factory=dict)


def best(table: Sequence[Signature], scene: Scene) -> Hit | None:
    """The row with the most evidence; of equals the one whose line stands first, then the first in the table."""
    hits = [hit for row in table if row.level == "error" for hit in _hits(row, scene)]
    rank = {line: number for number, line in reversed(list(enumerate(scene.lines)))}
    return max(hits, key=lambda hit: (not hit.row.vague, hit.weight, -rank[hit.line]), default=None)


def _hits(row: Signature, scene: Scene) -> Iterator[Hit]:
    for sign in row.signs:
        for line in scene.lines:
            match = sign.pattern.search(line)
            if match:
                if holds(sign, scene):
                    yield Hit(row, line, 1 + len(sign.asked), {**_found(sign, scene), **match.groupdict()})
                break


def _found(sign: Sign, scene: Scene) -> Spans:
    """The groups of the evidence: the name of a module that an earlier line of the log has, and the like."""
    asked = ((sign.before, scene.before), (sign.also, scene.lines), (sign.frame, scene.frames[::-1]))
    groups: Spans = {}
    for pattern, lines in asked:
        match = next((found for line in lines if (found := pattern.search(line))), None) if pattern else None
        groups |= match.groupdict() if match else {}
    return groups


def holds(sign: Sign, scene: Scene) -> bool:
    """Whether all that the sign asks for is there, and nothing that speaks against it."""
    return (
        (sign.raises is None or bool(sign.raises.fullmatch(scene.name)))
        and (sign.frame is None or any(sign.frame.search(frame) for frame in scene.frames))
        and (sign.also is None or any(sign.also.search(line) for line in scene.lines))
        and (sign.script is None or bool(sign.script.search(scene.script)))
        and (sign.before is None or _any(sign.before, scene.before))
        and (sign.unless is None or not (_any(sign.unless, scene.lines) or _any(sign.unless, scene.before)))
    )


def _any(pattern: re.Pattern[str], lines: Sequence[str]) -> bool:
    return any(pattern.search(line) for line in lines)
