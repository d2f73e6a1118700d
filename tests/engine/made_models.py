"""The tiny models of a family, written once for all tests of a process: a writer takes four seconds to start."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HERE = Path(__file__).parent


def put(python: Path, checkout: Path, family: str, folder: Path, environ: Mapping[str, str] | None = None) -> None:
    """The files of ``tiny_models.py`` in an empty folder, as hard links where that is possible.

    What a family has in the Hub's cache goes into that of ``environ``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made, hub = _made(python, checkout, family), (environ or {}).get("HF_HUB_CACHE")
    shutil.copytree(made / "models", folder, copy_function=_link, dirs_exist_ok=True)
    if hub and (made / "hub").is_dir():
        shutil.copytree(made / "hub", hub, symlinks=True, dirs_exist_ok=True)


def _link(path: str, target: str) -> None:
    try:
        os.link(path, target)
    except OSError:  # another file system
        shutil.copyfile(path, target)


@functools.cache
def _made(python: Path, checkout: Path, family: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tiny models "))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    environ = {**os.environ, "PYTHONPATH": str(HERE / "shrink"), "PYTHONDONTWRITEBYTECODE": "1", "HF_HUB_OFFLINE": "1",
               "OMP_NUM_THREADS": "1", "HF_HUB_CACHE": str(folder / "hub")}  # fmt: skip
    (folder / "models").mkdir()
    writer = (str(python), str(HERE / "tiny_models.py"), str(checkout), family, str(folder / "models"))
    subprocess.run(writer, check=True, capture_output=True, env=environ)
    return folder
