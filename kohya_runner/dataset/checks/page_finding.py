"""A finding together with the images it is about, for a page that shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from kohya_runner.dataset.trainer_view import TrainerView
    from kohya_runner.findings import Finding

    Say = Callable[..., Finding]


@dataclass(frozen=True, slots=True)
class PageFinding:
    """A finding, and the image files it is about."""

    finding: Finding
    paths: tuple[Path, ...] = ()


def page_finding(say: Say, code: str, text: str, views: Sequence[TrainerView], *, hint: str = "") -> PageFinding:
    """A finding about some images of one folder."""
    paths = tuple(one.image.path for one in views)
    return PageFinding(say(code, text, where=views[0].source.place(paths), hint=hint), paths)
