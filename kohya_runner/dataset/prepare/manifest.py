"""A version of a dataset: a folder of its own, whose manifest.json says from what and how each picture was made.

While a verb works, each finished picture is a line of a journal beside the manifest: a run that is cut goes on there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from kohya_runner.dataset.facts import ANSWERS, MANIFEST
from kohya_runner.errors import PreflightError, RunExistsError, UsageError
from kohya_runner.safe_files import is_inside, open_for_write, read_json, write_json
from kohya_runner.text import size

NAME, JOURNAL, LOCK = MANIFEST, ".manifest.jsonl", ".lock"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class VersionStep:
    """A verb that made the version (prepare, caption, edit, import), and all that decides what it does."""

    verb: str
    settings: Mapping[str, object]
    when: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat("T", "seconds"), compare=False)

    def __post_init__(self) -> None:
        """As JSON gives it back."""
        object.__setattr__(self, "settings", json.loads(json.dumps(dict(self.settings))))


@dataclass(frozen=True, slots=True)
class MadePicture:
    """A picture of the version. ``stamp`` and ``sha256`` are of its source, ``bytes`` of the file itself."""

    file: str
    source: str  # absolute, or relative to the version's folder
    stamp: str = ""  # see ``source_stamp``
    sha256: str = ""
    bytes: int = 0
    what: tuple[str, ...] = ()  # what was done, in its order
    size: tuple[int, int] = (0, 0)  # width and height of the file
    signature: str = ""  # see ``picture.signature``, in hexadecimal
    sidecars: Mapping[str, str] = field(default_factory=dict)  # files beside it that were copied -> their stamp
    caption_sha256: str = ""  # of the caption that a verb wrote; another one is a person's


@dataclass(frozen=True, slots=True)
class SetAside:
    """A source that is not in the version, and why."""

    source: str
    why: str
    stamp: str = ""
    sha256: str = ""
    like: str = ""  # the source that it is a copy of


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """What a version says of itself; ``steps`` in their order."""

    steps: tuple[VersionStep, ...] = ()
    pictures: tuple[MadePicture, ...] = ()
    set_aside: tuple[SetAside, ...] = ()

    def with_step(self, step: VersionStep) -> DatasetVersion:
        """With this step as the last one; one of the same verb is replaced."""
        return replace(self, steps=(*(one for one in self.steps if one.verb != step.verb), step))


def source_stamp(path: str | os.PathLike[str]) -> str:
    """Size and time of a file: where both are as before, so is its content. "" where there is none."""
    with suppress(OSError):
        status = os.stat(path)  # noqa: PTH116 - ten thousand times
        return f"{status.st_size} {status.st_mtime_ns}"
    return ""


def read(folder: Path) -> DatasetVersion | None:
    """The manifest of a finished version; None where there is none, or one that cannot be understood."""
    value = read_json(folder / NAME)
    try:
        if value["version"] != FORMAT:
            return None
        steps = tuple(VersionStep(**row) for row in value["steps"])
        aside = tuple(SetAside(**row) for row in value["set_aside"])
        return DatasetVersion(steps, tuple(map(_made, value["pictures"])), aside)
    except (KeyError, TypeError, ValueError):
        return None


def write(folder: Path, version: DatasetVersion) -> None:
    """Finish a version: the manifest in one step where it is another one, then the journal goes."""
    verb = version.steps[-1].verb if version.steps else ""
    value = {"version": FORMAT, "made_by": f"kohya-runner dataset {verb}".strip(), **asdict(version)}
    if version != read(folder):
        write_json(folder / NAME, value)
    (folder / JOURNAL).unlink(missing_ok=True)


class Journal:
    """The pictures that a verb has finished, by their source, from the last run, too.

    With a ``step`` those that its verb made with other settings are in ``outdated`` alone.
    """

    def __init__(self, folder: Path, step: VersionStep | None = None) -> None:
        known = read(folder) or DatasetVersion()
        self.pictures = {one.source: one for one in known.pictures}
        self.set_aside = {one.source: one for one in known.set_aside}
        self.outdated: list[MadePicture] = []
        self._step = next((one for one in known.steps if step and one.verb == step.verb), None)
        self._verb = step.verb if step else ""
        self._file = self._opened(folder / JOURNAL)
        self.again = self._step is not None  # its verb was here before, cut or not
        if step is not None and step != self._step:
            self._forget()
            self._write("step", step)

    def add(self, one: MadePicture | SetAside) -> None:
        self._write("picture" if isinstance(one, MadePicture) else "set aside", one)
        self._keep(one)

    def close(self) -> None:
        self._file.close()

    def _write(self, kind: str, one: MadePicture | SetAside | VersionStep) -> None:
        print(json.dumps([kind, asdict(one)]), file=self._file, flush=True)

    def _forget(self) -> None:
        self.outdated += self.pictures.values()
        self.pictures, self.set_aside = {}, {}

    def _keep(self, one: MadePicture | SetAside) -> None:
        self.pictures.pop(one.source, None)
        self.set_aside.pop(one.source, None)
        if isinstance(one, MadePicture):
            self.pictures[one.source] = one
        else:
            self.set_aside[one.source] = one

    def _read(self, line: str) -> None:
        kind, row = json.loads(line)
        if kind == "step":
            if self._verb in ("", (begun := VersionStep(**row)).verb):  # else pictures of it are still what they were
                self._forget()
                self._step = begun
        else:
            self._keep(_made(row) if kind == "picture" else SetAside(**row))

    def _opened(self, path: Path) -> TextIO:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
        for line in lines:
            with suppress(ValueError, TypeError, KeyError):  # cut in the middle
                self._read(line)
        file = os.fdopen(open_for_write(path, os.O_APPEND, 0o644), "a", encoding="utf-8")
        if lines:
            print(file=file)  # what was cut stays a line of its own
        return file


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a version while it is written.

    Raises:
        RunExistsError: another process writes it; a lock ends with its process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with os.fdopen(open_for_write(folder / LOCK), "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            raise RunExistsError(f"{folder}: another process writes it", hint="wait for it, or name another") from held
        except OSError:  # a disk that knows no locks
            pass
        for left in folder.rglob(".*.partial"):  # of a run that was killed
            left.unlink(missing_ok=True)
        yield


@contextmanager
def writing(folder: Path, step: VersionStep) -> Iterator[Journal]:
    """A version that nobody else writes, and what is done of it."""
    with alone(folder), closing(Journal(folder, step)) as journal:
        yield journal


def digest(path: Path) -> str:
    """Of a caption; "" where there is none."""
    with suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return ""


def remove(folder: Path, one: MadePicture, kept: Collection[str] = ()) -> None:
    """Take a picture out of a version, with the copies beside it and its caption as far as no person changed them."""
    ours = {name for name, last in one.sidecars.items() if source_stamp(folder / name) == last}
    for name in ({one.file} | ours).difference(kept):
        (folder / name).unlink(missing_ok=True)
    remove_caption(folder, one)


def remove_caption(folder: Path, one: MadePicture) -> None:
    """The caption that a verb wrote for the picture as it was goes; a person's stays."""
    caption = (folder / one.file).with_suffix(".txt")
    if one.caption_sha256 and digest(caption) == one.caption_sha256:
        caption.unlink()


def usable(folder: Path, sources: Iterable[Path]) -> None:
    """Refuse a place where a version would lie among other files.

    Raises:
        UsageError: it is at a source, no folder, or holds something else.
    """
    if any(is_inside(folder, (source,)) or is_inside(source, (folder,)) for source in sources):
        raise UsageError(f"{folder}: is in the folder of the pictures, or around it", hint="name another --output")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is no folder", hint="name another --output")
    there = os.listdir(folder) if folder.is_dir() else []  # noqa: PTH208 - names, not paths
    if any(not name.startswith(".") for name in there) and read(folder) is None and JOURNAL not in there:
        raise UsageError(f"{folder}: holds other files already", hint="name a new folder as --output")


def versions(root: Path) -> tuple[Path, ...]:
    """The folders ``001``, ``002`` ... of a dataset in the workspace, finished or not, in their order."""
    with suppress(OSError):
        names = sorted(os.listdir(root), key=lambda name: (len(name), name))  # noqa: PTH208 - names, not paths
        return tuple(root / name for name in names if re.fullmatch(r"\d{3,}", name))
    return ()


def next_version(root: Path) -> Path:
    last = versions(root)
    folder = root / f"{int(last[-1].name) + 1 if last else 1:03d}"
    folder.mkdir(parents=True)
    return folder


def place(root: Path, step: VersionStep, output: Path | None, sources: Iterable[Path]) -> Path:
    """The folder of the version: the one that is named, the last one where the same was cut or done, or a new one.

    Raises:
        UsageError: see ``usable``.
    """
    last = next(reversed(versions(root)), None) if output is None else None
    goes_on = last is not None and _last_step(last) == step
    target = output or (last if last and goes_on else next_version(root))
    usable(target, sources)
    if last and not goes_on and (last / ANSWERS).is_file():
        shutil.copy2(last / ANSWERS, target / ANSWERS)  # what was paid for once
    return target


def _last_step(folder: Path) -> VersionStep | None:
    """What was begun in a version, else what it was finished with."""
    with suppress(OSError, ValueError, IndexError):
        lines = (folder / JOURNAL).read_text(encoding="utf-8").splitlines()
        return VersionStep(**[json.loads(line)[1] for line in lines if line.startswith('["step"')][-1])
    return next(reversed((read(folder) or DatasetVersion()).steps), None)


def need_space(folder: Path, wanted: int) -> None:
    """Refuse before anything is written what the disk cannot hold.

    Raises:
        PreflightError: there is less than ``wanted`` bytes.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free < wanted:
        text = f"{folder}: {size(wanted)} are needed and {size(free)} are free"
        raise PreflightError(text, hint="free some space, or name another --output or --workspace")


def _made(row: dict[str, Any]) -> MadePicture:
    """Raises ValueError for a name that leads out of the version: a manifest may be a stranger's."""
    made = MadePicture(**row | {"what": tuple(row["what"]), "size": tuple(row["size"])})
    for name in (made.file, *made.sidecars):
        if Path(name).is_absolute() or ".." in Path(name).parts or "\0" in name:
            raise ValueError(f"{name!r} leads out of the folder")
    return made
