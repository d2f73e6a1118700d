"""The page: one HTML file with everything in it, for a browser without a network."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kohya_runner import __version__
from kohya_runner.dataset.picture import TINY, thumbnails
from kohya_runner.dataset.prepare.manifest import MadePicture, read, source_stamp
from kohya_runner.dataset.prepare.review import Review
from kohya_runner.dataset.prompt_checks import kept
from kohya_runner.dataset.trainer_view import TrainerView
from kohya_runner.findings import finding_json
from kohya_runner.plan.inspection import Inspection, bucket_counts, bucket_name, codes_by_image, summary
from kohya_runner.text import on_page, printable, template

Progress = Callable[[str, int, int], None]


TEMPLATE = Path(__file__).with_name("dataset_page.html.j2")
PICTURES = 3000
"""How many images get a thumbnail; those with findings come first. More would be a file no browser likes to open."""


def report_html(
    inspection: Inspection,
    *,
    pictures: int = PICTURES,
    on_progress: Progress | None = None,
    marked: Mapping[str, Review] = MappingProxyType({}),
    saves: bool = False,
) -> str:
    """The page of an inspection. Whatever comes out of files is escaped.

    ``marked``: marks of an earlier visit, by folder. ``saves``: a server takes new ones; else they are downloaded.
    """  # fmt: skip
    codes = codes_by_image(inspection)
    readable = [one.image.path for one in inspection.views if not one.image.problem]
    chosen = dict.fromkeys(sorted(readable, key=lambda path: path not in codes)[: max(0, pictures)])
    before = _before(inspection)
    every = tuple(dict.fromkeys((*chosen, *(before[path][1] for path in chosen if path in before))))
    drawn = dict(zip(every, thumbnails(every, on_progress and partial(on_progress, "drawing")), strict=True))
    cards = [
        _card(one, codes.get(one.image.path, ()), drawn.get(one.image.path, ""))
        | _marks(one, marked.get(str(one.source.folder)))
        | _origin(before.get(one.image.path), drawn)
        for one in inspection.views
    ]
    said = [finding_json(f) for f in inspection.findings]
    # a caption cannot name the nonce, which depends on it: a script in it would not run even unescaped
    nonce = hashlib.sha256(repr((cards, said)).encode("utf-8", "replace")).hexdigest()[:32]
    page = template(TEMPLATE, (lambda value: value) if saves else on_page)  # what is saved again is not changed
    text = page.render(
        title=inspection.target.name, version=__version__, nonce=nonce, saves=saves,
        ok=inspection.ok, rows=summary(inspection),
        findings=said, cards=cards, buckets=bucket_counts(inspection.views),
        folders=sorted({card["folder"] for card in cards}),
        codes=sorted({code for card in cards for code in card["codes"]}),
        undrawn=sum(not card["thumbnail"] and not card["problem"] for card in cards),
    )  # fmt: skip
    return printable(text)


def _before(inspection: Inspection) -> dict[Path, tuple[MadePicture, Path]]:
    """What changed pictures were made from, as far as it is still there as it was: a strange manifest names no more."""
    found = {}
    for folder in {one.source.folder for one in inspection.views}:
        for root in (folder, *folder.parents[:2]):
            version = read(root)
            for one in version.pictures if version else ():
                source = root / one.source
                if one.what and one.stamp and source_stamp(source) == one.stamp:
                    found[root / one.file] = (one, source)
    return found


def _origin(before: tuple[MadePicture, Path] | None, drawn: Mapping[Path, str]) -> dict[str, Any]:
    """The picture before, and what was done to it."""
    if before is None:
        return {"before": "", "source": "", "what": ""}
    made, source = before
    return {"before": drawn.get(source, ""), "source": str(source), "what": ", ".join(made.what)}


def stems_by_folder(inspection: Inspection) -> dict[str, set[str]]:
    """The pictures of each folder that may be marked."""
    found: dict[str, set[str]] = {}
    for one in inspection.views:
        found.setdefault(str(one.source.folder), set()).add(_stem(one))
    return found


def _stem(one: TrainerView) -> str:
    """How a review calls it; "" where its caption stands in a row of edits."""
    return "" if one.source.edit else os.path.relpath(one.image.path.with_suffix(""), one.source.folder)


def _marks(one: TrainerView, review: Review | None) -> dict[str, Any]:
    """What a person marked, or may mark."""
    name = _stem(one)
    caption = one.image.caption.text if one.image.caption else ""
    kept = review or Review("")
    return {"stem": name, "caption": caption, "rejected": name in kept.reject, "edited": kept.captions.get(name)}


def _card(one: TrainerView, codes: Sequence[str], drawn: str) -> dict[str, Any]:
    index = max(range(len(one.counts)), key=lambda i: one.counts[i].most - one.counts[i].limit, default=None)
    read, cut = kept(one.caption, one.counts[index]) if index is not None else (one.caption, "")
    certain = index is not None and one.counts[index].exact
    return {
        "name": one.image.path.name,
        "path": str(one.image.path),
        "folder": str(one.source.folder),
        "bucket": bucket_name(one),
        "codes": list(codes),
        "thumbnail": drawn,
        "tiny": max(one.size) <= TINY,
        "crop": _crop(one),
        "read": read,
        "cut": cut,
        "cut_certain": certain,
        "from_file": one.from_file,
        "details": list(_details(one)),
        "problem": one.image.problem,
    }


def _details(one: TrainerView) -> list[tuple[str, str]]:
    size = f"{one.image.width}x{one.image.height} {one.image.format}, " if not one.image.problem else ""
    rows = [("file", f"{size}{one.image.bytes} bytes")]
    if one.resized and one.bucket:
        how = f"to {one.resized[0]}x{one.resized[1]} ({one.scale:.3g} times) with {one.interpolation}"
        rows.append(("resized", how if one.interpolation else "no, it is of that size"))
        lost = (
            f", {one.lost:.1%} of it cut away ({one.lost_pixels} pixels)" if one.lost_pixels else ", nothing cut away"
        )
        rows.append(("bucket", bucket_name(one) + lost))
    said: dict[str, list[str]] = {}
    for one_count in one.counts:
        said.setdefault(f"{one_count.shown} of {one_count.limit}", []).append(one_count.encoder)
    rows += [("tokens", f"{', '.join(names)}: {text}") for text, names in said.items()]
    if traits := one.traits:
        rows += [("mode", traits.mode)] if traits.mode != "RGB" else []
        rows += [("EXIF", f"orientation {traits.orientation}, ignored")] if traits.orientation != 1 else []
        rows += [("alpha", f"{traits.transparent} transparent pixels")] if traits.transparent else []
        rows += [("frames", "several, the first is used")] if traits.animated else []
    often = "once" if one.source.repeats == 1 else f"{one.source.repeats} times"
    rows.append(("epoch", f"{often}, as {one.source.concept}"))
    return rows


def _crop(one: TrainerView) -> dict[str, float] | None:
    """The part that is kept, in per cent of the picture; None where all of it is."""
    if not one.lost_pixels or one.bucket is None or one.resized is None:
        return None
    width, height = (min(b, r) / r for b, r in zip(one.bucket, one.resized, strict=True))
    return {name: round(100 * value, 2) for name, value in
            (("left", (1 - width) / 2), ("top", (1 - height) / 2), ("width", width), ("height", height))}  # fmt: skip
