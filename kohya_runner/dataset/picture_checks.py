"""What the trainer will do to pictures without a word: checks over what it will see, one row each."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from operator import sub

from kohya_runner.dataset.buckets import make_buckets, select
from kohya_runner.dataset.trainer_view import PageFinding, Rules, TrainerView, named, page_finding, some
from kohya_runner.findings import error, info, warning
from kohya_runner.text import counted

Check = Callable[[Sequence[TrainerView], Rules], Iterator[PageFinding]]
AcrossCheck = Callable[[Sequence[TrainerView]], Iterator[PageFinding]]

SMOOTH = ("lanczos", "lanczos4", "bilinear", "linear", "bicubic", "cubic", "area", "box")
"""Interpolations that blur small art when it grows. ``box`` and ``area`` blur wherever the factor is not whole."""
ENLARGED = 1.5
CROPPED = 0.15
EXTREME = 3.0  # one side to the other
FEW = 5  # groups named


def rotation(views: Sequence[TrainerView], _rules: Rules) -> Iterator[PageFinding]:
    """The trainer reads no EXIF orientation (library/utils.py:170): a phone's picture lies on its side."""
    turned = [one for one in views if one.traits and one.traits.orientation != 1]
    text, hint = "with an EXIF rotation that the trainer ignores", "turn the pixels and save again"
    return some(warning, "image.exif_rotation", turned, "image", text, hint)


def alpha(views: Sequence[TrainerView], rules: Rules) -> Iterator[PageFinding]:
    """Without alpha_mask transparency is dropped, and what lies below it is trained (library/utils.py:177)."""
    clear = [one for one in views if one.traits and one.traits.transparent]
    if not clear or rules.alpha_mask:
        return
    pixels = sum(one.traits.transparent for one in clear if one.traits)
    share = pixels / sum(one.image.width * one.image.height for one in clear)
    text = (
        f"{counted(len(clear), 'image')} with {pixels} transparent pixels ({share:.0%} of them): {named(clear)}; "
        "the transparency is dropped and the colours below it are trained"
    )
    hint = "paint them on the background you want, or write args.alpha_mask: true to leave those pixels out of the loss"
    yield page_finding(warning, "image.alpha", text, clear, hint=hint)


def animated(views: Sequence[TrainerView], _rules: Rules) -> Iterator[PageFinding]:
    moving = [one for one in views if one.traits and one.traits.animated]
    text, hint = "with several frames, only the first is used", "save the frames you want as single pictures"
    return some(warning, "image.animated", moving, "image", text, hint)


def cmyk(views: Sequence[TrainerView], _rules: Rules) -> Iterator[PageFinding]:
    """Pillow turns printing colours into RGB without the file's profile."""
    printed = [one for one in views if one.traits and one.traits.mode in ("CMYK", "LAB")]
    text = "in CMYK or LAB, whose colours change on the way to RGB"
    return some(warning, "image.cmyk", printed, "image", text, "save as RGB")


def depth(views: Sequence[TrainerView], _rules: Rules) -> Iterator[PageFinding]:
    """16-bit grey is cut at 255 and not scaled: nearly all of it becomes white."""
    clipped = [one for one in views if one.traits and one.traits.clipped]
    dark = [one for one in views if one.traits and one.traits.mode.startswith("I;16") and not one.traits.clipped]
    white = "with more than 8 bits a channel, which becomes white"
    black = "with 16 bits a channel, of which the trainer reads the lowest 8 alone"
    yield from some(error, "image.depth", clipped, "grey image", white, "save with 8 bits a channel")
    yield from some(warning, "image.depth", dark, "grey image", black, "save with 8 bits a channel")


def pixel_art(views: Sequence[TrainerView], rules: Rules) -> Iterator[PageFinding]:
    """Small art that is enlarged, by a filter that blurs it or by a factor that is not whole."""
    small = [one for one in views if one.tiny and one.scale >= 2]
    smooth = [one for one in small if one.interpolation in SMOOTH]
    if smooth:
        first = smooth[0]
        text = (
            f"{counted(len(smooth), 'small image')} enlarged up to {max(one.scale for one in smooth):.1f} times with "
            f"{_used(smooth)}, which blurs every pixel's edge: {named(smooth)}"
        )
        option = "write args.resize_interpolation: nearest, or " if rules.takes_interpolation else ""
        hint = f"{option}enlarge them yourself by a whole factor ({_whole(first)})"
        yield page_finding(warning, "image.blurred", text, smooth, hint=hint)
    if rules.resize_interpolation != "nearest":
        return
    uneven = [one for one in small if not math.isclose(one.scale, round(one.scale), abs_tol=1e-9)]
    if uneven:
        text = (
            f"{counted(len(uneven), 'small image')} enlarged by a factor that is not whole "
            f"({uneven[0].scale:.2f}), so that some pixels become wider than others: {named(uneven)}"
        )
        hint = f"enlarge them yourself by a whole factor ({_whole(uneven[0])}) and pad to the bucket"
        yield page_finding(info, "image.uneven", text, uneven, hint=hint)


def enlarged(views: Sequence[TrainerView], _rules: Rules) -> Iterator[PageFinding]:
    """Photographs that hold fewer pixels than they are trained at."""
    grown = [one for one in views if one.scale > ENLARGED and not one.tiny and one.interpolation != "nearest"]
    if grown:
        text = f"{counted(len(grown), 'image')} enlarged up to {max(one.scale for one in grown):.1f} times"
        hint = "take larger originals, a lower resolution, or args.bucket_no_upscale: true"
        yield page_finding(warning, "image.enlarged", f"{text} with {_used(grown)}: {named(grown)}", grown, hint=hint)


def cropped(views: Sequence[TrainerView], rules: Rules) -> Iterator[PageFinding]:
    """Pictures of which the crop takes a good part (library/utils.py:217-226)."""
    cut = [one for one in views if one.lost > CROPPED]
    if cut:
        worst = max(cut, key=lambda one: one.lost)
        text = (
            f"{counted(len(cut), 'image')} losing more than {CROPPED:.0%} to the crop: {named(cut)}; at most "
            f"{worst.lost:.0%} ({worst.lost_pixels} pixels)"
        )
        buckets = rules.buckets is not None and rules.buckets.enable_bucket
        hint = "crop them yourself, or raise max_bucket_reso" if buckets else "write args.enable_bucket: true"
        yield page_finding(warning, "image.cropped", text, cut, hint=hint)


def webp(views: Sequence[TrainerView], rules: Rules) -> Iterator[PageFinding]:
    """WebP files whose size imagesize misreads by a pixel, where that costs a step of the bucket."""
    if rules.buckets is None:
        return
    made = make_buckets(rules.buckets)
    short = [(one, select(made, one.size)) for one in views if one.traits and one.traits.short]
    wrong = [one for one, choice in short if (choice[0] if choice else None) != one.bucket]
    if wrong:
        text = f"{counted(len(wrong), 'WebP image')} that the trainer measures one pixel too small, and puts into"
        hint = "save as PNG, or as WebP without metadata, alpha and animation"
        yield page_finding(warning, "image.webp_size", f"{text} a smaller bucket: {named(wrong)}", wrong, hint=hint)


def aspect(views: Sequence[TrainerView], _rules: Rules) -> Iterator[PageFinding]:
    odd = [one for one in views if min(one.size) > 0 and max(one.size) / min(one.size) >= EXTREME]
    text = f"more than {EXTREME:g} times as long as wide"
    return some(info, "image.aspect", odd, "image", text, "cut them into pieces")


def same_bytes(views: Sequence[TrainerView]) -> Iterator[PageFinding]:
    groups = exact(views)
    if groups:
        text = f"{counted(len(groups), 'picture')} more than once, byte for byte: {_grouped(groups)}"
        members = [one for group in groups for one in group]
        hint = "remove the copies, and use repeats to give a picture more weight"
        yield page_finding(warning, "image.duplicate", text, members, hint=hint)


def same_look(views: Sequence[TrainerView]) -> Iterator[PageFinding]:
    groups = near(views)
    if groups:
        text = f"{counted(len(groups), 'group')} of nearly the same picture: {_grouped(groups)}"
        members = [one for group in groups for one in group]
        hint = "look at them, and keep the best of each"
        yield page_finding(warning, "image.near_duplicate", text, members, hint=hint)


def balance(views: Sequence[TrainerView]) -> Iterator[PageFinding]:
    shown: dict[str, int] = {}
    for one in views:
        if not one.source.regularization and not one.image.problem:
            shown[one.source.concept] = shown.get(one.source.concept, 0) + one.source.repeats
    if len(shown) < 2:
        return
    total = sum(shown.values())
    parts = ", ".join(f"{concept} {number / total:.0%}" for concept, number in shown.items())
    most, least = max(shown.values()), min(shown.values())
    say = warning if most > 3 * least else info
    hint = "change repeats" if say is warning else ""
    yield PageFinding(say("dataset.balance", f"images of an epoch, repeats counted: {parts}", hint=hint))


def _grouped(groups: Sequence[Sequence[TrainerView]]) -> str:
    shown = "; ".join(" = ".join(one.image.path.name for one in group[:3]) for group in groups[:FEW])
    return shown if len(groups) <= FEW else f"{shown}; and {len(groups) - FEW} more"


def _used(views: Sequence[TrainerView]) -> str:
    return " and ".join(sorted({one.interpolation for one in views}))


def _whole(one: TrainerView) -> str:
    """``42 times makes 1008x1008``."""
    factor = max(1, math.floor(one.scale))
    return f"{factor} times makes {one.image.width * factor}x{one.image.height * factor}"


PICTURE_CHECKS: tuple[Check, ...] = (
    depth, rotation, alpha, animated, cmyk, pixel_art, enlarged, cropped, webp, aspect,
)  # fmt: skip
"""Checks of one folder's pictures. A new check is a row here."""

PICTURE_ACROSS: tuple[AcrossCheck, ...] = (same_bytes, same_look, balance)
"""Checks over the pictures of all folders."""


MEAN = 2.5  # of 255: mean difference of the signatures of one picture saved twice
LARGEST = 24  # of 255: in any of the 64 fields
QUARTER = 3  # of 255: in the mean brightness of a quarter
CELL = 12
ASPECT = 0.02
_SIDE = 8


@dataclass(slots=True)
class _Group:
    first: TrainerView
    signature: bytes
    quarters: tuple[int, ...]
    ratio: float
    others: list[TrainerView] | None = None  # nearly always None: there may be as many groups as pictures


@dataclass(slots=True)
class _Known:
    """The groups found so far: by their whole signature, and by the cell of their brightness.

    Each picture is compared with the first of every group whose brightness agrees in all four quarters, so that ten
    thousand frames of one film cost little more than ten thousand different pictures.
    """

    signatures: dict[bytes, list[_Group]]
    cells: dict[tuple[int, ...], list[_Group]]

    def like(self, candidate: _Group) -> _Group | None:
        """The first group that shows the same; the very same signature is looked up and not searched for."""
        for group in self.signatures.get(candidate.signature, ()):
            if _near(group.ratio, candidate.ratio):
                return group
        ranges = [range((q - QUARTER) // CELL, (q + QUARTER) // CELL + 1) for q in candidate.quarters]
        close = (group for cell in product(*ranges) for group in self.cells.get(cell, ()))
        return next((group for group in close if _same(group, candidate)), None)

    def add(self, candidate: _Group) -> None:
        self.signatures[candidate.signature].append(candidate)
        self.cells[tuple(value // CELL for value in candidate.quarters)].append(candidate)


def exact(pictures: Iterable[TrainerView]) -> tuple[tuple[TrainerView, ...], ...]:
    groups: dict[str, list[TrainerView]] = defaultdict(list)
    for view in pictures:
        if not view.image.problem:
            groups[f"{view.image.sha256} {view.source.options}"].append(view)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def near(pictures: Iterable[TrainerView]) -> tuple[tuple[TrainerView, ...], ...]:
    """Groups of different files that show nearly the same; of exact copies only the first takes part."""
    known = _Known(defaultdict(list), defaultdict(list))
    groups: list[_Group] = []
    hashes: set[str] = set()
    for view in pictures:
        signature = view.traits.signature if view.traits else b""
        if not signature or view.image.sha256 in hashes:
            continue
        hashes.add(view.image.sha256)
        candidate = _Group(view, signature, _quarters(signature), view.image.width / view.image.height)
        group = known.like(candidate)
        if group is None:
            known.add(candidate)
            continue
        if group.others is None:
            group.others = []
            groups.append(group)
        group.others.append(view)
    return tuple((group.first, *(group.others or ())) for group in groups)


def _same(one: _Group, other: _Group) -> bool:
    """A million times in large datasets: the first field that differs much ends it."""
    for a, b in zip(one.quarters, other.quarters, strict=True):
        if not -QUARTER <= a - b <= QUARTER:
            return False
    for a, b in zip(one.signature, other.signature, strict=True):
        if not -LARGEST <= a - b <= LARGEST:
            return False
    total = sum(map(abs, map(sub, one.signature, other.signature)))
    return total <= MEAN * len(one.signature) and _near(one.ratio, other.ratio)


def _near(one: float, other: float) -> bool:
    return abs(one / other - 1) <= ASPECT


def _quarters(signature: bytes) -> tuple[int, ...]:
    """Mean of all colours in the four quarters."""
    half, row = _SIDE // 2, _SIDE * 3
    rows = [signature[index * row : index * row + row] for index in range(_SIDE)]
    return tuple(
        sum(sum(line[left : left + half * 3]) for line in rows[top : top + half]) // (half * half * 3)
        for top in (0, half)
        for left in (0, half * 3)
    )
