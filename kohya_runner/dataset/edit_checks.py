"""Problems in an edit dataset: every row is checked, each fault has its line and column."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from kohya_runner.dataset.edit import EditPair, EditSet, is_known_kind, path_problem, stated
from kohya_runner.dataset.facts import IMAGE_EXTENSIONS
from kohya_runner.dataset.metadata_rows import INPUT, INSTRUCTION, KEYS, OUTPUT, MetadataRow
from kohya_runner.dataset.picture import Picture
from kohya_runner.dataset.written_files import same_shape
from kohya_runner.findings import Finding, error, warning
from kohya_runner.tables import read_table
from kohya_runner.text import counted, nearest, printable, shortened

Check = Callable[[EditSet], Iterator[Finding]]

MOST = 20
"""Findings of one kind that are told one by one."""

ALSO_CALLED: Mapping[str, list[str]] = read_table(Path(__file__).with_name("edit_keys.toml"))
"""What other datasets call the three."""
KINDS = {"NoneType": "null", "bool": "true or false", "int": "a number", "float": "a number", "list": "a list"}


def check_edits(edit: EditSet) -> tuple[Finding, ...]:
    by_kind: dict[tuple[str, str], list[Finding]] = defaultdict(list)
    for check in EDIT_CHECKS:
        for finding in check(edit):
            by_kind[finding.code, finding.severity.value].append(finding)
    told: list[Finding] = []
    for group in by_kind.values():
        told += group[:MOST]
        if rest := len(group[MOST:]):
            told[-1] = replace(told[-1], message=f"{told[-1].message} (and {rest} more of this kind)")
    return tuple(told)


def unreadable_file(edit: EditSet) -> Iterator[Finding]:
    """Places that are no JSON, or a file that is not there."""
    for fault in edit.rows.faults:
        yield error("dataset.edit_file", fault.what, where=fault.where, hint=fault.hint)


def no_rows(edit: EditSet) -> Iterator[Finding]:
    if not edit.rows.rows and not edit.rows.faults:
        text = f"no rows in {printable(str(edit.source.folder))}"
        hint = 'write one a line: {"input_image": "a.png", "instruction": "...", "output_image": "b.png"}'
        yield error("dataset.empty", text, where=edit.source.where, hint=hint)


def expected(edit: EditSet) -> Iterator[Finding]:
    wanted, found = edit.source.expect, len(edit.usable)
    if wanted not in (None, found):
        text = f"expected {wanted} edit pairs, found {found} of {counted(len(edit.pairs), 'row')} usable"
        yield error("dataset.count", text, where=edit.source.where)


def keys_of_rows(edit: EditSet) -> Iterator[Finding]:
    """The three keys, each a text that is not empty."""
    for row in edit.rows.rows:
        for key in KEYS:
            if key not in row.values:
                yield error("dataset.edit_key", f"'{key}' is missing", where=row.place, hint=_meant(row, key))
            elif odd := [value for value in stated(row, key) if not isinstance(value, str)]:
                text = f"'{key}' must be text, it is {KINDS.get(type(odd[0]).__name__, 'an object')}"
                yield error("dataset.edit_key", text, where=row.where(key), hint='write it in "double quotes"')


def _meant(row: MetadataRow, key: str) -> str:
    """The key of a row that is most likely a misspelt or differently named one."""
    others = [name for name in row.values if name not in KEYS]
    synonym = next((name for name in others if name.lower() in ALSO_CALLED[key]), None)
    best = synonym or nearest(key, others)
    return f"rename '{printable(best)}' to '{key}'" if best else f'add "{key}": ...'


def unknown_keys(edit: EditSet) -> Iterator[Finding]:
    """Keys that no trainer is given; one that a row means as another is told as the missing one."""
    first: dict[str, MetadataRow] = {}
    often: Counter[str] = Counter()
    for row in edit.rows.rows:
        whole = all(key in row.values for key in KEYS)
        for name in row.values:
            if name not in KEYS and whole:
                first.setdefault(name, row)
                often[name] += 1
    for name, row in first.items():
        text = f"'{printable(name)}' is not a key of an edit dataset ({counted(often[name], 'row')})"
        close = nearest(name, KEYS)
        hint = f"did you mean '{close}'?" if close else "it is ignored"
        yield warning("dataset.edit_unknown_key", text, where=row.keys[name], hint=hint)


def instructions(edit: EditSet) -> Iterator[Finding]:
    """An empty caption stops sd-scripts (library/dreambooth_dataset.py:108), of several lines it reads one (:111)."""
    for pair in edit.pairs:
        said, where = pair.row.values.get(INSTRUCTION), pair.row.where(INSTRUCTION)
        if not isinstance(said, str):
            continue
        if not pair.instruction:
            yield error("caption.edit_empty", "the instruction is empty", where=where, hint="say what is to be changed")
        elif "\n" in said.strip() or "\r" in said.strip():
            text = "the instruction has several lines, and some trainers read only the first"
            hint = f"it is laid out in one line: {shortened(pair.instruction)}"
            yield warning("caption.edit_lines", text, where=where, hint=hint)


def partners(edit: EditSet) -> Iterator[Finding]:
    """Both pictures there, readable, and of a kind that every trainer reads."""
    names = _names_near(edit)
    for pair in edit.pairs:
        for key, value, picture in _named(pair):
            yield from _partner(edit, (pair.row.where(key), key, value), picture, names)


def _named(pair: EditPair) -> Iterator[tuple[str, str, Picture | None]]:
    """Each picture that a row names: under which key, how, and what was found."""
    found = ((INPUT, (pair.before, *pair.more)), (OUTPUT, (pair.after,)))
    for key, pictures in found:
        for value, picture in zip(stated(pair.row, key), pictures, strict=True):
            if isinstance(value, str):
                yield key, value, picture


def _partner(
    edit: EditSet, named: tuple[str, str, str], picture: Picture | None, names: Mapping[str, list[str]]
) -> Iterator[Finding]:
    where, key, value = named
    shown = f"{key} {shortened(value)}"
    if problem := path_problem(value):
        hint = f"write a path inside {printable(str(edit.source.folder.parent))}, relative to it"
        yield error("dataset.edit_path", f"{shown} {problem}", where=where, hint=hint)
    elif picture is None:
        best = nearest(value, names.get(value.rpartition("/")[0], ()))
        hint = f"did you mean {shortened(best)}?" if best else "paths are relative to the metadata file"
        yield error("dataset.edit_missing", f"{shown} is not there", where=where, hint=hint)
    elif picture.image.problem:
        yield error("image.edit_unreadable", f"{shown} {picture.image.problem}", where=where, hint="replace it")
    elif not is_known_kind(picture.image):
        text = f"{shown} has a format that not every trainer reads"
        hint = f"save it as one of {', '.join(IMAGE_EXTENSIONS)}"
        yield error("image.edit_kind", text, where=where, hint=hint)


def _names_near(edit: EditSet) -> Mapping[str, list[str]]:
    """What lies in the folders in which something is missing, by the folder as the rows write it."""
    missing = {
        value.rpartition("/")[0]
        for pair in edit.pairs
        for _, value, picture in _named(pair)
        if picture is None and not path_problem(value)
    }
    found: dict[str, list[str]] = {}
    for folder in missing:
        place = edit.source.folder.parent / folder
        listed = sorted(place.iterdir())[:5000] if place.is_dir() else []
        found[folder] = [f"{folder}/{path.name}".lstrip("/") for path in listed if path.is_file()]
    return found


def same_picture(edit: EditSet) -> Iterator[Finding]:
    """Nothing to learn but to leave a picture as it is."""
    for pair in edit.pairs:
        if pair.same:
            text = "input and output are the same picture: the model would learn to change nothing"
            yield warning("image.edit_same", text, where=pair.row.where(OUTPUT), hint="remove the row, or name another")


def shapes(edit: EditSet) -> Iterator[Finding]:
    """Sizes that differ are made one; shapes that differ no longer show the same things at the same places.

    With buckets sd-scripts stops in the middle of a run where a condition image has another size than its picture
    (library/controlnet_dataset.py:199); musubi-tuner cuts it at the sides (dataset/image_video_dataset.py:448-479),
    InstructPix2Pix squeezes each to a square by itself (train_instruct_pix2pix.py:415). None of them says so.
    """
    for pair in edit.usable:
        one, other = pair.control.size, pair.target.size
        if pair.more:  # references are of any shape, and no trainer that takes several gives them their target's
            continue
        sizes = f"the input is {one[0]}x{one[1]}, the output {other[0]}x{other[1]}"
        if not same_shape(one, other):
            text = f"{sizes}: their shapes differ, so they no longer show the same things at the same places"
            hint = "save both in one shape, or allow it: the input is then cut at the sides to its output's shape"
            yield error("image.edit_aspect", text, where=pair.row.where(INPUT), hint=hint)
        elif one != other:
            hint = "the input is laid out resized to its output's size; the file stays as it is"
            yield warning("image.edit_size", sizes, where=pair.row.where(INPUT), hint=hint)


def inputs(edit: EditSet) -> Iterator[Finding]:
    """What the trainers overlook in the pictures before the edit; those after it are looked at as any picture."""
    for pair, before in ((each, one) for each in edit.usable for one in (each.before, *each.more)):
        traits, where = before.traits if before else None, pair.row.where(INPUT)
        if traits is not None and traits.orientation != 1:
            text = "the input has an EXIF rotation, which the trainers ignore"
            yield warning("image.edit_rotation", text, where=where, hint="turn the pixels and save again")
        if traits is not None and traits.transparent:
            text = f"the input has {traits.transparent} transparent pixels; the colours below them are trained"
            yield warning("image.edit_alpha", text, where=where, hint="paint them on the background you want")


def twice(edit: EditSet) -> Iterator[Finding]:
    """The same row again, and a picture that several rows lead to."""
    rows: dict[tuple[str, str, str], MetadataRow] = {}
    targets: dict[str, MetadataRow] = {}
    for pair in edit.usable:
        row, target = pair.row, str(pair.target.path)
        inputs = " ".join(str(image.path) for image in pair.controls)
        same = rows.setdefault((inputs, pair.instruction, target), row)
        first = targets.setdefault(target, row)
        if same is not row:
            text = f"the same as the row in line {same.line}: it counts twice in every epoch"
            yield warning("dataset.edit_duplicate", text, where=row.place, hint="remove one of them")
        elif first is not row:
            text = f"the row in line {first.line} has the same output"
            hint = "correct if several inputs lead to one picture; if not, name the right output"
            yield warning("dataset.edit_target_twice", text, where=row.where(OUTPUT), hint=hint)


EDIT_CHECKS: tuple[Check, ...] = (
    unreadable_file, no_rows, expected, keys_of_rows, unknown_keys, instructions, partners, shapes, same_picture,
    inputs, twice,
)  # fmt: skip
"""Checks of one edit dataset. A new check is a row here."""
