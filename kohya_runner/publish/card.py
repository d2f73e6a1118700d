"""The model card: what the files are, how they were trained, what they paint. No path and no caption gets into it."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL.Image
from jinja2 import ChainableUndefined, FileSystemLoader
from jinja2.sandbox import SandboxedEnvironment
from markupsafe import Markup
from PIL.ImageOps import contain

from kohya_runner.artefact.safetensors_header import read_header
from kohya_runner.compare.pictures import opened
from kohya_runner.compare.subject import options_of
from kohya_runner.compare.sweep import FROM_CAPTIONS
from kohya_runner.compare.training_data import triggers_of
from kohya_runner.engines.table import info_of
from kohya_runner.publish.chosen import Chosen, Selection
from kohya_runner.publish.copies import Piece, piece, without_folders
from kohya_runner.recipe.finish import Publish
from kohya_runner.recipe.models import HUB_ID
from kohya_runner.record.run_paths import ComparisonPaths
from kohya_runner.safe_files import is_inside, read_json
from kohya_runner.tables import read_table
from kohya_runner.text import duration, plain, size

NAME, GRID = "README.md", "samples/grid.png"
CELL, THUMB, GAP = (320, 320), (256, 256), 8  # pixels
ROWS, COLUMNS, WIDGETS = 6, 7, 4
SETTINGS = frozenset(read_table(Path(__file__).with_suffix(".toml"))["settings"])  # what a card may show
NOT_SHOWN = ("name", "datasets", "comment", "base model")  # of what a stranger's file says of its training
_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~<>&])")


@dataclass(frozen=True, slots=True)
class SampleGrid:
    """Pictures of a comparison. ``prompts`` is empty where they are captions; ``thumbnails`` go by a file's hash."""

    pieces: tuple[Piece, ...] = ()
    columns: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()  # of samples/1.png and so on
    thumbnails: Mapping[str, str] = field(default_factory=dict)
    edits: bool = False


def base_model(selection: Selection, settings: Publish) -> str:
    """The base model's repository on the Hub, "" where it is a file, or nobody knows."""
    subject = selection.subject
    said = subject.recipe.get("model") if subject.record else selection.files[0].found.training.get("base model")
    text = settings.base_model or (said if isinstance(said, str) else "")
    named = re.match(r"hf://([^/@]+/[^/@]+)", text)
    return named[1] if named else text if HUB_ID.match(text) and Path(text).suffix != ".safetensors" else ""


def triggers(selection: Selection, settings: Publish) -> tuple[str, ...]:
    """As they are named, else as the recipe or the file has them."""
    recipe = selection.subject.recipe
    stated = settings.trigger or tuple((recipe.get("compare") or {}).get("trigger") or ())
    told = read_header(selection.files[0].found.path).metadata.get("modelspec.trigger_phrase", "")
    return stated or ((told,) if told else triggers_of(recipe))


def fields(chosen: Chosen, selection: Selection, settings: Publish, samples: SampleGrid) -> dict[str, str]:
    """What is written into a file's metadata (the keys of ModelSpec 1.0.1)."""
    name = settings.title or (selection.subject.name if selection.subject.record else Path(chosen.name).stem)
    given = {
        "modelspec.title": f"{name}, {chosen.label}" if len(selection.files) > 1 and chosen.label not in name else name,
        "modelspec.trigger_phrase": ", ".join(triggers(selection, settings)),
        "modelspec.thumbnail": samples.thumbnails.get(chosen.found.sha256, ""),
    }
    return {key: text for key, text in given.items() if text}


def samples_of(selection: Selection) -> SampleGrid:
    """The pictures that the comparison painted with these files, beside those of the base model."""
    folder = selection.subject.output
    told = read_json(ComparisonPaths(folder).result)
    hashes = {file.found.sha256 for file in selection.files}
    try:
        columns = {n: c for n, c in enumerate(told["columns"]) if not c["sha256"] or c["sha256"] in hashes}
        columns = dict(list(columns.items())[:COLUMNS])
        found = {
            (cell["column"], (int(cell["prompt"]), str(cell["sampler"] or ""), int(cell["seed"]))): picture
            for cell in told["cells"]
            if cell["column"] in columns and (picture := _picture(folder, cell["file"])) is not None
        }
        rows = [row for row in dict.fromkeys(row for _, row in found) if all((n, row) in found for n in columns)]
        seeds = list(dict.fromkeys(row[2] for row in rows))
        rows = sorted(sorted(rows, key=lambda row: seeds.index(row[2]))[:ROWS])  # every prompt before a second seed
        trained = sorted((abs(float(c["strength"]) - 1), n) for n, c in columns.items() if c["sha256"])
        if not rows or not trained:
            return SampleGrid()
        firsts = {row[0]: row for row in reversed(rows)}
        shown = {} if FROM_CAPTIONS in told["notes"] else {str(told["prompts"][n]): firsts[n] for n in sorted(firsts)}
        labels = tuple(str(c["label"]) if c["sha256"] else "the base model" for c in columns.values())
        thumbs = {columns[n]["sha256"]: found[n, rows[0]] for _, n in reversed(trained)}
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return SampleGrid()
    pictures = {GRID: _grid([[found[n, row] for n in columns] for row in rows])}
    main = trained[0][1]
    pictures |= {f"samples/{n}.png": found[main, row] for n, row in enumerate(list(shown.values())[:WIDGETS], start=1)}
    return SampleGrid(
        tuple(piece(name, _encoded(picture, "PNG")) for name, picture in pictures.items()), labels, tuple(shown),
        {sha: data_address("jpeg", _encoded(contain(p, THUMB), "JPEG")) for sha, p in thumbs.items()},
        bool(told.get("controls")),
    )  # fmt: skip


def _picture(folder: Path, name: object) -> PIL.Image.Image | None:
    """One picture of a comparison's own folder."""
    path = folder / str(name)
    return opened(path) if name and is_inside(path, (folder,)) else None


def _grid(rows: list[list[PIL.Image.Image]]) -> PIL.Image.Image:
    """Small pictures side by side, all of one size; none is made larger."""
    first = rows[0][0] if max(rows[0][0].size) <= max(CELL) else contain(rows[0][0], CELL)
    wide, high = first.width + GAP, first.height + GAP
    sheet = PIL.Image.new("RGB", (wide * len(rows[0]) - GAP, high * len(rows) - GAP), "white")
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture.resize(first.size, PIL.Image.Resampling.LANCZOS), (wide * x, high * y))
    return sheet


def _encoded(picture: PIL.Image.Image, kind: str) -> bytes:
    """Drawn anew, so that nothing but the pixels goes along: gen_img.py writes the prompt into its files."""
    buffer = io.BytesIO()
    PIL.Image.frombytes(picture.mode, picture.size, picture.tobytes()).save(buffer, kind, optimize=True)
    return buffer.getvalue()


def data_address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def card(
    selection: Selection,
    settings: Publish,
    licence: Mapping[str, str],
    samples: SampleGrid,
    pieces: Mapping[str, Piece],
) -> str:
    """The text of README.md. Whatever comes out of files is shown as text: it cannot be a link, a tag or a heading."""
    subject, first = selection.subject, selection.files[0].found
    record, model = subject.record, subject.recipe.get("model")
    given: Mapping[str, Any] = options_of(record.argv) if record else first.training
    labels = {file.name: file.label for file in selection.files}
    script = next((Path(token).name for token in record.argv if token.endswith(".py")), "") if record else ""
    return rendered(
        "card.md.j2", finalize=_text, selection=selection, record=record, samples=samples, licence=licence, grid=GRID,
        title=settings.title or (subject.name if record else settings.repo.partition("/")[2]), what=first.what,
        family=subject.base.family or first.family, base=base_model(selection, settings),
        random=isinstance(model, dict), triggers=triggers(selection, settings),
        data=record.dataset if record else first.training,
        settings=[(n, without_folders(str(v))) for n, v in given.items()
                  if (n in SETTINGS if record else n not in NOT_SHOWN)],
        files=[(name, labels.get(name, "for ComfyUI"), one) for name, one in pieces.items()],
        comfyui=settings.comfyui and len(pieces) == len(labels),
        trainer=f"{info_of(script).name} {script} {record.trainer.commit[:12]}" if record else "",
    )  # fmt: skip


def rendered(template: str, *, finalize: Any = None, **values: object) -> str:
    """One of the templates of this folder; without ``finalize`` it is HTML, and everything is escaped."""
    environment = SandboxedEnvironment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=ChainableUndefined, autoescape=finalize is None,
        finalize=finalize, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    environment.filters |= {"size": size, "duration": duration}
    environment.filters["yaml"] = lambda value: Markup(json.dumps(value, ensure_ascii=False))  # noqa: S704 - no HTML
    return environment.get_template(template).render(**values)


def _text(value: object) -> object:
    return value if isinstance(value, Markup) else _MARKS.sub(r"\\\1", plain(str(value)))
