"""The trainer's environment on this machine's local disk: where it is, and making it."""

from __future__ import annotations

import contextlib
import ctypes.util
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from kohya_runner import safe_files
from kohya_runner.engine_info import EngineInfo
from kohya_runner.errors import PreflightError, TrainerError, UsageError
from kohya_runner.install.checkout import Checkout, TrainerPython, recorded
from kohya_runner.install.probe import (
    MINORS,
    PACKAGES,
    EnvironmentPlan,
    PythonFacts,
    deep_probe,
    lacking,
    plan_environment,
    probe,
)
from kohya_runner.text import child_environment, package_name, size
from kohya_runner.workspace import is_network_mount

Say = Callable[[str], None]

NOT_FOR_PIP = frozenset({"PIP_BREAK_SYSTEM_PACKAGES", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_CONSTRAINT",
                         "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"})  # fmt: skip


@contextlib.contextmanager
def lock(home: Path, say: Say) -> Iterator[None]:
    """One setup at a time; a second one waits and then finds everything done."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if home.stat().st_uid != os.geteuid():
        raise TrainerError(f"{home} belongs to another user", hint="set $KOHYA_RUNNER_HOME to a folder of your own")
    with (home / "setup.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another setup is at work here; waiting for it to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def candidates(environ: Mapping[str, str]) -> tuple[PythonFacts, ...]:
    """Every Python this machine offers for a venv, the image's own first; what does not run is left out."""
    names = ("python3", "python", *(f"python{minor}" for minor in MINORS))
    path = environ.get("PATH", os.defpath)
    found = [shutil.which(name, path=path) for name in names]
    found += [str(Path(sys.base_prefix) / "bin" / "python3"), "/usr/bin/python3"]
    facts: list[PythonFacts] = []
    for python in dict.fromkeys(Path(each) for each in found if each):
        with contextlib.suppress(TrainerError):
            facts.append(probe(python, PACKAGES))
    return tuple({each.executable: each for each in reversed(facts)}.values())[::-1]


def plan_for(environ: Mapping[str, str], requirements: str, *, xformers: bool = True) -> EnvironmentPlan:
    """The environment to make here.

    Raises:
        TrainerError: this machine has no Python that fits.
    """
    offered = candidates(environ)
    has_libgl = ctypes.util.find_library("GL") is not None
    plan = plan_environment(offered, requirements, has_libgl=has_libgl, xformers=xformers)
    if plan is None:
        seen = ", ".join(f"{facts.path} ({facts.python})" for facts in offered) or "none at all"
        hint = "install one with its venv module, for instance: apt-get install python3.11 python3.11-venv"
        raise TrainerError(f"the trainer needs Python 3.10, 3.11 or 3.12; found: {seen}", hint=hint)
    return plan


def make_environment(
    plan: EnvironmentPlan, checkout: Checkout, *, home: Path, environ: Mapping[str, str], say: Say
) -> Path:
    """The Python of a complete environment as planned: an existing one, a half-made one finished, or a new one.

    Raises:
        PreflightError: the disk is too small.
        TrainerError: something could not be installed, or does not import afterwards.
    """
    engine = checkout.engine
    folder = home / f"{engine.environment}-{plan.stamp}"
    known = recorded(home, engine)
    if known and known.stamp == plan.stamp:
        say(f"the trainer's environment is there: {known.python}")
        return known.python
    free = shutil.disk_usage(home).free
    if free < plan.needed_bytes:
        text = f"the trainer's environment needs about {size(plan.needed_bytes)} in {home}, {size(free)} are free"
        raise PreflightError(text, hint="set $KOHYA_RUNNER_HOME to a folder on a larger local disk")
    pip, versions = _pip_environment(environ, home), run_together(engine) if checkout.pinned else ()
    from kohya_runner.install.archive import archive_of, restore  # no plan needs it

    kept = archive_of(folder, versions, environ)
    if kept is None or not restore(kept, folder, say):
        _venv(plan, folder, pip, say)
        _install(plan, folder, (pip, engine), versions, say)
    python = folder / "bin" / "python"
    say("checking that the trainer's modules import")
    facts = deep_probe(python, checkout.root, engine)
    if not facts.trains:
        name, fault = next(iter(facts.faults.items()))
        hint = f"delete {folder} and try again"
        raise TrainerError(f"the new environment cannot import {name}: {fault}", hint=hint)
    safe_files.write_json(home / engine.record, {"version": 1, "python": str(python), "stamp": plan.stamp})
    return python


def add_packages(
    python: TrainerPython, wanted: tuple[str, ...], *, home: Path, environ: Mapping[str, str], say: Say
) -> None:
    """Install what a recipe asks for besides the requirements; a Python that somebody named is never changed.

    Raises:
        TrainerError: it is such a one, or pip cannot install them.
    """
    absent = lacking(wanted, probe(python.path, tuple(map(package_name, wanted))).packages) if wanted else ()
    if not absent:
        return
    if not python.own:
        hint = f"install it there: {shlex.join((str(python.path), '-m', 'pip', 'install', *absent))}"
        raise TrainerError(f"{python.named_by} names {python.path}, which lacks {', '.join(absent)}", hint=hint)
    limits, asked = python.path.parents[1] / "constraints.txt", {package_name(text) for text in absent}
    lines = limits.read_text(encoding="utf-8").splitlines() if limits.exists() else []
    others = [line for line in lines if package_name(line) not in asked]
    safe_files.write_text(limits, "\n".join(others) + "\n")
    say(f"installing {' '.join(absent)}")
    pip = (str(python.path), "-m", "pip", "install", "--constraint", str(limits))
    _must((*pip, *absent), _pip_environment(environ, home))


def keep(checkout: Checkout, python: Path, environ: Mapping[str, str], say: Say) -> None:
    """Write the environment that ``setup`` made into the folder of ``$KOHYA_RUNNER_ARCHIVE``, for the next machine."""
    from kohya_runner.install.archive import VARIABLE, archive_of, save

    folder = python.parent.parent
    kept = archive_of(folder, run_together(checkout.engine) if checkout.pinned else (), environ)
    if kept is None:
        raise UsageError(f"{VARIABLE} is not set", hint=f"export {VARIABLE}=/workspace/environments, on the volume")
    save(kept, folder, say)


def _pip_environment(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """The user's own pip settings, without those that aim at another Python, and with a cache on a local disk."""
    allowed = child_environment(environ, install=True)
    kept = {name: value for name, value in allowed.items() if name not in NOT_FOR_PIP}
    cache = Path(environ.get("PIP_CACHE_DIR") or Path(environ.get("HOME") or Path.home()) / ".cache" / "pip")
    local = {"PIP_CACHE_DIR": str(home / "cache" / "pip")} if is_network_mount(cache) else {}
    return {**kept, **local, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}


def _venv(plan: EnvironmentPlan, folder: Path, environ: Mapping[str, str], say: Say) -> None:
    if (folder / "bin" / "pip").exists():
        with contextlib.suppress(TrainerError):
            probe(folder / "bin" / "python", ())
            say(f"going on with the half-made environment in {folder}")
            return
    shutil.rmtree(folder, ignore_errors=True)
    shared = ("--system-site-packages",) if plan.image_torch else ()
    say(f"making {folder} with {plan.base} ({plan.python})" + (", on top of the image's torch" if shared else ""))
    if _run((str(plan.base), "-m", "venv", *shared, str(folder)), environ) != 0:
        shutil.rmtree(folder, ignore_errors=True)
        minor = ".".join(plan.python.split(".")[:2])
        hint = f"install its venv module, for instance: apt-get install python{minor}-venv"
        raise TrainerError(f"{plan.base} cannot make a virtual environment", hint=hint)


def run_together(engine: EngineInfo) -> tuple[str, ...]:
    """The versions of all packages that the pinned commit was run with, as constraints for pip."""
    text = Path(__file__).with_name(f"versions-{engine.name}.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def _install(
    plan: EnvironmentPlan, folder: Path, what: tuple[Mapping[str, str], EngineInfo], versions: tuple[str, ...], say: Say
) -> None:
    """First torch, so that nothing else decides about it; xformers last, because a recipe can do without."""
    environ, engine = what
    limits, wanted = folder / "constraints.txt", folder / "requirements.txt"
    safe_files.write_text(limits, "\n".join((*plan.constraints, *versions)) + "\n")
    safe_files.write_text(wanted, "\n".join(plan.requirements) + "\n")
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--constraint", str(limits))
    if plan.torch:
        say(f"installing {' '.join(plan.torch)}: about 3 GiB to download, 1 to 10 minutes")
        _must((*pip, *plan.torch), environ)
    say(f"installing the requirements of {engine.name}: about 400 MiB to download, half a minute to 3 minutes")
    _must((*pip, "--requirement", str(wanted)), environ)
    if not plan.xformers:
        return
    say(f"installing {plan.xformers}: about 120 MiB")
    if _run((*pip, "--only-binary", "xformers", plan.xformers), environ) != 0:
        say("xformers could not be installed; recipes that say sdpa: true do not need it")


def _must(command: tuple[str, ...], environ: Mapping[str, str]) -> None:
    code = _run(command, environ)
    if code != 0:
        hint = "pip's own words are above; once the cause is gone, run kohya-runner setup again: it goes on from here"
        raise TrainerError(f"pip could not install the trainer's packages (exit code {code})", hint=hint)


def _run(command: tuple[str, ...], environ: Mapping[str, str]) -> int:
    """Its output goes to stderr, so that stdout stays free for results."""
    try:
        return subprocess.run(
            command, cwd="/", env=dict(environ), stdin=subprocess.DEVNULL, stdout=2, check=False
        ).returncode  # not in a downloaded folder, which may hold a pip.py
    except OSError as fault:
        raise TrainerError(f"{command[0]} cannot be run: {fault.strerror}", hint="run: kohya-runner setup") from None
