"""Paints the class images that a plan lacks, before the training: what is missing and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from kohya_runner import safe_files
from kohya_runner.dataset.survey import is_planned
from kohya_runner.engines.painting import ClassPainting
from kohya_runner.errors import PreflightError, TrainerError
from kohya_runner.findings import Severity
from kohya_runner.plan.commands import stages
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Plan
from kohya_runner.record.metrics_file import last_lines
from kohya_runner.run import prepare
from kohya_runner.run.observers import Observer, Reporter
from kohya_runner.run.supervise import Watch, supervise

LOG = "painting.log"
LOCK = ".lock"
LAST_LINES = 12


def with_class_images(plan: Plan, screen: Reporter, environ: Mapping[str, str]) -> Plan:
    """The plan with every class image on the disk: itself where none is missing, else a new one of the same request.

    Raises:
        PreflightError: a practice run lacks some, or the new plan has errors.
        TrainerError: the generator left pictures out.
        CancelledError, TerminatedError: stopped; what was painted is kept.
    """
    missing = sum(is_planned(image) for scan in plan.scans for image in scan.images)
    if not missing:  # when the plan was made; by now they may be there, and then it is made anew all the same
        return plan
    if plan.request.practice:
        text = f"{missing} class images are missing, and a practice run paints nothing"
        raise PreflightError(text, hint="name a folder with pictures for this dataset")
    todo = stages(plan)
    if todo:
        prepare.cache_folders(plan.ready.command.env)
        prepare.models(plan, environ, screen.event)
    for stage in todo:
        _paint(stage, screen, environ)
    # the pictures are data like any other now: read, judged and counted
    new = make_plan(plan.request, environ=environ)
    if not new.ok:
        told = [finding.message for finding in new.findings if finding.severity is Severity.ERROR]
        raise PreflightError("with the painted class images: " + "; ".join(told), hint="see: kohya-runner plan")
    return new


def _paint(stage: ClassPainting, screen: Reporter, environ: Mapping[str, str]) -> None:
    """One process, its finished pictures moved into place as they come."""
    folder = stage.images.folder
    folder.mkdir(parents=True, exist_ok=True)
    with safe_files.locked(folder / LOCK):  # one launch paints a folder at a time
        missing = stage.images.missing()
        if not missing:  # another launch was faster
            return
        shutil.rmtree(stage.scratch, ignore_errors=True)
        stage.scratch.mkdir(parents=True)
        safe_files.write_text(stage.file, stage.told)
        screen.event(f"painting {len(missing)} class images of '{stage.images.prompt}' into {folder}", lasting=True)
        mover = _Mover(stage, missing, screen)
        watch = Watch(log=folder / LOG, output_dir=stage.scratch, observers=(mover,))
        outcome = supervise(stage.command, watch, environ=environ)
        mover.rest()
        shutil.rmtree(stage.scratch, ignore_errors=True)
    outcome.raise_stop(f": {mover.kept} of {len(missing)} class images are kept")
    left = stage.images.missing()
    if left:
        tail = "\n".join(last_lines(folder / LOG, LAST_LINES))
        text = f"{stage.script} ended with code {outcome.returncode} and left {len(left)} class images out\n{tail}"
        raise TrainerError(text, hint=f"the whole log: {folder / LOG}; run the same command again to continue")


class _Mover(Observer):
    """Follows the pictures while they are painted, one after the other."""

    def __init__(self, stage: ClassPainting, missing: tuple[str, ...], screen: Reporter) -> None:
        self.stage = stage
        self.waiting = list(missing)
        self.total = len(missing)
        self.screen = screen

    @property
    def kept(self) -> int:
        return self.total - len(self.waiting)

    def tick(self) -> None:
        """A picture is whole as soon as the next one is there."""
        before = self.kept
        while len(self.waiting) > 1 and self.stage.painted(self.waiting[1]) is not None:
            self._move()
        if self.kept > before:
            self.screen.event(f"{self.kept} of {self.total} class images", lasting=False)

    def rest(self) -> None:
        while self.waiting and _whole(self.stage.painted(self.waiting[0])):
            self._move()

    def _move(self) -> None:
        name = self.waiting.pop(0)
        picture = self.stage.painted(name)
        if picture is not None:
            picture.replace(self.stage.images.folder / name)


def _whole(path: Path | None) -> bool:
    if path is None:
        return False
    import PIL.Image

    try:
        with PIL.Image.open(path, formats=("PNG",)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True
