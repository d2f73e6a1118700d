"""The SHA-256 of every file of a run: made where it ran, compared where it came back.

``python -m kohya_runner.remote.sums RUN FILE`` writes them on the other machine.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from kohya_runner.artefact.file_hash import sha256
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.safe_files import is_inside, read_json, write_json

VERSION = 1


def write(run_dir: Path, file: Path) -> None:
    """Hash what a run left; none where it never began. Hidden files are locks and partial ones."""
    found = {str(path.relative_to(run_dir)): path for path in sorted(run_dir.rglob("*")) if _counts(path, run_dir)}
    write_json(file, {"version": VERSION, "files": {name: sha256(path) for name, path in found.items()}})


def _counts(path: Path, run_dir: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(run_dir).parts)
    return path.is_file() and not path.is_symlink() and not hidden


def wrong(run_dir: Path) -> Iterator[str]:
    """The files of a returned run that are not what was sent; one line where nobody knows what was."""
    told = read_json(RunPaths(run_dir).sums)
    files = told.get("files")
    if told.get("version") != VERSION or not isinstance(files, dict):
        yield RunPaths(run_dir).sums.name
        return
    for name, digest in files.items():
        path = run_dir / name
        inside = is_inside(path.parent, (run_dir,)) and not path.is_symlink()
        if not (inside and path.is_file() and sha256(path) == digest):
            yield name


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]))
