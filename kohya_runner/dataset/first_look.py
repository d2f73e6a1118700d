"""A folder of pictures that no recipe names yet: which datasets it holds, and what of them a recipe should know."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import PIL.Image

from kohya_runner.dataset.captions import images_in, is_edit_file
from kohya_runner.dataset.facts import Source
from kohya_runner.dataset.layout import concept_problem
from kohya_runner.dataset.picture import FORMATS
from kohya_runner.dataset.prompt_checks import ALIKE, NEARLY_ALL
from kohya_runner.dataset.survey import Survey, read_source
from kohya_runner.dataset.trainer_view import TINY
from kohya_runner.text import repeats_and_token

Size = tuple[int, int]

EDITS = ("metadata.jsonl", "metadata.json")
CONTROLS = ("control", "controls", "conditioning", "condition", "source", "sources", "input", "inputs", "before")
TARGETS = ("target", "targets", "output", "outputs", "after", "edited", "images", "")
ARTICLES = ("a", "an", "the")
SAMPLED = 32  # pictures whose pixels are looked at
SMALLEST, LARGEST = 8, 160  # pixels of a sprite's sides
COLOURS = 1024  # more has no sprite, fewer no photograph


@dataclass(frozen=True, slots=True)
class FolderPart:
    """One entry of ``datasets`` as the folder suggests it, its pictures read. ``why``: what says so."""

    images: Path
    concept: str
    why: str
    repeats: int | None = None
    regularization: bool = False
    conditioning: Path | None = None
    survey: Survey = field(default_factory=lambda: Survey(None))  # type: ignore[arg-type]

    @property
    def sizes(self) -> list[Size]:
        return [(one.width, one.height) for one in self.survey.scan.images if not one.problem]

    @property
    def captions(self) -> list[str]:
        return [one.caption.text for one in self.survey.scan.images if one.caption and not one.caption.problem]


def look(folder: Path, name: str) -> tuple[FolderPart, ...]:
    """The datasets of a folder, at least one; ``name`` is the concept where nothing says another."""
    parts = [
        (part, Source(part.images, part.concept, regularization=part.regularization)) for part in _parts(folder, name)
    ]
    return tuple(replace(part, survey=read_source(source, None)) for part, source in parts)


def _parts(folder: Path, name: str) -> list[FolderPart]:
    edits = next((folder / file for file in EDITS if is_edit_file(folder / file)), None)
    if edits is not None:
        return [FolderPart(edits, "pairs", f"{edits.name} lists edits")]
    named = [part for base in (folder, folder / "img", folder / "images") for part in _numbered(base)]
    if named:
        classes = [replace(part, regularization=True) for part in _numbered(folder / "reg")]
        return [*named, *classes]
    for target in TARGETS:
        for control in CONTROLS:
            if images_in(folder / target) and images_in(folder / control):
                why = f"{target or 'the folder'} and {control} hold pictures"
                return [FolderPart(folder / target, "pairs", why, conditioning=folder / control)]
    below = [entry for entry in _folders(folder) if images_in(entry)] if not images_in(folder) else []
    found = [FolderPart(entry, _concept(entry.name, name), "the folder's name") for entry in below]
    return found or [FolderPart(folder, name, "")]


def _numbered(folder: Path) -> Iterator[FolderPart]:
    """``10_ohwx photo``: how kohya's scripts are told repeats and concept."""
    for entry in _folders(folder):
        repeats, token = repeats_and_token(entry.name)
        if repeats and token and images_in(entry):
            yield FolderPart(entry, _concept(token, token), f"the folder is called {entry.name}", repeats)


def _folders(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return []


def _concept(text: str, other: str) -> str:
    return other if concept_problem(text.strip()) else text.strip()


def common_start(captions: Sequence[str]) -> tuple[str, int]:
    """What (nearly) all captions begin with, in whole tags or words, and how many of them do; ("", 0) for nothing."""
    if len(captions) < 2:
        return "", 0
    low, high = min(captions), max(captions)
    same = next((n for n, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    shared = low[:same]
    if all(text == shared for text in captions):
        return shared, len(captions)
    start = shared[: shared.rfind(",")] if "," in shared else shared[: shared.rfind(" ") + 1].strip()
    if len(start) > len("abc") and start.split()[0].lower() not in ARTICLES:
        return start, len(captions)
    heads = Counter(text.partition(",")[0] for text in captions if "," in text).most_common(1)
    head, having = heads[0] if heads else ("", 0)
    often = having >= ALIKE and having >= NEARLY_ALL * len(captions)
    return (head, having) if often and len(head) > len("abc") else ("", 0)


def sprite(pictures: Sequence[Path]) -> tuple[Size, int] | None:
    """The size that every picture was drawn in, and how many times it was enlarged since; None where they differ.

    Only an enlargement by nearest neighbour is found: any other leaves no two columns alike.
    """
    first = _drawn(pictures[0]) if pictures else None
    sampled = pictures[1 :: max(1, len(pictures) // SAMPLED)]
    return first if first and all(_drawn(path) == first for path in sampled) else None


def _drawn(path: Path) -> tuple[Size, int] | None:
    try:
        with PIL.Image.open(path, formats=FORMATS) as opened:
            plain = opened.convert("RGBA")
    except Exception:  # noqa: BLE001 - a broken file makes decoders raise nearly anything; the plan names it
        return None
    if plain.getcolors(COLOURS) is None:
        return None
    turned = plain.transpose(PIL.Image.Transpose.TRANSPOSE)
    times = math.gcd(_step(plain), _step(turned))
    size = (plain.width // times, plain.height // times)
    fits = min(size) >= SMALLEST and max(size) <= LARGEST
    return (size, times) if fits and (times > 1 or max(size) <= TINY) else None


def _step(plain: PIL.Image.Image) -> int:
    """The height of the blocks that a picture's rows come in."""
    data, width = plain.tobytes(), plain.width * 4
    rows = [data[at : at + width] for at in range(0, len(data), width)]
    return math.gcd(len(rows), *(n for n in range(1, len(rows)) if rows[n] != rows[n - 1]))
