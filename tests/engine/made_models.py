"""The tiny models of a family, written once for all tests of a process: a writer takes four seconds to start."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def put(python: Path, checkout: Path, family: str, folder: Path) -> None:
    """The files of ``tiny_models.py`` in an empty folder, as hard links where that is possible."""
    for path in (made := _made(python, checkout, family)).rglob("*"):
        target = folder / path.relative_to(made)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            _link(path, target)


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:  # another file system
        shutil.copyfile(path, target)


@functools.cache
def _made(python: Path, checkout: Path, family: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tiny models "))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    environ = {**os.environ, "PYTHONPATH": str(HERE / "shrink"), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1",
               "OMP_NUM_THREADS": "1"}  # fmt: skip
    writer = (str(python), str(HERE / "tiny_models.py"), str(checkout), family, str(folder))
    subprocess.run(writer, check=True, capture_output=True, env=environ)
    return folder
