"""What a Python holds: asked of that Python itself, read once into frozen facts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kohya_runner.engine_info import EngineInfo
from kohya_runner.errors import TrainerError
from kohya_runner.text import child_environment

MINORS = ("3.11", "3.10", "3.12")
"""The Pythons sd-scripts and every wheel of the tested set run on, best first."""

BITSANDBYTES = "0.50.2"
GIB = 1 << 30
OPENCV_BUILDS = ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")


@dataclass(frozen=True, slots=True)
class TorchSet:
    """Versions that belong together: xformers is built for exactly one torch (its own wheel metadata)."""

    torch: str
    torchvision: str
    xformers: str


SETS = (
    TorchSet("2.8.0", "0.23.0", "0.0.32.post1"),
    TorchSet("2.6.0", "0.21.0", "0.0.29.post3"),
    TorchSet("2.7.1", "0.22.1", "0.0.31.post1"),
    TorchSet("2.9.1", "0.24.1", "0.0.33.post2"),
)
TESTED = SETS[0]
"""What a fresh environment gets: pyproject's ``train`` extra, the set that was run together."""


@dataclass(frozen=True, slots=True)
class EnvironmentPlan:
    """A venv as it will be made. ``image_torch``: the base Python's own torch is used, and nothing may replace it."""

    base: Path
    python: str
    image_torch: bool
    constraints: tuple[str, ...]
    torch: tuple[str, ...]
    requirements: tuple[str, ...]
    xformers: str

    @property
    def stamp(self) -> str:
        """Changes with everything that would make another environment."""
        parts = (str(self.base), self.python, *self.constraints, *self.torch, *self.requirements, self.xformers)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    @property
    def needed_bytes(self) -> int:
        """Measured: 7.5 GB with torch, 1.1 GB beside the image's; a third more while wheels are unpacked."""
        return 2 * GIB if self.image_torch else 10 * GIB


def image_set(facts: PythonFacts) -> TorchSet | None:
    """The set of a base Python whose own torch can be used; a venv's packages are not passed on to another venv."""
    if facts.venv or facts.minor not in MINORS or not facts.packages.get("torchvision"):
        return None
    torch = (facts.packages.get("torch") or "").partition("+")[0]  # 2.8.0 of 2.8.0+cu128
    return next((row for row in SETS if row.torch == torch), None)


def plan_environment(
    candidates: Iterable[PythonFacts], requirements: str, *, has_libgl: bool, xformers: bool = True
) -> EnvironmentPlan | None:
    """The environment to make here, on the image's torch if that fits; None where no Python fits."""
    usable = [facts for facts in candidates if facts.minor in MINORS]
    lines = requirement_lines(requirements, has_libgl=has_libgl)
    facts = next(filter(image_set, usable), None)
    chosen, own = (image_set(facts) if facts else None) or TESTED, facts is not None
    facts = facts or min(usable, key=lambda each: (each.venv, MINORS.index(each.minor)), default=None)
    if facts is None:
        return None
    pins = (f"torch=={chosen.torch}", f"torchvision=={chosen.torchvision}")
    if own:
        pins = (f"torch=={facts.packages['torch']}", f"torchvision=={facts.packages['torchvision']}")
    constraints, extra = (*pins, f"bitsandbytes=={BITSANDBYTES}"), f"xformers=={chosen.xformers}" if xformers else ""
    return EnvironmentPlan(facts.executable, facts.python, own, constraints, () if own else pins, lines, extra)


def requirement_lines(text: str, *, has_libgl: bool = True) -> tuple[str, ...]:
    """The requirements of sd-scripts without comments and without ``-e .``.

    The scripts import ``library`` from their own folder, and an editable install would write into the checkout.
    Where libGL is missing (slim images), the headless build of the same OpenCV stands in: the trainer opens no windows.
    """
    lines = (line.partition(" #")[0].strip() for line in text.splitlines())
    kept = [line for line in lines if line and not line.startswith(("#", "-"))]
    headless = (re.sub(r"^opencv-python(?=[=<>~!\[]|$)", "opencv-python-headless", line) for line in kept)
    return tuple(kept if has_libgl else headless)


def requirement_names(text: str) -> tuple[str, ...]:
    return tuple(re.split(r"[\[=<>~!; ]", line, maxsplit=1)[0] for line in requirement_lines(text))


def missing(facts: PythonFacts, names: Iterable[str]) -> tuple[str, ...]:
    """Which of ``names`` (probed before) that Python lacks. One build of OpenCV is as good as another."""
    others = {"opencv-python": OPENCV_BUILDS}
    return tuple(name for name in names if not any(map(facts.packages.get, (name, *others.get(name, ())))))


def lacking(requirements: Iterable[str], versions: Mapping[str, str | None]) -> tuple[str, ...]:
    """Which requirements of a recipe are not fulfilled by the versions that were found."""
    from packaging.requirements import Requirement

    needs = [Requirement(text) for text in requirements]
    found = [(need, versions.get(need.name)) for need in needs]
    return tuple(str(n) for n, version in found if not version or not n.specifier.contains(version, prereleases=True))


WORKER = Path(__file__).with_name("probe_worker.py")
PACKAGES = (
    "torch", "torchvision", "xformers", "bitsandbytes", "accelerate", "transformers", "diffusers", "huggingface_hub",
    "safetensors", "hf_transfer",
)  # fmt: skip
FAST_SECONDS = 60.0  # a cold start from a slow disk; usually 0.1
LOOK_SECONDS = 0.5
DEEP_SECONDS = 300.0  # importing torch from a cold disk; usually 5 to 30
LONGEST_COMPLAINT = 500
CACHES = ("HF_HOME", "HF_HUB_CACHE", "TRANSFORMERS_CACHE", "TORCH_HOME", "TRITON_CACHE_DIR", "XDG_CACHE_HOME")
"""Where imports leave files behind (diffusers writes one into the Hub cache): a look must not leave any at home."""


@dataclass(frozen=True, slots=True)
class PythonFacts:
    """Versions by distribution name, None where it is not installed. Nothing was imported to know them."""

    path: Path  # as it was asked for
    executable: Path  # what it calls itself: no shim
    python: str  # "3.11.7"
    venv: bool
    packages: Mapping[str, str | None]

    @property
    def minor(self) -> str:
        return ".".join(self.python.split(".")[:2])


@dataclass(frozen=True, slots=True)
class DeepFacts:
    """What really imports. ``faults`` holds a module's name and why it cannot be imported, for those that cannot.

    Names: the engine's ``needed_modules``, then xformers, xformers_extensions and bitsandbytes.
    """

    faults: Mapping[str, str]
    cuda: bool
    torch: str | None
    device_fault: str | None  # why there is no usable GPU, in torch's words
    needed: tuple[str, ...]

    @property
    def trains(self) -> bool:
        """Whether the train scripts can start at all; xformers and bitsandbytes are a recipe's choice."""
        return not self.faults.keys() & set(self.needed)


def probe(python: Path, names: tuple[str, ...] = PACKAGES, *, seconds: float = FAST_SECONDS) -> PythonFacts:
    """Versions of ``names`` in that Python, without importing them.

    Raises:
        TrainerError: it is not a working Python.
    """
    found = _ask(python, ("fast", *names), seconds)
    itself = Path(found["executable"] or python)
    return PythonFacts(python, itself, str(found["python"]), bool(found["venv"]), dict(found["packages"]))


def deep_probe(
    python: Path, checkout: Path, engine: EngineInfo, *, seconds: float = DEEP_SECONDS,
    tick: Callable[[float], None] = lambda _: None,
) -> DeepFacts:  # fmt: skip
    """Import torch and the trainer's modules there, and look at the GPUs. What does not work is a fact, not an error.

    ``tick`` hears how many seconds it has taken.

    Raises:
        TrainerError: that Python does not run, or dies while importing.
    """
    with tempfile.TemporaryDirectory(prefix="kohya-runner-probe-") as caches:
        asked = ("deep", str(checkout / engine.imports), *engine.needed_modules)
        found = _ask(python, asked, seconds, dict.fromkeys(CACHES, caches), tick)
    device = found["device"] or {}
    return DeepFacts(
        faults={name: fault for name, fault in found["faults"].items() if fault is not None},
        cuda=bool(device.get("cuda")),
        torch=device.get("torch"),
        device_fault=device.get("fault"),
        needed=engine.needed_modules,
    )


def _ask(
    python: Path, arguments: tuple[str, ...], seconds: float, more: Mapping[str, str] | None = None,
    tick: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:  # fmt: skip
    hint = "name another Python, or run: kohya-runner setup"
    try:
        process = subprocess.Popen(
            (str(python), "-B", str(WORKER), *arguments),  # a look leaves nothing behind, no compiled file either
            env=child_environment(os.environ) | dict(more or {}), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
        )  # fmt: skip
        done = _answer(process, seconds, tick)
    except subprocess.TimeoutExpired:
        slow = "is it on a network volume? The trainer's Python belongs on a local disk"
        raise TrainerError(f"{python} gave no answer within {seconds:.0f} s", hint=slow) from None
    except OSError as fault:
        raise TrainerError(f"{python} cannot be run: {fault.strerror}", hint=hint) from None
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        end = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
        said = f"{end}: {lines[-1][:LONGEST_COMPLAINT]}" if lines else f"{end} and no output"
        raise TrainerError(f"{python} is broken: {said}", hint=hint) from None
    if not isinstance(found, dict):
        raise TrainerError(f"{python} is not a Python: it printed {done.stdout.strip()[:80]!r}", hint=hint)
    return found


def _answer(
    process: subprocess.Popen[str], seconds: float, tick: Callable[[float], None]
) -> subprocess.CompletedProcess[str]:
    """Wait for the end of a process, which does not outlive the waiting."""
    begun = time.monotonic()
    with process:
        try:
            while time.monotonic() - begun < seconds:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    out, err = process.communicate(timeout=LOOK_SECONDS)
                    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
                tick(time.monotonic() - begun)
            raise subprocess.TimeoutExpired(process.args, seconds)  # noqa: TRY301 - the process is killed below
        except BaseException:
            process.kill()
            raise
