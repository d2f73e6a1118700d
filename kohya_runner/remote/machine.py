"""A stay on a machine with sshd: folders, sources and pack out, a detached start, how it stands, results back.

``ROOT`` there has ``runner/`` (our own sources, by their content), ``cache/`` and ``models/`` of all stays, and
``stays/NAME-NUMBER-xxxx``: the workspace of one stay, with links to the shared two.
"""

from __future__ import annotations

import hashlib
import itertools
import secrets
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kohya_runner.recipe.starter import PACKAGE
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.remote.place import Job, Standing, Stay
from kohya_runner.remote.ssh import SshHost

SOURCES = ("kohya_runner", "runpod", "recipes", "pyproject.toml", "README.md", "LICENSE")
ROOT = 'if [ -d /workspace ] && [ -w /workspace ]; then echo /workspace; else echo "$HOME/kohya-runner"; fi'
SHIPPED = ("recipes", "project")
"""Folders that a wheel has in the package and a clone beside it; there they are sent as beside it."""
RUN = "001"  # the number of a run there: each stay has a workspace of its own
_LOOK = """cd -- {stay} 2>/dev/null || {{ echo gone; exit; }}
if [ -e exit-code ]; then echo "ended $(cat exit-code)"
elif [ -e .running ] && flock -n .running true; then echo died
elif [ -e .running ]; then echo running
else echo sent; fi
tail -n 1 launch.log 2>/dev/null"""
_IDLE = "[ ! -e exit-code ] && { [ ! -e .running ] || flock -n .running true; }"
"""Whether a start would start anything: a file of secrets is written for nobody else."""
_HERE = Path(__file__)


@dataclass(frozen=True, slots=True)
class SshMachine:
    """One machine as it is used: ``environment`` is a folder there with a Python for the runner, "" to make one."""

    host: SshHost
    root: str = ""
    environment: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)  # of the run there; no secrets

    def send(self, job: Job, stay: Stay, save: Callable[[Stay], None]) -> Stay:
        """Make the folders and send sources and pack. Repeatable: what is there already is not sent again."""
        if not stay.root:
            root = self.root or self.host.check(ROOT).strip()
            stay = stay.changed(root=f"{root}/stays/{job.name}-{job.number}-{secrets.token_hex(2)}")
            save(stay)
        root = _root(stay)
        folders = shlex.join((f"{root}/cache", f"{root}/models", sources_there(stay), f"{stay.root}/pack"))
        links = "\n".join(f"[ -e {name} ] || ln -s ../../{name} {name}" for name in ("cache", "models"))
        self.host.check(f"set -e\numask 077\nmkdir -p -- {folders}\ncd -- {shlex.quote(stay.root)}\n{links}")
        for folder, paths in itertools.groupby(sources_here().values(), key=lambda path: path.parent):
            chosen = (f"--include=/{path.name}{'/***' if path.is_dir() else ''}" for path in paths)
            inside = (f"--exclude=/{PACKAGE.name}/{name}" for name in SHIPPED)
            self.host.send(folder, sources_there(stay), "--exclude=__pycache__", *inside, *chosen, "--exclude=*")
        self.host.send(job.pack, f"{stay.root}/pack")
        return stay

    def start(self, job: Job, stay: Stay, values: Mapping[str, str]) -> None:
        """Start it detached, once however often this is called. ``values`` are the secrets of the job."""
        hours = job.ask.max_hours
        said = {
            "stay": stay.root, "sources": sources_there(stay), "environment": self.environment,
            "run": f"runs/{job.name}/{RUN}", "seconds": "" if hours is None else str(round(hours * 3600)),
        }  # fmt: skip
        lines = [f"{name}={shlex.quote(value)}" for name, value in said.items()]
        lines += [f"export {name}={shlex.quote(value)}" for name, value in self.variables.items()]
        text = "\n".join((*lines, f"options=({shlex.join(job.options)})", _HERE.with_name("start.sh").read_text()))
        place = shlex.quote(stay.root)
        self.host.check(f"umask 077; cat > {place}/start.sh", stdin=text.encode())
        hidden = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
        if hidden:
            self.host.check(f"cd -- {place} && umask 077; {_IDLE} || exit 0; cat > .secrets", stdin=hidden.encode())
        self.host.check(f"cd -- {place} || exit\nsetsid bash start.sh >>launch.log 2>&1 </dev/null &")

    def standing(self, stay: Stay, *, tries: int = 2) -> Standing:
        state, _, said = self.host.check(_LOOK.format(stay=shlex.quote(stay.root)), tries=tries).partition("\n")
        word, _, code = state.partition(" ")
        match word:
            case "ended":
                return Standing("ended", said.strip(), int(code) if code.isdecimal() else None)
            case "running":
                return Standing("running", said.strip())
            case "sent":
                return Standing("sending", "it was never started")
            case "died":
                return Standing("lost", f"it ended without a word, as at a restart of the machine: {said.strip()}")
            case _:
                return Standing("lost", f"{stay.root} is not there any more")

    def bring(self, stay: Stay, into: Path, *, everything: bool) -> None:
        """The run's folder there into the one here; logs grow in place, so that who follows them goes on reading."""
        names = [RunPaths(Path()).remote_log.name, *([RunPaths(Path()).sums.name] if everything else [])]
        sources = (*(f"{stay.root}/{name}" for name in names), f"{stay.root}/runs/{stay.name}/{RUN}/")
        grow = ("*.log", "*.jsonl")
        self.host.bring(sources, into, "--inplace", "--prune-empty-dirs", "--exclude=.*", "--include=*/",
                        *(f"--include={name}" for name in grow), "--exclude=*")  # fmt: skip
        output, samples = RunPaths(Path()).output, RunPaths(Path()).samples
        small = (f"--include=/{output}/", f"--include=/{samples}/***", f"--exclude=/{output}/*")
        self.host.bring(sources, into, "--exclude=.*", *(f"--exclude={name}" for name in grow),
                        *(() if everything else small), loud=everything)  # fmt: skip

    def stop(self, stay: Stay, *, now: bool) -> None:
        """Leave a stop request with the runner there; what has no run yet is ended at once."""
        how = "--now" if now else "--after-save"
        words = ("stop", f"{stay.name}/{RUN}", f"--workspace={stay.root}", how, "--no-wait")
        self.host.check(
            f"cd -- {shlex.quote(stay.root)} && [ ! -e exit-code ] || exit 0\n"
            "{ read -r python; read -r sources; } <launcher 2>/dev/null &&"
            f' PYTHONPATH="$sources" "$python" -m kohya_runner {shlex.join(words)} || kill -TERM -- "-$(cat pid)"'
        )

    def remove(self, stay: Stay) -> None:
        """Remove the stay's folder. Only ever called for what came back and was verified."""
        self.host.check(f"rm -rf -- {shlex.quote(stay.root)}")


def _root(stay: Stay) -> str:
    return stay.root.rpartition("/stays/")[0]


def sources_here() -> Mapping[str, Path]:
    """Our own sources with what installs them: each where it lies, in a clone or in an installed wheel."""
    clone = (PACKAGE.parent / "pyproject.toml").is_file()
    apart = {"kohya_runner": PACKAGE, "recipes": PACKAGE / "recipes"}  # of a wheel; pyproject.toml has the rest
    return {name: PACKAGE.parent / name if clone else apart.get(name, PACKAGE / "project" / name) for name in SOURCES}


def sources_there(stay: Stay) -> str:
    """Their folder on the other machine: another version of them is another folder."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            digest.update(f"{path.relative_to(PACKAGE)}\0".encode() + path.read_bytes())
    return f"{_root(stay)}/runner/{digest.hexdigest()[:12]}"
