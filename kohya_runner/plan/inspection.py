"""Datasets inspected: read, viewed as the trainer will, checked. ``dataset check`` and ``report`` show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kohya_runner.dataset.edit import edit_line
from kohya_runner.dataset.folder_checks import checks_of, dataset_findings
from kohya_runner.dataset.scan_cache import ScanCache
from kohya_runner.dataset.survey import Survey
from kohya_runner.dataset.token_count import alike
from kohya_runner.dataset.trainer_view import PageFinding, TrainerView
from kohya_runner.errors import exit_code
from kohya_runner.findings import Finding, Severity, allow, finding_json
from kohya_runner.plan.data import CACHE, Progress, read_sources
from kohya_runner.plan.inspection_target import Target
from kohya_runner.text import printable

ORDER = (Severity.ERROR, Severity.WARNING, Severity.INFO)
_PER_IMAGE = ("image", "caption")


@dataclass(frozen=True, slots=True)
class Inspection:
    """Everything that was read and found; ``views`` and ``surveys`` in the order of the target's sources."""

    target: Target
    surveys: tuple[Survey, ...]
    views: tuple[TrainerView, ...]
    page_findings: tuple[PageFinding, ...]
    cache_problem: str = ""

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(sorted((one.finding for one in self.page_findings), key=lambda f: ORDER.index(f.severity)))

    @property
    def ok(self) -> bool:
        return not any(finding.severity is Severity.ERROR for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """0, or the code of the first stage that holds an error."""
        return exit_code(self.findings)

    @property
    def decoded(self) -> int:
        """How many images were read and not known from the cache."""
        return sum(one.decoded for one in self.surveys)


def inspect(
    target: Target, *, fresh: bool = False, allowed: Collection[str] = (), on_progress: Progress | None = None
) -> Inspection:
    """Read and check all folders of a target. What was read is kept in the workspace's cache."""
    with ScanCache(target.workspace.cache / CACHE, fresh=fresh) as cache:
        surveys = read_sources(target.sources, cache, on_progress)
        problem = cache.problem
    views, found = dataset_findings(surveys, target.rules, target.own)
    said = [*(PageFinding(finding) for finding in target.findings), *found]
    final = allow([note.finding for note in said], allowed)
    noted = tuple(replace(note, finding=finding) for note, finding in zip(said, final, strict=True))
    return Inspection(target, surveys, views, noted, problem)


def codes_by_image(inspection: Inspection) -> dict[Path, tuple[str, ...]]:
    """The codes of the findings about each image.

    The checks of a folder name only a few files in their sentence; run over one image alone they say which it is.
    """
    found: dict[Path, set[str]] = {}
    for note in inspection.page_findings:
        for path in note.paths:
            found.setdefault(path, set()).add(note.finding.code)
    said = {f.code for f in inspection.findings if f.stage in _PER_IMAGE}
    for one in inspection.surveys:
        for image in one.scan.images:
            alone = replace(one.scan, images=(image,), orphans=(), strays=(), subfolders=())
            codes = {f.code for check in checks_of(alone) for f in check(alone) if f.stage in _PER_IMAGE} & said
            if codes:
                found.setdefault(image.path, set()).update(codes)
    return {path: tuple(sorted(codes)) for path, codes in found.items()}


def summary(inspection: Inspection) -> tuple[tuple[str, str], ...]:
    """(label, text) for each line of the screen and of the page."""
    rows = [("data", f"{inspection.target.name}, {inspection.target.stated}")]
    for one in inspection.surveys:
        source = one.scan.source
        captions = sum(1 for image in one.scan.images if image.caption)
        kind = "regularization images" if source.regularization else "images"
        if one.edit is not None:
            rows.append(("edits", edit_line(one.edit)))
            continue
        what = f"{len(one.scan.images)} {kind}, {captions} captions, as {source.repeats}_{source.concept}"
        rows.append(("folder", f"{source.folder}: {what}"))
    if buckets := bucket_counts(inspection.views):
        shown = ", ".join(f"{name} ({number})" for name, number in buckets[:6])
        rest = f" and {len(buckets) - 6} more" if len(buckets) > 6 else ""
        rows.append(("buckets", shown + rest))
    rows += [("tokens", text) for text in token_lines(inspection)]
    known = sum(one.edit.files if one.edit else len(one.scan.images) for one in inspection.surveys) - inspection.decoded
    read = f"{inspection.decoded} images decoded, {known} known from the cache"
    rows.append(
        ("read", read + (f" (nothing is kept: {inspection.cache_problem})" if inspection.cache_problem else ""))
    )
    return tuple(rows)


def bucket_counts(views: Sequence[TrainerView]) -> tuple[tuple[str, int], ...]:
    """``1024x1024`` and its images, the fullest first."""
    counts = Counter(bucket_name(one) for one in views if one.bucket)
    return tuple(counts.most_common())


def bucket_name(one: TrainerView) -> str:
    return f"{one.bucket[0]}x{one.bucket[1]}" if one.bucket else ""


def token_lines(inspection: Inspection) -> Iterator[str]:
    """For each encoder the longest caption, and whether it was counted or estimated."""
    for index, name in alike(inspection.target.rules.encoders):
        encoder = inspection.target.rules.encoders[index]
        counts = [one.counts[index] for one in inspection.views]
        if counts:
            longest = max(counts, key=lambda count: count.most)
            how = "" if longest.exact or encoder.known else "; the tokenizer's files are not here"
            yield f"{name}: {longest.limit} are read, the longest caption has {longest.shown}{how}"


def inspection_json(inspection: Inspection) -> dict[str, Any]:
    codes = codes_by_image(inspection)
    return {
        "version": 1,
        "ok": inspection.ok,
        "target": inspection.target.name,
        "rules": inspection.target.stated,
        "findings": [finding_json(finding) for finding in inspection.findings],
        "buckets": dict(bucket_counts(inspection.views)),
        "images": [image_json(one, codes.get(one.image.path, ())) for one in inspection.views],
    }


COUNT_KEYS = ("encoder", "limit", "fewest", "most", "exact", "cut")


def image_json(one: TrainerView, codes: Sequence[str] = ()) -> dict[str, Any]:
    traits = one.traits
    return {
        "path": printable(str(one.image.path)),
        **{name: getattr(one.source, name) for name in ("concept", "repeats", "regularization")},
        **{name: getattr(one.image, name) for name in ("width", "height", "format", "sha256", "problem")},
        "mode": traits.mode if traits else "",
        "exif_orientation": traits.orientation if traits else 1,
        "transparent_pixels": traits.transparent if traits else 0,
        "animated": traits.animated if traits else False,
        "caption": one.caption,
        "caption_from": "file" if one.from_file else "class token",
        "tokens": [{name: getattr(count, name) for name in COUNT_KEYS} for count in one.counts],
        "bucket": list(one.bucket) if one.bucket else None,
        "resized": list(one.resized) if one.resized else None,
        "scale": round(one.scale, 4),
        "interpolation": one.interpolation or None,
        "lost_pixels": one.lost_pixels,
        "findings": list(codes),
    }
