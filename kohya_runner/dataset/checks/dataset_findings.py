"""Problems in datasets that were read: the checks of folders, pictures and prompts in one place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kohya_runner.dataset.checks.edits import check_edits
from kohya_runner.dataset.checks.folders import check_datasets
from kohya_runner.dataset.checks.pictures import PICTURE_ACROSS, PICTURE_CHECKS
from kohya_runner.dataset.checks.prompts import PROMPT_CHECKS
from kohya_runner.dataset.facts import CAPTION_BLANK
from kohya_runner.dataset.trainer_view import PageFinding, trainer_views

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kohya_runner.dataset.facts import Image, Source
    from kohya_runner.dataset.survey import Survey
    from kohya_runner.dataset.trainer_view import Rules, TrainerView


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
    said = [PageFinding(finding) for one in surveys if one.edit for finding in check_edits(one.edit)]
    said += [PageFinding(finding) for finding in check_datasets(one.scan for one in surveys)]
    for part, how in zip(parts, by, strict=True):
        usable = tuple(one for one in part if not one.image.problem)
        said += [note for check in PICTURE_CHECKS if usable for note in check(usable, how)]
        said += [note for check in PROMPT_CHECKS if usable for note in check(usable, how)]
    said += [note for check in PICTURE_ACROSS for note in check([one for one in views if not one.source.edit])]
    return views, tuple(said)


def _any_line(image: Image) -> Image:
    """With enable_wildcard every line counts that is not blank, one of them at a time (library/train_util.py:1966)."""
    caption = image.caption
    if caption is None or not caption.lines or caption.problem not in ("", CAPTION_BLANK):
        return image
    return replace(image, caption=replace(caption, lines=1, problem=""))
