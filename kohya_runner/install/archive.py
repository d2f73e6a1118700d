"""The trainer's environment as one file on the volume: a big file is what a network volume is good at, a venv is not.

Only where ``$KOHYA_RUNNER_ARCHIVE`` names a folder. The file's name is its key: what was to be installed, the Python,
the platform, and the folder it must lie in (a venv has absolute paths). Its hash stands beside it, written last.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kohya_runner import safe_files
from kohya_runner.artefact.file_hash import sha256
from kohya_runner.errors import PreflightError
from kohya_runner.text import size

VARIABLE = "KOHYA_RUNNER_ARCHIVE"
Say = Callable[[str], None]


def archive_of(folder: Path, versions: Iterable[str], environ: Mapping[str, str]) -> Path | None:
    """Where the environment in ``folder``, which is named for its stamp, is kept; None where nobody asked for it."""
    if not environ.get(VARIABLE):
        return None
    parts = (str(folder), *versions, platform.machine(), *platform.libc_ver())
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return Path(environ[VARIABLE]).expanduser() / f"{folder.name}-{key}.tar"


def restore(archive: Path, folder: Path, say: Say) -> bool:
    """Unpack beside ``folder`` while the hash is taken, and put it there in one step; False: it must be installed."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        told = json.loads(_note(archive).read_text(encoding="utf-8"))
        if told["zstd"] and shutil.which("zstd") is None:
            say(f"{archive} needs zstd, which is not here (apt-get install zstd)")
            return False
        say(f"restoring the environment from {archive}: {size(archive.stat().st_size)}")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".restore-") as name:
            digest = _unpacked(archive, Path(name), zstd=told["zstd"])
            if digest != told["sha256"] or not (Path(name) / folder.name).is_dir():
                say(f"{archive} is damaged: it is not used, and the environment is installed")
                return False
            shutil.rmtree(folder, ignore_errors=True)
            (Path(name) / folder.name).rename(folder)
        return True
    return False


def _unpacked(archive: Path, into: Path, *, zstd: bool) -> str:
    """The hash of the file, taken at the same time; "" where it could not be unpacked."""
    program = ("--use-compress-program", "zstd -q") if zstd else ()
    with ThreadPoolExecutor(1) as pool:
        digest = pool.submit(sha256, archive)
        command = ("tar", *program, "-xf", str(archive), "-C", str(into))
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        return digest.result() if done.returncode == 0 else ""


def save(archive: Path, folder: Path, say: Say) -> None:
    """Write the environment, whole or not at all; the one that was kept before it goes.

    Raises:
        PreflightError: it cannot be written.
    """
    if _note(archive).exists():
        return
    archive.parent.mkdir(parents=True, exist_ok=True)
    fast = shutil.which("zstd") is not None
    program = ("--use-compress-program", "zstd -q -T0 -3") if fast else ()
    handle, name = tempfile.mkstemp(dir=archive.parent, prefix=f".{archive.name}.")
    os.close(handle)
    partial = Path(name)
    try:
        done = subprocess.run(
            ("tar", *program, "-cf", name, "-C", str(folder.parent), folder.name), stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE, encoding="utf-8", errors="replace", check=False,
        )  # fmt: skip
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["tar failed"])[-1]
            raise PreflightError(f"{archive} cannot be written: {last}", hint="is there room on the volume?")
        digest = sha256(partial)
        partial.replace(archive)
        safe_files.write_json(_note(archive), {"version": 1, "sha256": digest, "zstd": fast})
    finally:
        partial.unlink(missing_ok=True)
    say(f"kept the environment in {archive}: {size(archive.stat().st_size)}")
    engine = folder.name.rpartition("-")[0]
    for other in archive.parent.glob(f"{engine}-*.tar*"):
        if not other.name.startswith(archive.name):
            other.unlink()


def _note(archive: Path) -> Path:
    return archive.with_name(f"{archive.name}.json")
