"""The kinds of places, and the places of the settings, checked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping

from pydantic import ValidationError

from kohya_runner.errors import UsageError
from kohya_runner.findings import Finding, error
from kohya_runner.recipe.keys import meant_field
from kohya_runner.recipe.validate import written
from kohya_runner.remote.hf_jobs import HfJobsPlace
from kohya_runner.remote.modal_place import ModalPlace
from kohya_runner.remote.place import Ask, RemotePlace
from kohya_runner.remote.runpod import RunPodPlace
from kohya_runner.remote.sky_place import SkyPlace
from kohya_runner.remote.slurm import SlurmPlace
from kohya_runner.remote.ssh_place import SshPlace
from kohya_runner.settings import UserSettings
from kohya_runner.text import did_you_mean
from kohya_runner.yamlio import Node

_ALL: tuple[type[RemotePlace], ...] = (SshPlace, RunPodPlace, SlurmPlace, ModalPlace, SkyPlace, HfJobsPlace)
KINDS: Mapping[str, type[RemotePlace]] = {kind.KIND: kind for kind in _ALL}
"""A new kind of place is a class of its own module and a line here."""


def open_place(word: str, settings: UserSettings) -> RemotePlace:
    """The place of this name, or a kind that needs no settings.

    Raises:
        UsageError: there is none, or places of the settings are wrong: all of them are told, with file:line:column.
    """
    found = {place.name: place for place in places(settings)}
    if word not in found and word in KINDS:
        try:
            return KINDS[word](name=word)
        except ValidationError as fault:
            keys = ", ".join(f"{one['loc'][0]}: ..." for one in fault.errors())
            hint = f"write places: {{NAME: {{kind: {word}, {keys}}}}} into {settings.file} (docs/remote.md)"
            raise UsageError(f"--on {word}: this kind of place needs settings", hint=hint) from None
    if word not in found:
        known = (*found, *KINDS)
        hint = did_you_mean(word, known) or f"places are named in {settings.file} (docs/remote.md)"
        raise UsageError(f"--on {word}: no such place", hint=hint)
    return found[word]


def places(settings: UserSettings) -> tuple[RemotePlace, ...]:
    """All places of the settings; ``UsageError`` with everything that is wrong in them."""
    found: list[RemotePlace] = []
    faults: list[Finding] = []
    for name, node in settings.places.items():
        kind = node.child("kind")
        word = str(kind.value) if kind is not None else ""
        if word not in KINDS:
            where = str(kind.place if kind is not None else node.place)
            hint = did_you_mean(word, KINDS, f"places.{name}.kind: ") or f"kinds: {', '.join(KINDS)}"
            faults.append(
                error("trainer.settings", f"places.{name}.kind: there is no kind {word}", where=where, hint=hint)
            )
            continue
        plain = node.plain()
        given = {k: v for k, v in plain.items() if k != "kind" and v is not None} if isinstance(plain, dict) else {}
        try:
            found.append(KINDS[word].model_validate({**given, "name": name}))
        except ValidationError as fault:
            faults += _told(fault, name, node, KINDS[word])
    if faults:
        raise UsageError(f"{settings.file}: {len(faults)} problem(s) in places", findings=faults)
    return tuple(found)


def with_kinds_alone(found: Iterable[RemotePlace]) -> Iterator[RemotePlace]:
    """The places, and each other kind that needs no settings and could be used now (its key is set)."""
    named = tuple(found)
    yield from named
    for kind in sorted(KINDS.keys() - {place.KIND for place in named}):
        with contextlib.suppress(ValidationError):
            alone = KINDS[kind](name=kind)
            if not alone.problems(Ask()):
                yield alone


def _told(fault: ValidationError, name: str, node: Node, kind: type[RemotePlace]) -> Iterator[Finding]:
    fields = {key: one.description or "" for key, one in kind.model_fields.items() if key != "name"}
    faults = fault.errors(include_url=False)
    meant = {meant_field(str(one["loc"][0]), fields) for one in faults if one["type"] == "extra_forbidden"}
    for one in faults:
        key, path = str(one["loc"][0]) if one["loc"] else "", one["loc"]
        value = node.find(path)
        full = ".".join(("places", name, *map(str, path)))
        match one["type"]:
            case "extra_forbidden":
                close = meant_field(key, fields)
                line = f"did you mean '{close}'? {written(value, full, f'places.{name}.{close}')}"
                hint = line if close else f"keys of a place of this kind: {', '.join(sorted(fields))}"
                message, where = f"{full}: is not a setting of kind {kind.KIND}", value.key_place or value.place
            case "missing" if key in meant:  # only misspelt
                continue
            case "missing":
                message, where, hint = f"{full}: is missing", node.place, f"write {full}: {fields.get(key, '')}"
            case _:
                said = str(one["msg"]).removeprefix("Value error, ").partition(", unable to")[0]
                said = f"{said[:1].lower()}{said[1:]}".replace("input should be", "must be")
                said = said.replace("a valid integer", "a whole number").replace("a valid number", "a number")
                message, where, hint = f"{full}: {said}", value.place, f"{full} is {fields.get(key, '')}"
        yield error("trainer.settings", message, where=str(where), hint=hint)
