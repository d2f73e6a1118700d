"""The file systems that a run would write to: how much room they have, and whether the workspace can be written to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_runner.findings import Finding, error
from kohya_runner.safe_files import is_inside, link_out
from kohya_runner.text import number
from kohya_runner.workspace import NETWORK_TYPES, Workspace, mount_of

QUOTA_VARIABLE = "KOHYA_RUNNER_VOLUME_GB"
MEASURE_SECONDS = 20.0
"""How long the files of a volume with a declared size may be counted."""
BLOCK = 512


@dataclass(frozen=True, slots=True)
class FileSystem:
    """One file system in bytes; ``free_bytes`` is None where it cannot be known. ``paths`` are those asked about."""

    mount: Path
    kind: str
    source: str
    free_bytes: int | None
    total_bytes: int | None
    is_network: bool
    paths: tuple[Path, ...] = ()

    @property
    def has_quota(self) -> bool:
        """Whether the system's own numbers are those of a whole cluster, not of this volume (RunPod's MooseFS)."""
        return self.source.startswith("mfs#")


def read_filesystems(
    paths: Iterable[Path], environ: Mapping[str, str], *, clock: Callable[[], float], mounts: str | None = None
) -> tuple[FileSystem, ...]:
    """One entry per device below the paths, which need not exist yet. ``mounts`` is the text of ``/proc/mounts``."""
    devices: dict[tuple[int, str], list[Path]] = {}
    for path in paths:
        parent = existing_parent(path)
        mount = mount_of(parent, mounts)
        key = (parent.stat().st_dev, mount[0] if mount[0].startswith("mfs#") else "")
        devices.setdefault(key, []).append(path)
    return tuple(_read(tuple(found), environ, clock, mounts) for found in devices.values())


def find_filesystem(filesystems: Iterable[FileSystem], path: Path) -> FileSystem | None:
    """The file system that holds a path: the one asked about the nearest folder above it, else the nearest mount."""
    known = [(folder, system) for system in filesystems for folder in (*system.paths, system.mount)]
    above = [(len(folder.parts), system) for folder, system in known if path == folder or folder in path.parents]
    return max(above, key=lambda pair: pair[0])[1] if above else None


def existing_parent(path: Path) -> Path:
    """The path itself or the nearest folder above it that exists."""
    path = Path(os.path.abspath(path))
    return next((folder for folder in (path, *path.parents) if folder.exists()), Path(path.anchor))


def _read(
    paths: tuple[Path, ...], environ: Mapping[str, str], clock: Callable[[], float], mounts: str | None
) -> FileSystem:
    parent = existing_parent(paths[0])
    source, mount, kind = mount_of(parent, mounts)
    numbers = os.statvfs(parent)
    plain = FileSystem(
        mount=Path(mount),
        kind=kind,
        source=source,
        free_bytes=numbers.f_bavail * numbers.f_frsize,
        total_bytes=numbers.f_blocks * numbers.f_frsize,
        is_network=kind in NETWORK_TYPES or source.startswith("mfs#"),
        paths=paths,
    )
    if not plain.has_quota:
        return plain
    # the declared size less what is there; unknown where nothing is declared: ``df`` shows the whole cluster
    gigabytes = number(environ.get(QUOTA_VARIABLE))
    total = None if gigabytes is None else int(gigabytes * 10**9)
    used = used_bytes(plain.mount, clock() + MEASURE_SECONDS, clock) if total is not None else None
    return replace(plain, free_bytes=None if total is None or used is None else max(0, total - used), total_bytes=total)


def used_bytes(root: Path, deadline: float, clock: Callable[[], float]) -> int | None:
    """Bytes on disk below ``root``, hard links once; None where the deadline passed first."""
    seen: set[int] = set()
    total = 0
    for folder, _, names in os.walk(root):
        if clock() > deadline:
            return None
        for name in names:
            try:
                status = os.lstat(os.path.join(folder, name))  # noqa: PTH118 - a hot loop over strings
            except OSError:
                continue
            total += 0 if status.st_ino in seen else status.st_blocks * BLOCK
            seen.add(status.st_ino)
    return total


def link_findings(room: Workspace, name: str, folders: tuple[Path, ...]) -> Iterator[Finding]:
    """Links of a workspace that lead out of it, where a run of this name would write: it may have been downloaded."""
    runs, rehearsals = room.runs / name, room.rehearsals / name
    cache = {Path(path) for path in room.environment().values()}
    places = [*sorted(cache), room.models, room.datasets / name, runs, rehearsals]
    within = [folder for run in (runs, rehearsals) for folder in (run, *_below(run, links=False))]
    places += [link for folder in within for link in _below(folder, links=True)]
    for link in dict.fromkeys(found for place in places if (found := link_out(room.root, place))):
        if not is_inside(link, (room.root, *folders)):
            hint = "remove the link; or name the folder it leads to in your settings: folders: [...]"
            yield error("disk.link", f"{link} is a link that leads out of the workspace", hint=hint)


def _below(folder: Path, *, links: bool) -> list[Path]:
    """The links, or the folders, that stand in a folder."""
    with suppress(OSError), os.scandir(folder) as entries:
        chosen = [one for one in entries if (one.is_symlink() if links else one.is_dir(follow_symlinks=False))]
        return sorted(Path(entry.path) for entry in chosen)
    return []


LONGEST_NAME = 255
LONGEST_PATH = 3800  # PATH_MAX is 4096; laid-out names come on top


def workspace_findings(root: Path) -> tuple[Finding, ...]:
    """An error where the path is a file, or the folder cannot be made or written to."""
    hint = "choose another --workspace, or KOHYA_WORKSPACE"
    if len(os.fsencode(root)) > LONGEST_PATH or any(len(os.fsencode(p)) > LONGEST_NAME for p in root.parts):
        return (error("disk.unwritable", f"the workspace's name is too long: {str(root)[:60]}...", hint=hint),)
    parent = existing_parent(root)
    if not parent.is_dir():
        return (error("disk.unwritable", f"{parent} is a file, so {root} cannot be the workspace", hint=hint),)
    if not os.access(parent, os.W_OK | os.X_OK) or os.statvfs(parent).f_flag & os.ST_RDONLY:
        text = f"{parent} cannot be written to, so {root} cannot be the workspace"
        return (error("disk.unwritable", text, hint=hint),)
    return ()
