"""Where everything the runner writes lives: one folder on the big disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.errors import UsageError
from kohya_runner.safe_files import read_text

DEFAULT = Path("/workspace")
LONGEST_TMPDIR = 70
"""Bytes: data loader workers put sockets there, whose whole path may have 107 (AF_UNIX); 75 worked, 76 did not."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folders below a workspace root (an absolute path)."""

    root: Path

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def models(self) -> Path:
        """Model files the runner fetched or made: real files, never links."""
        return self.root / "models"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def prepared(self) -> Path:
        """Versions of datasets: ``<name>/<number>``, see ``dataset.prepare.manifest``."""
        return self.root / "prepared"

    @property
    def sweeps(self) -> Path:
        """What was asked of many runs of one recipe together: ``<name>``."""
        return self.root / "sweeps"

    @property
    def rehearsals(self) -> Path:
        """What was measured before a run: ``<name>/<number>``, without the files that were saved."""
        return self.root / "rehearsals"

    def environment(self) -> dict[str, str]:
        """The variables that keep every download and every compiled kernel inside the workspace.

        TRANSFORMERS_CACHE equals HF_HUB_CACHE: the pinned transformers 4.54.1 still lets it override HF_HOME
        (utils/hub.py:101-112), and two values would mean two caches. PIP_CACHE_DIR and TMPDIR follow only where the
        workspace is a local disk: on a network volume they are slow enough to stall an install.
        """
        hub = self.cache / "huggingface" / "hub"
        local = {"PIP_CACHE_DIR": self.cache / "pip", "TMPDIR": self.cache / "tmp"}
        paths = {
            "HF_HOME": self.cache / "huggingface",
            "HF_HUB_CACHE": hub,
            "TRANSFORMERS_CACHE": hub,
            "HF_DATASETS_CACHE": self.cache / "huggingface" / "datasets",
            "TORCH_HOME": self.cache / "torch",
            "TRITON_CACHE_DIR": self.cache / "triton",
            "XDG_CACHE_HOME": self.cache / "xdg",
            **({} if is_network_mount(self.root) else local),
        }
        found = {name: str(path) for name, path in paths.items()}
        if len(os.fsencode(found.get("TMPDIR", ""))) > LONGEST_TMPDIR:
            del found["TMPDIR"]
        return found


NETWORK_TYPES = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.mfs", "lustre", "ceph", "glusterfs", "9p",
                           "fuse.juicefs", "fuse.sshfs", "fuse.s3fs", "fuse.rclone", "beegfs", "gpfs"})  # fmt: skip


def mount_of(path: Path, mounts: str | None = None) -> tuple[str, str, str]:
    """The (source, mount point, file system type) that holds ``path``, from ``/proc/mounts``.

    ``mounts`` is that file's text, given by tests. Where there is no such file, everything is one local disk.
    """
    if mounts is None:
        mounts = read_text(Path("/proc/mounts"), "replace") or ""
    target = os.path.realpath(path)
    best = ("", "/", "unknown")
    for line in mounts.splitlines():
        source, point, kind, *_ = [*(field.replace("\\040", " ") for field in line.split(" ")), "", "", ""]
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[1]):
            best = (source, point, kind)
    return best


def is_network_mount(path: Path) -> bool:
    """Whether the path is on a network volume (RunPod's are MooseFS: the source begins with ``mfs#``)."""
    source, _, kind = mount_of(path)
    return kind in NETWORK_TYPES or source.startswith("mfs#")


def choose(option: str | None, recipe: str | None, environ: Mapping[str, str], cwd: Path) -> Workspace:
    """By precedence: option, ``$KOHYA_WORKSPACE``, recipe, ``/workspace`` if writable, ``./workspace``."""
    if option == "" or recipe == "":
        raise UsageError("the workspace is an empty text", hint="name a folder, or leave it out")
    named = option or environ.get("KOHYA_WORKSPACE") or recipe
    if named:
        return Workspace(Path(os.path.abspath(cwd / Path(named).expanduser())))
    if DEFAULT.is_dir() and os.access(DEFAULT, os.W_OK):
        return Workspace(DEFAULT)
    return Workspace(cwd / "workspace")
