"""What Modal, SkyPilot and HF Jobs share: one parcel for each stay, node.sh on every machine, the user's own client."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tarfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from kohya_runner.errors import RemoteError
from kohya_runner.remote.machine import RUN, SHIPPED, sources_here
from kohya_runner.remote.place import Job, Standing
from kohya_runner.safe_files import read_text
from kohya_runner.tables import read_table
from kohya_runner.text import masked_text, plain

MARK = "kr-"  # with it begins whatever is ours at an engine
PARCEL = "stay.tar"
AGAIN = 75  # with it node.sh asks for another start; all other codes are final
_NO_ENVIRONMENT: Mapping[str, str] = {}


@cache
def facts() -> dict[str, Any]:
    return read_table(Path(__file__).with_name("engines.toml"))


def label(job: Job) -> str:
    """What a stay is called at its engine: the same whenever it is asked, another one for another workspace."""
    where = hashlib.sha256(f"{platform.node()}:{job.pack.absolute()}".encode()).hexdigest()[:6]
    return f"{MARK}{re.sub(r'[^a-z0-9]+', '-', job.name.lower()).strip('-')[:30]}-{job.number}-{where}"


def run_there(name: str) -> str:
    """The run's folder in the stay's: there it is the first one."""
    return f"runs/{name}/{RUN}"


@contextlib.contextmanager
def parcel(job: Job) -> Iterator[Path]:
    """One file with all that a machine needs: the pack with its links followed, and the runner. Gone afterwards."""
    file = job.pack.with_name(PARCEL)
    try:
        with tarfile.open(file, "w", dereference=True) as tar:
            tar.add(job.pack, "pack")
            for name, path in sources_here().items():
                tar.add(path, f"runner/{name}", filter=_wanted)
        yield file
    finally:
        file.unlink(missing_ok=True)


def _wanted(one: tarfile.TarInfo) -> tarfile.TarInfo | None:
    parts = Path(one.name).parts
    inside = parts[1:2] == ("kohya_runner",) and parts[2:3] in {(name,) for name in SHIPPED}
    return None if inside or "__pycache__" in parts else one


def node_environment(job: Job, folder: str, shared: str, **more: object) -> dict[str, str]:
    named = {"name": job.name, "folder": folder, "shared": shared, **more}
    return {f"KOHYA_RUNNER_{key.upper()}": str(value) for key, value in named.items() if value not in (None, "")}


def node_script(job: Job, parcel_there: str) -> str:
    """The bash lines of a machine: unpack what was sent, once for all that share the folder, and run it."""
    here = '"$KOHYA_RUNNER_FOLDER"'
    return (
        f"set -eu; mkdir -p {here}\n"
        f'if [ "${{SKYPILOT_NODE_RANK:-0}}" != 0 ]; then until [ -e {here}/.unpacked ]; do sleep 2; done; fi\n'
        f"[ -e {here}/.unpacked ] || {{ tar -xf {parcel_there} -C {here} && touch {here}/.unpacked; }}\n"
        f"exec bash {here}/runner/kohya_runner/remote/node.sh {shlex.join(job.options)}".rstrip()
    )


def call(
    argv: Sequence[str], doing: str, *, hint: str = "", show: bool = False, env: Mapping[str, str] = _NO_ENVIRONMENT
) -> str:
    """What the user's own client says. With ``show`` a person sees its lines as they come: it may take minutes.

    Raises ``RemoteError``: it is not installed, or ended with an error; its last lines are told.
    """
    try:
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace",
            stderr=subprocess.STDOUT if show else subprocess.PIPE, env={**os.environ, **env},
        )  # fmt: skip
    except FileNotFoundError:
        raise RemoteError(f"{argv[0]} is not installed", hint=facts()["install"].get(argv[0], "")) from None
    out, err = _shown(child) if show else child.communicate()
    if child.wait():
        lines = [line.strip() for line in (err or out).splitlines() if line.strip()][-6:]
        said = masked_text(plain(" / ".join(lines)))
        raise RemoteError(f"{doing}: {said or f'exit code {child.returncode}'}", hint=hint)
    return out


def _shown(child: subprocess.Popen[str]) -> tuple[str, str]:
    lines: deque[str] = deque(maxlen=500)
    for line in child.stdout or ():
        lines.append(masked_text(plain(line.rstrip("\n"))))
        sys.stderr.write(f"{lines[-1]}\n")
    return "\n".join(lines), ""


def answer(argv: Sequence[str], doing: str, *, hint: str = "", env: Mapping[str, str] = _NO_ENVIRONMENT) -> Any:
    """What the client says as JSON, after whatever else it prints."""
    out = call(argv, doing, hint=hint, env=env)
    begins = re.search(r"^[\[{]", out, re.MULTILINE)
    try:
        return json.loads(out[begins.start() :]) if begins else []
    except ValueError:
        raise RemoteError(
            f"{doing}: no JSON: {plain(out)[:200]}", hint=facts()["versions"][Path(argv[0]).name]
        ) from None


def exit_code(folder: Path) -> int | None:
    """What start.sh left there last; None where it did not come to that."""
    said = (read_text(folder / "exit-code") or "").strip()
    return int(said) if said.isdecimal() else None


def over(text: str, code: int | None, where: str, *, billed: bool = False) -> Standing:
    """A stay whose machine is gone: it ended where it left its exit code, else what it kept so far is named."""
    if code is not None:
        return Standing("ended", f"{text}, exit code {code}", code, billed)
    return Standing("lost", f"{text} before the run ended; what it wrote until then is in {where}", billed=billed)


def move(source: Path, target: Path) -> None:
    """Each file of a folder into another one, in one step each."""
    for path in source.rglob("*"):
        if path.is_file() and not path.is_symlink():
            there = target / path.relative_to(source)
            there.parent.mkdir(parents=True, exist_ok=True)
            path.replace(there)
