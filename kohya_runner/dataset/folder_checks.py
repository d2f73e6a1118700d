"""Problems in a dataset: pure checks over scans, one row each, one finding per kind and folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from kohya_runner.dataset import facts
from kohya_runner.dataset.caption_checks import CAPTION_CHECKS, about
from kohya_runner.dataset.captions import stem
from kohya_runner.dataset.facts import CAPTION_BLANK, ENTRIES, FOCUS, IMAGE_FORMATS, LINK, MANIFEST, Image, Scan, Source
from kohya_runner.dataset.picture_checks import PICTURE_ACROSS, PICTURE_CHECKS
from kohya_runner.dataset.prompt_checks import PROMPT_CHECKS
from kohya_runner.dataset.survey import Survey
from kohya_runner.dataset.trainer_view import PageFinding, Rules, TrainerView, trainer_views
from kohya_runner.findings import Finding, error, info, warning
from kohya_runner.text import counted, names, nearest, printable, repeats_and_token

Check = Callable[[Scan], Iterator[Finding]]
AcrossCheck = Callable[[tuple[Scan, ...]], Iterator[Finding]]


def dataset_findings(
    surveys: Sequence[Survey], rules: Rules, own: Callable[[Source], Rules] | None = None
) -> tuple[tuple[TrainerView, ...], tuple[PageFinding, ...]]:
    """Every image as the trainer will see it, and all that was found, folders first.

    ``own`` gives the rules of a dataset with options of its own.
    """
    by = [own(one.scan.source) if own and one.scan.source.options else rules for one in surveys]
    if "enable_wildcard" in rules.changing:
        surveys = tuple(
            replace(one, scan=replace(one.scan, images=tuple(map(_any_line, one.scan.images)))) for one in surveys
        )
    parts = tuple(tuple(trainer_views(one, how)) for one, how in zip(surveys, by, strict=True))
    views = tuple(one for part in parts for one in part)
    said = [PageFinding(finding) for finding in edit_problems(surveys)]
    said += [PageFinding(finding) for finding in check_datasets(one.scan for one in surveys)]
    for part, how in zip(parts, by, strict=True):
        usable = tuple(one for one in part if not one.image.problem)
        said += [note for check in PICTURE_CHECKS if usable for note in check(usable, how)]
        said += [note for check in PROMPT_CHECKS if usable for note in check(usable, how)]
    said += [note for check in PICTURE_ACROSS for note in check([one for one in views if not one.source.edit])]
    return views, tuple(said)


def _any_line(image: Image) -> Image:
    """With enable_wildcard every line that is not blank counts, one at a time (library/dreambooth_dataset.py:110)."""
    caption = image.caption
    if caption is None or not caption.lines or caption.problem not in ("", CAPTION_BLANK):
        return image
    return replace(image, caption=replace(caption, lines=1, problem=""))


OTHER_PICTURES = frozenset({
    ".gif", ".tif", ".tiff", ".avif", ".jxl", ".heic", ".heif", ".jfif", ".jpe", ".jp2", ".svg", ".psd", ".ico", ".tga",
    ".dds", ".ppm", ".pgm", ".exr", ".raw", ".dng",
})  # fmt: skip
"""Endings of pictures that the trainer passes over (library/dataset.py:77); .avif and .jxl need more packages."""
PILLOW_LIMIT = 89_478_485  # pixels: above it Pillow warns, above twice of it it refuses


def edit_problems(surveys: Iterable[Survey]) -> Iterator[Finding]:
    for one in surveys:
        if one.edit is not None:
            from kohya_runner.dataset.edit_checks import check_edits

            yield from check_edits(one.edit)


def check_datasets(scans: Iterable[Scan]) -> tuple[Finding, ...]:
    """All findings about the folders, in the recipe's order, then those about several of them."""
    every = tuple(scans)
    alone = tuple(finding for scan in every for check in checks_of(scan) for finding in check(scan))
    return alone + tuple(finding for check in ACROSS_CHECKS for finding in check(every))


def checks_of(scan: Scan) -> tuple[Check, ...]:
    """The checks that hold for a folder, or for the metadata file of an edit dataset: it names its pictures itself."""
    return (concept, links, content, huge, *CAPTION_CHECKS) if scan.source.edit else DATASET_CHECKS


def missing(scan: Scan) -> Iterator[Finding]:
    if scan.problem:
        text = f"{printable(str(scan.source.folder))}: {scan.problem}"
        beside = [path.name for path in scan.source.folder.parent.glob("*") if path.is_dir()]
        close = nearest(scan.source.folder.name, beside)
        meant = f"did you mean images: {printable(str(scan.source.folder.with_name(close)))}?" if close else ""
        packed = scan.source.folder.suffix.lower() == ".zip"
        plain = "add prepare: {} to this entry" if packed else "write images: FOLDER, the one that holds the pictures"
        hint = meant or plain
        yield error("dataset.missing", text, where=scan.source.where, hint=hint)


def level(scan: Scan) -> Iterator[Finding]:
    """A folder of folders: the trainer, too, reads only one level (library/config_util.py:634)."""
    filled = [(name, images) for name, images in scan.subfolders if images]
    if scan.problem or scan.images or not filled:
        return
    name, images = filled[0]
    text = f"{printable(str(scan.source.folder))} contains no images, but its subfolders do"
    folder = printable(str(scan.source.folder / name))
    hint = f"give each its own entry under datasets, as images: {folder} ({counted(images, 'image')})"
    if all(repeats_and_token(name)):
        hint = "write layout: kohya beside images: each N_concept folder is a dataset then"
    yield error("dataset.level", text, where=scan.source.where, hint=hint)


def empty(scan: Scan) -> Iterator[Finding]:
    if not scan.problem and not scan.images and not any(images for _, images in scan.subfolders):
        extensions = ", ".join(IMAGE_FORMATS)
        text = f"no images in {printable(str(scan.source.folder))}"
        yield error("dataset.empty", text, where=scan.source.where, hint=f"the trainer reads {extensions}")


def count(scan: Scan) -> Iterator[Finding]:
    """Exactly as many images and captions as the recipe says; of regularization images only the images."""
    expected = scan.source.expect
    if expected is None or scan.problem:
        return
    images = len(scan.images)
    captions = len({image.caption.path for image in scan.images if image.caption}) + len(scan.orphans)
    wanted, found = f"expected {counted(expected, 'image')}", f"found {images}"
    if not scan.source.regularization:
        wanted, found = f"{wanted} and {counted(expected, 'caption')}", f"{found} and {captions}"
    if images != expected or (captions != expected and not scan.source.regularization):
        yield error("dataset.count", f"{wanted}, {found}", where=scan.source.where)


def other_pictures(scan: Scan) -> Iterator[Finding]:
    """``a.gif``: a picture that is left out without a word."""
    found = [path for path in scan.strays if path.suffix.lower() in OTHER_PICTURES]
    text, hint = "in formats the trainer does not read", f"save as one of {', '.join(IMAGE_FORMATS)}, or take out of"
    return about(warning, "dataset.other_pictures", scan, found, "picture", text, f"{hint} the folder")


def strays(scan: Scan) -> Iterator[Finding]:
    ours = {MANIFEST, ENTRIES, facts.ANSWERS, *(stem(image.path.name) + FOCUS for image in scan.images)}
    found = [path for path in scan.strays if path.suffix.lower() not in OTHER_PICTURES and path.name not in ours]
    return about(info, "dataset.strays", scan, found, "file", "that the trainer does not read")


def subfolders(scan: Scan) -> Iterator[Finding]:
    """Images below a folder that has images itself: the trainer does not search on (library/dataset.py:1448)."""
    below = [scan.source.folder / name for name, images in scan.subfolders if images]
    if scan.images and below:
        images = sum(images for _, images in scan.subfolders)
        text = f"{counted(images, 'image')} in subfolders are not used: {names(below)}"
        yield warning("dataset.subfolders", text, where=scan.source.place(below), hint="give them entries of their own")


def extension(scan: Scan) -> Iterator[Finding]:
    """``a.Png``: the trainer knows .png and .PNG alone (library/dataset.py:77)."""
    mixed = [i.path for i in scan.images if i.path.suffix not in (i.path.suffix.lower(), i.path.suffix.upper())]
    text, hint = "with an extension the trainer would skip", "the runner lays it out under the lower-case one"
    return about(info, "dataset.extension", scan, mixed, "image", text, hint)


def stem_twice(scan: Scan) -> Iterator[Finding]:
    """``a.png`` and ``a.jpg``: one caption file for two images."""
    stems = Counter(stem(image.path.name) for image in scan.images)
    same = [image.path for image in scan.images if stems[stem(image.path.name)] > 1]
    text, hint = "share a name and so a caption", "rename one of each, or remove it"
    return about(warning, "dataset.stem_twice", scan, same, "image", text, hint)


def concept(scan: Scan) -> Iterator[Finding]:
    """``10_cat`` as a concept: the number reads like repeats and becomes part of the name."""
    repeats, token = repeats_and_token(scan.source.concept)
    if repeats and token:
        text = f"the concept '{scan.source.concept}' begins with a number, which stays part of the name"
        hint = f"if it means repeats, write in this entry concept: {token} and repeats: {repeats}"
        yield warning("dataset.concept", text, where=scan.source.where, hint=hint)


def unreadable(scan: Scan) -> Iterator[Finding]:
    """Files that cannot be decoded: the trainer notices after it has loaded the model (library/utils.py:181)."""
    by_reason: dict[str, list[Image]] = {}
    for image in scan.images:
        if image.problem and image.problem != LINK:
            by_reason.setdefault(image.problem, []).append(image)
    for reason, images in by_reason.items():
        paths = [image.path for image in images]
        text = f"{counted(len(paths), 'image')} cannot be used: {names(paths)}: {reason}"
        yield error("image.unreadable", text, where=scan.source.place(paths), hint="replace or remove")


def links(scan: Scan) -> Iterator[Finding]:
    """Links that lead out of the dataset: they may lead to a secret, whose text would end in the model's metadata."""
    captions = [i.caption.path for i in scan.images if i.caption and i.caption.problem.endswith(LINK)]
    paths = [*(image.path for image in scan.images if image.problem == LINK), *captions]
    if paths:
        text = f"{counted(len(paths), 'file')} {'is' if len(paths) == 1 else 'are'} not read: {names(paths)}: {LINK}"
        hint = "copy the files there; or name their folder in your settings (folders: [...]); or --allow dataset.link"
        yield error("dataset.link", text, where=scan.source.place(paths), hint=hint)


def content(scan: Scan) -> Iterator[Finding]:
    """A GIF named ``.png``: it is read all the same, of an animation the first picture."""
    wrong = [i for i in scan.images if i.format and i.format not in IMAGE_FORMATS.get(i.path.suffix.lower(), ())]
    text = f"with content other than the name says ({', '.join(sorted({image.format for image in wrong}))})"
    hint = "it is read by its content; rename it"
    return about(info, "image.format", scan, [image.path for image in wrong], "image", text, hint)


def huge(scan: Scan) -> Iterator[Finding]:
    """More pixels than Pillow takes for reasonable: the trainer reads it, slowly and with much memory."""
    paths = [image.path for image in scan.images if image.width * image.height > PILLOW_LIMIT]
    return about(warning, "image.huge", scan, paths, "image", "of more than 89 megapixels", "make them smaller")


def same_folder(scans: tuple[Scan, ...]) -> Iterator[Finding]:
    """Two entries that read the same folder: its images count twice."""
    seen: dict[str, Scan] = {}
    for scan in scans:
        real = f"{os.path.realpath(scan.source.folder)}\0{scan.source.options}"  # at several resolutions: on purpose
        if real in seen:
            text = f"{printable(str(scan.source.folder))} is already the folder of another entry"
            first = seen[real].source.where
            hint = f"the other entry: {first}" if first else ""
            yield warning("dataset.same_folder", text, where=scan.source.where, hint=hint)
        seen.setdefault(real, scan)


def only_regularization(scans: tuple[Scan, ...]) -> Iterator[Finding]:
    """Class images alone are no training data (library/dreambooth_dataset.py:329)."""
    if scans and all(scan.source.regularization for scan in scans):
        text = "all datasets are regularization images: there is nothing to train on"
        yield error("dataset.empty", text, where=scans[0].source.where, hint="add a dataset with regularization: false")


DATASET_CHECKS: tuple[Check, ...] = (
    missing, level, empty, count, concept, subfolders, stem_twice, extension, other_pictures,
    strays, links, unreadable, content, huge,
    *CAPTION_CHECKS,
)  # fmt: skip
"""Checks of one folder. A new check is a row here."""

ACROSS_CHECKS: tuple[AcrossCheck, ...] = (same_folder, only_regularization)
"""Checks over all folders of a recipe."""
