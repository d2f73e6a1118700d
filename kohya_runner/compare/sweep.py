"""The whole comparison: what is there, what is missing, paint it, measure it, show it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from kohya_runner.compare import cells, checkpoints, painting
from kohya_runner.compare.cells import stated_controls, with_controls
from kohya_runner.compare.checkpoints import Candidates
from kohya_runner.compare.comparison import Comparison
from kohya_runner.compare.painting import PaintingPlace
from kohya_runner.compare.settings import SweepOptions, SweepSettings, settings_from, stated_samplers
from kohya_runner.compare.subject import Named, SweepSubject, find_subject, of_run, without_harm
from kohya_runner.compare.training_data import captions_of, hashes_of, resolution_of, triggers_of
from kohya_runner.compare.write_up import Made, finished
from kohya_runner.engines import table
from kohya_runner.engines.painting import MODEL, Base, Painter, is_small
from kohya_runner.errors import (
    CancelledError,
    NoCheckpointError,
    TerminatedError,
    TrainerError,
    UsageError,
)
from kohya_runner.install.checkout import Checkout, find_trainer
from kohya_runner.install.setup import InstalledTrainer
from kohya_runner.machine.host import read_gpus, run_command
from kohya_runner.plan.commands import child_env
from kohya_runner.record import lock
from kohya_runner.record.run_paths import ComparisonPaths
from kohya_runner.run.prepare import cache_folders
from kohya_runner.tables import read_table
from kohya_runner.text import child_environment

Say = Callable[..., None]


FROM_CAPTIONS = "No prompts were given, so captions of training pictures are used."
"""Where a comparison has this note, its prompts are not to be shown to others."""
HOLDER = "compare"
"""Who holds the folder of a comparison, as ``runs/<name>`` is held (kohya_runner.record.lock)."""
_OPTIONS = read_table(Path(__file__).with_name("options.toml"))
PARTS: tuple[str, ...] = tuple(_OPTIONS["parts"])  # files beside the base model
PICTURE_OPTIONS = (*PARTS, *_OPTIONS["others"])  # options of the training that decide how a picture comes out
KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(64 << 30)}
"""For glibc, where a processor paints: it asks for large pieces again and again, and each new one costs page faults."""


def quiet(_line: str, *, lasting: bool) -> None:
    """Say nothing."""


def compare_run(
    run_dir: Path, *, given: SweepOptions | None = None, say: Say = quiet, environ: Mapping[str, str] | None = None,
    trainer: tuple[str | None, str | None] = (None, None),
) -> Comparison:  # fmt: skip
    """Compare the checkpoints of a run that this machine made, as its recipe says; the result lies in its folder.

    ``trainer`` is the checkout and the Python that trained.
    """
    env = dict(os.environ if environ is None else environ)
    return _compared(of_run(run_dir), given or SweepOptions(), trainer, say, env)


def compare_files(subject: SweepSubject, *, say: Say = quiet, sd_scripts: str | None = None) -> Comparison:
    """Compare what was chosen of several runs that this machine made."""
    return _compared(subject, SweepOptions(), (sd_scripts, None), say, dict(os.environ))


def compare(named: Named, given: SweepOptions, *, sd_scripts: str | None = None, say: Say = quiet) -> Comparison:
    """Compare what the command line names.

    Raises:
        UsageError: what was named is not there, or cannot be compared.
        NoCheckpointError: there is no file to compare.
        TrainerError: the trainer is missing, or painted nothing.
        RunExistsError: another sweep is painting into the same folder.
        CancelledError, TerminatedError: stopped; what was painted is kept.
    """
    subject = without_harm(find_subject(named), named.trust, named.components)
    return _compared(subject, given, (sd_scripts, None), say, dict(os.environ))


def find_checkpoints(subject: SweepSubject) -> Candidates:
    """The checkpoints of a subject, hashed."""
    if subject.chosen:
        return Candidates(subject.chosen)
    planned = subject.record.epochs_planned if subject.record else None
    return checkpoints.find(
        subject.files, subject.base.family, last_epoch=planned, hashes=hashes_of(subject.run_dir, subject.record)
    )


def painter_of(base: Base) -> Painter:
    """What paints with a base model. ``UsageError``: no script of a trainer paints for its family."""
    found = table.painter_of(base)
    if found is None:
        known = ", ".join(row.family for row in table.painters())
        raise UsageError(f"family '{base.family}' cannot be compared", hint=f"choose from {known}")
    return found


def _compared(
    subject: SweepSubject, given: SweepOptions, named: tuple[str | None, str | None], say: Say, env: dict[str, str]
) -> Comparison:
    painter = painter_of(subject.base)
    settings, notes = choose_settings(subject, given, painter)
    stated = stated_controls(given, subject.recipe.get("compare") or {}, subject.recipe_folder)
    settings, more = with_controls(settings, painter, subject.base, stated, subject.output)
    found = find_checkpoints(subject)
    for skipped in found.skipped:
        say(f"left out: {skipped.path.name} {skipped.reason}", lasting=True)
    if not found.checkpoints:
        lines = "\n".join(f"{s.path.name} {s.reason}" for s in found.skipped) or "there is no .safetensors file"
        raise NoCheckpointError(f"nothing to compare in {subject.name}: {lines}")
    _check_model(subject.base)
    trainer = trainer_of(painter.trainer, painter.script, env, named)
    how = how_painted(subject.base, painter, trainer.checkout)
    grid = cells.grid_of(cells.columns_of(found.checkpoints, settings), settings, how)
    place = _place(subject, trainer, env)
    going = f"{subject.output}: another sweep is painting there"
    with lock.held(subject.output, HOLDER, going, "wait until it has ended, or name another folder with --output"):
        try:
            progress = painting.paint(grid, painter, subject.base, place, say)
        except (CancelledError, TerminatedError):
            if any((subject.output / cell.file).is_file() for cell in grid.cells):
                note = "The sweep was stopped: this is what was painted. The same command again paints the rest."
                progress = painting.PaintingProgress(len(grid.cells))
                part = finished(subject, found, grid, progress, Made(how, (*notes, *more, note)))
                say(f"what was painted so far: {ComparisonPaths(part.folder).page}", lasting=True)
            raise
        say("measuring the pictures", lasting=False)
        return finished(subject, found, grid, progress, Made(how, (*notes, *more), place, say))


def choose_settings(
    subject: SweepSubject, given: SweepOptions, painter: Painter
) -> tuple[SweepSettings, tuple[str, ...]]:
    """The settings, and what a person should know of how they came about."""
    recipe = subject.recipe.get("compare") or {}
    size = None if recipe.get("size") else resolution_of(subject.base)
    stated = given.prompts or given.prompts_file or recipe.get("prompts")
    captions = () if stated else captions_of(subject.base)
    settings = settings_from(given, recipe, painter=painter, size=size, captions=captions)
    notes = [] if stated else [FROM_CAPTIONS]
    notes += _unused(given, recipe, settings, painter)
    triggers = settings.triggers or triggers_of(subject.recipe)
    lowered = [prompt.lower() for prompt in settings.prompts]
    used = any(word.lower() in prompt for word in triggers for prompt in lowered)
    if settings.triggers and not used:
        notes.append("No prompt contains a trigger word, so drift and bleed cannot be separated.")
    return replace(settings, triggers=triggers if used else ()), tuple(notes)


def _unused(given: SweepOptions, recipe: Mapping[str, Any], settings: SweepSettings, painter: Painter) -> Iterator[str]:
    """What was asked for and cannot be had of a script."""
    if not painter.samplers and (given.sampler or stated_samplers(recipe)):
        yield f"{painter.script} has only its own sampler: compare.sampler and --sampler have no effect."
    if painter.needs_negative and not settings.negative:
        yield f"{painter.script} guides Chroma only by a negative prompt: without one, guidance has no effect."


def _check_model(base: Base) -> None:
    if not base.model:
        raise UsageError("there is no base model to paint with", hint="give it with --model MODEL")
    stated = {MODEL: base.model, **{name: text for name in PARTS if (text := base.text(name))}}
    places = {name: path for name, text in stated.items() if (path := Path(text)).is_absolute()}  # a Hub id is not
    gone = [f"{path} (--{name}) is not there" for name, path in places.items() if not path.exists()]
    if gone:
        raise UsageError("\n".join(gone), hint="name the base model with --model, its parts with --component NAME=FILE")


def trainer_of(
    engine: str, script: str, env: Mapping[str, str], named: tuple[str | None, str | None] = (None, None)
) -> InstalledTrainer:
    """This machine's own, with this script; what a record says of a Python is not run.

    Raises ``TrainerError``: there is no checkout with the script, or no Python for it.
    """
    wanted = table.INFOS[engine]
    checkout, python = find_trainer(env, table.user_settings(env), sd_scripts=named[0], python=named[1], engine=wanted)
    if checkout is None or python is None:
        lacking = f"{wanted.name} checkout" if checkout is None else "Python for the trainer"
        more = "" if wanted.default else f" --engine {wanted.name}"
        raise TrainerError(f"there is no {lacking} to run {script}", hint=f"run: kohya-runner setup{more}")
    if not (checkout.root / script).is_file():
        raise TrainerError(
            f"{checkout.root / script} is not there", hint="the checkout is too old for this family, or incomplete"
        )
    return InstalledTrainer(checkout, python)


def how_painted(base: Base, painter: Painter, checkout: Checkout) -> dict[str, str]:
    """What a picture depends on besides its settings; part of each cell's key."""
    model = Path(base.model)
    chosen = {name: str(base.options[name]) for name in PICTURE_OPTIONS if name in base.options}
    return {
        "family": base.family,
        "base": base.model,
        "base_identity": cells.identity(model) if model.is_file() else f"hub:{base.model}",
        "script": painter.script,
        "trainer": checkout.commit or str(checkout.root),
        **{name: _content(value) for name, value in chosen.items() if name != MODEL},
    }


def _content(value: str) -> str:
    """A file is known by what is in it, not by where it lies."""
    return f"{Path(value).name}:{cells.identity(Path(value))}" if os.path.isfile(value) else value


def _place(subject: SweepSubject, trainer: InstalledTrainer, env: Mapping[str, str]) -> PaintingPlace:
    offline = os.path.exists(subject.base.model) and subject.base.text("tokenizer_cache_dir") is not None
    gpus = read_gpus(env, lambda argv: run_command(argv, env))
    child = child_env(subject.workspace, env, offline=offline)
    cache_folders(child)
    checkout, before = trainer.checkout, env.get("PYTHONPATH")  # a shell's own stays behind the scripts' modules
    found = checkout.engine.env(checkout.root).items()
    imports = {name: os.pathsep.join(filter(None, (value, before))) for name, value in found}
    return painting.PaintingPlace(
        output=subject.output,
        checkout=trainer.checkout.root,
        python=trainer.python.path,
        env=child | imports | ({} if gpus else KEPT_MEMORY),
        environ=child_environment(env, hub=not os.path.exists(subject.base.model)),
        small_gpu=is_small(gpus),
    )
