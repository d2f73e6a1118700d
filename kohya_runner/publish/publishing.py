"""The whole publication: choose, describe, show, upload. Shown and uploaded are the same bytes."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kohya_runner.artefact.safetensors_header import read_header
from kohya_runner.compare.checkpoints import numbered, pick
from kohya_runner.compare.subject import SweepSubject, of_run
from kohya_runner.compare.sweep import find_checkpoints
from kohya_runner.errors import PublishError, RunnerError, UsageError
from kohya_runner.hub import Access, access
from kohya_runner.publish import card as cards
from kohya_runner.publish.chosen import Selection, select
from kohya_runner.publish.comfyui import MARK, for_comfyui
from kohya_runner.publish.copies import PRIVATE, Piece, model_piece, piece
from kohya_runner.publish.upload import Hub, RepoState, Uploaded
from kohya_runner.recipe.finish import Publish
from kohya_runner.record.run_paths import PUBLICATION, ComparisonPaths, PublicationPaths, RunPaths
from kohya_runner.safe_files import link_out, locked, write_json, write_text
from kohya_runner.text import counted

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Publication:
    """Everything that goes up, and where its copies and its page lie. ``notes`` are for the person alone."""

    settings: Publish
    selection: Selection
    pieces: tuple[Piece, ...]  # the card is the last one
    paths: PublicationPaths
    notes: tuple[str, ...]


class LocalCopy(Publish):
    """Files for a folder of this machine: there is no repository."""

    repo: str = ""


def _models(
    selection: Selection, settings: Publish, samples: cards.SampleGrid, place: tuple[Path, Mapping[str, str]], say: Say
) -> tuple[Piece, ...]:
    """The files, and where ComfyUI is asked for, what a converter made of those that it does not read as they are."""
    rows = [(file, file.name, file.found.path) for file in selection.files]
    for file in selection.files if settings.comfyui else ():
        name = f"{Path(file.name).stem}{MARK}{Path(file.name).suffix}"
        made = for_comfyui(file.found.path, place[0] / name, selection.subject.base.family, place[1], say)
        rows += [(file, name, made)] if made != file.found.path else []
    return tuple(
        model_piece(name, path, cards.fields(file, selection, settings, samples), clean=settings.clean)
        for file, name, path in rows
    )


def copied(
    subject: SweepSubject, settings: Publish, folder: Path, environ: Mapping[str, str], say: Say
) -> dict[str, Any]:
    """Write the files into a folder, with --comfyui those for ComfyUI alone: the object of ``--output --json``.

    Raises ``UsageError``: another file of this name lies there. Else as ``prepared`` says.
    """
    say("reading the files")
    selection = select(subject, settings, asked=True)
    with tempfile.TemporaryDirectory(
        dir=subject.workspace.root if subject.workspace.root.is_dir() else None
    ) as scratch:
        made = _models(selection, settings, cards.samples_of(selection), (Path(scratch), environ), say)
        converted = {one.name.replace(MARK, "") for one in made[len(selection.files) :]}
        kept = [one for one in made if one.name not in converted]
        if lying := [one.name for one in kept if (folder / one.name).exists()]:
            raise UsageError(f"{folder}: {', '.join(lying)} is there already", hint="name another folder")
        for one in kept:
            one.write(folder / one.name)
    files = [
        {"name": p.name, "bytes": p.size, "sha256": p.sha256, "changed": p.changed, "converted": MARK in p.name}
        for p in kept
    ]
    return {"version": 1, "ok": True, "folder": str(folder), "why": selection.why, "files": files}


def prepared(  # noqa: PLR0913 - what it is about, and where it is
    subject: SweepSubject, settings: Publish, reach: Access, environ: Mapping[str, str], *, asked: bool, say: Say
) -> Publication:
    """What would be published of a run, a folder or files; only the base model's licence is asked for.

    Raises:
        UsageError, NoCheckpointError, TrainerError: as ``select`` and ``for_comfyui`` say; or the place for the
            copies is a link that leads out.
    """
    inside = subject.run_dir or subject.workspace.root
    folder = (
        RunPaths(inside).publication if subject.run_dir else inside / PUBLICATION / settings.repo.replace("/", "--")
    )
    if link := link_out(inside, folder):
        raise UsageError(f"{link} is a link that leads out of {inside}", hint="remove it")
    say("reading the files")
    selection = select(subject, settings, asked=asked)
    samples = cards.samples_of(selection)
    paths = PublicationPaths(folder)
    models = _models(selection, settings, samples, (paths.comfyui, environ), say)
    base, random = cards.base_model(selection, settings), isinstance(subject.recipe.get("model"), dict)
    licence = {"license": settings.license} if settings.license else Hub(settings.repo, reach, say).licence(base)
    text = cards.card(selection, settings, licence, samples, {one.name: one for one in models})
    private = {key for f in selection.files for key in PRIVATE if key in read_header(f.found.path).metadata}
    notes = {
        f"the files hold words of captions or names of folders ({', '.join(sorted(private))}): "
        "--clean takes them out of the copies": private and not settings.clean,
        "the base model's repository is not known: --base-model USER/NAME puts it into the card": not (base or random),
        "the base model's licence is not known: --license NAME puts it into the card": not (licence or random),
    }
    pieces = (*models, *samples.pieces, piece(cards.NAME, text.encode()))
    told = tuple(note for note, holds in notes.items() if holds)
    return Publication(settings, selection, pieces, paths, told)


def publish(made: Publication, reach: Access, say: Say) -> Uploaded:
    """Upload what is not there yet, prove it, and write down what was done.

    Raises ``PublishError`` and ``UsageError``: as ``Hub.publish`` says. The copies are made anew by the next one.
    """
    made.paths.folder.mkdir(parents=True, exist_ok=True)
    with locked(made.paths.lock):
        try:
            done = Hub(made.settings.repo, reach, say).publish(made.pieces, made.settings, made.paths.copies)
        finally:
            shutil.rmtree(made.paths.copies, ignore_errors=True)
        write_json(made.paths.record, {**result(made, done), "at": time.time()})
    return done


def publish_run(run_dir: Path, settings: Publish, environ: Mapping[str, str], say: Say) -> str:
    """What ``finish.publish`` asks for, where nobody is there: the epoch is picked by the figures, else it is the last.

    The choice is noted as ``compare --pick`` notes it, with its reason, where there was a comparison. Returns what was
    done, in a line.
    """
    subject, reach = of_run(run_dir), access(environ)
    made = prepared(subject, settings, reach, environ, asked=False, say=say)
    for number, one in numbered(find_checkpoints(subject)).items() if settings.epoch == "picked" else ():
        if one.sha256 == made.selection.files[0].found.sha256:
            try:
                noted = {**pick(subject, one, number), "why": made.selection.why}
                write_json(ComparisonPaths(subject.output).picked, noted)
            except RunnerError as fault:
                say(f"not noted as picked: {fault.message}")
    return told(made, publish(made, reach, say))


def told(made: Publication, done: Uploaded) -> str:
    """What was done, in a line."""
    repo = f"{made.settings.repo} ({'private' if done.private else 'public'})"
    if not done.files:
        return f"{repo} has all of it already: nothing was uploaded"
    kept = f"; the files before are kept as the tag {done.tag}" if done.tag else ""
    what = ", ".join(file.name for file in made.selection.files)
    return f"{what} published to {repo}, {counted(len(done.files), 'file')} verified{kept}"


def result(made: Publication, done: Uploaded | None = None) -> dict[str, Any]:
    """The object of ``publish --json`` and of published.json (docs/publish.md)."""
    sent = done.files if done else ()
    files = [
        {"name": p.name, "bytes": p.size, "sha256": p.sha256, "changed": p.changed, "uploaded": p.name in sent}
        for p in made.pieces
    ]
    return {
        "version": 1, "ok": True, "repo": made.settings.repo, "why": made.selection.why, "files": files,
        "notes": made.notes, "done": asdict(done) if done else None,
    }  # fmt: skip


def dry_run(made: Publication, reach: Access, say: Say) -> Path:
    """The card and the files as one HTML file: nothing in it is loaded or runs. The Hub is only looked at."""
    from markdown_it import MarkdownIt
    from markupsafe import Markup

    remote, problem = RepoState(), ""
    try:
        remote = Hub(made.settings.repo, reach, say).look(made.pieces)
    except PublishError as fault:
        problem = fault.message
    front, _, body = made.pieces[-1].head.decode().removeprefix("---\n").partition("\n---\n")
    shown = MarkdownIt("commonmark", {"html": False}).enable("table").render(body)
    for one in made.pieces:
        if one.name == cards.GRID:
            shown = shown.replace(f'src="{one.name}"', f'src="{cards.data_address("png", one.head)}"')
    text = cards.rendered(
        "page.html.j2", made=made, remote=remote, problem=problem, front=front, tag=remote.tag_for(made.pieces),
        card=Markup(shown),  # noqa: S704 - the markdown had no HTML in it
    )  # fmt: skip
    made.paths.folder.mkdir(parents=True, exist_ok=True)
    write_text(made.paths.page, text)
    return made.paths.page
