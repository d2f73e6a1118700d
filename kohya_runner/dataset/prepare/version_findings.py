"""What a prepared version says of itself: files set aside, what could not be done, and batches that are not full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import gcd
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.dataset.buckets import make_buckets, select
from kohya_runner.dataset.prepare.shaping import NO_GRID, PADDED, SMALL, PrepareSettings
from kohya_runner.findings import Finding, info, warning
from kohya_runner.text import counted, names

if TYPE_CHECKING:
    from kohya_runner.dataset.prepare.manifest import DatasetVersion


def version_findings(version: DatasetVersion) -> Iterator[Finding]:
    """What a person should know of a version, as its manifest tells it."""
    for one in (one for one in version.set_aside if not one.like):
        yield warning("image.set_aside", f"{Path(one.source).name}: {one.why}", where=one.source, hint="replace it")
    copies = [Path(one.source) for one in version.set_aside if one.like]
    if copies:
        text = f"{len(copies)} set aside as copies: {names(copies)}"
        yield info("image.set_aside", text, hint="the manifest says of which; --keep-near keeps what only looks alike")
    told = (
        (NO_GRID, "the pixel grid is not known, they are kept as they are", "crop them to the sprite alone"),
        (
            SMALL,
            "smaller than their bucket, and not enlarged",
            "write args.bucket_no_upscale: true, or a smaller --size",
        ),
        ("its focus", "the focus is not two numbers from 0 to 1, such as 0.5 0.25", "correct the .focus file"),
        ("its colour profile", "the colour profile cannot be used; the colours are as they stand", "look at them"),
    )
    for begin, text, hint in told:
        found = [Path(one.file) for one in version.pictures if any(what.startswith(begin) for what in one.what)]
        if found:
            yield warning("image.prepared", f"{counted(len(found), 'image')}: {names(found)}: {text}", hint=hint)
    padded = [Path(one.file) for one in version.pictures if any(what.startswith(PADDED) for what in one.what)]
    if padded:
        text = f"{counted(len(padded), 'image')} with background at the edges, as the grid does not fill the bucket"
        yield info("image.padded", f"{text}: {names(padded)}")


def bucket_rests(version: DatasetVersion, settings: PrepareSettings, batch: int) -> Iterator[Finding]:
    """The pictures that leave a bucket with a batch that is not full, and the repeats that would fill it."""
    buckets = make_buckets(settings.buckets)
    chosen = {one.file: select(buckets, one.size) for one in version.pictures}
    counts = Counter(found[0] for found in chosen.values() if found)
    for bucket, count in sorted(counts.items()):
        if rest := count % batch:
            files = [Path(name) for name, found in chosen.items() if found and found[0] == bucket]
            text = f"bucket {bucket[0]}x{bucket[1]} has {counted(count, 'image')}: {rest} fill no batch of {batch}"
            hint = (
                f"a dataset of these alone with repeats: {batch // gcd(count, batch)} fills it; or crop them otherwise"
            )
            yield info("dataset.bucket_rest", f"{text}: {names(files)}", hint=hint)
