"""What a Python holds: asked of that Python itself, read once into frozen facts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.child_environment import child_environment
from kohya_runner.errors import TrainerError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.engine_info import EngineInfo

WORKER = Path(__file__).with_name("probe_worker.py")
PACKAGES = (
    "torch", "torchvision", "xformers", "bitsandbytes", "accelerate", "transformers", "diffusers", "huggingface_hub",
    "safetensors", "hf_transfer",
)  # fmt: skip
FAST_SECONDS = 60.0  # a cold start from a slow disk; usually 0.1
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
        """``3.11``."""
        return ".".join(self.python.split(".")[:2])


@dataclass(frozen=True, slots=True)
class TorchDevice:
    """One device as torch sees it; sizes in bytes."""

    name: str
    bytes: int
    free: int
    capability: tuple[int, int]
    bf16: bool  # in hardware: Ampere or newer


@dataclass(frozen=True, slots=True)
class DeepFacts:
    """What really imports. ``faults`` holds a module's name and why it cannot be imported, for those that cannot.

    Names: the engine's ``needed_modules``, then xformers, xformers_extensions and bitsandbytes.
    """

    faults: Mapping[str, str]
    cuda: bool
    gpus: tuple[TorchDevice, ...]
    torch: str | None
    torch_cuda: str | None  # the CUDA version the wheel was built for
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


def deep_probe(python: Path, checkout: Path, engine: EngineInfo, *, seconds: float = DEEP_SECONDS) -> DeepFacts:
    """Import torch and the trainer's modules there, and look at the GPUs. What does not work is a fact, not an error.

    Raises:
        TrainerError: that Python does not run, or dies while importing.
    """
    with tempfile.TemporaryDirectory(prefix="kohya-runner-probe-") as caches:
        asked = ("deep", str(checkout / engine.imports), *engine.needed_modules)
        found = _ask(python, asked, seconds, dict.fromkeys(CACHES, caches))
    device = found["device"] or {}
    return DeepFacts(
        faults={name: fault for name, fault in found["faults"].items() if fault is not None},
        cuda=bool(device.get("cuda")),
        gpus=tuple(_gpu(gpu) for gpu in device.get("gpus", ())),
        torch=device.get("torch"),
        torch_cuda=device.get("torch_cuda"),
        device_fault=device.get("fault"),
        needed=engine.needed_modules,
    )


def _gpu(found: dict[str, Any]) -> TorchDevice:
    major, minor = found["capability"]
    return TorchDevice(found["name"], found["bytes"], found["free"], (major, minor), found["bf16"])


def _ask(
    python: Path, arguments: tuple[str, ...], seconds: float, more: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The worker's JSON object."""
    hint = "name another Python, or run: kohya-runner setup"
    try:
        done = subprocess.run(
            (str(python), "-B", str(WORKER), *arguments),  # a look leaves nothing behind, no compiled file either
            env=child_environment(os.environ) | dict(more or {}), stdin=subprocess.DEVNULL,
            capture_output=True, timeout=seconds, check=False,
            encoding="utf-8", errors="replace",
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        message = f"{python} gave no answer within {seconds:.0f} s"
        raise TrainerError(
            message, hint="is it on a network volume? The trainer's Python belongs on a local disk"
        ) from None
    except OSError as fault:
        raise TrainerError(f"{python} cannot be run: {fault.strerror}", hint=hint) from None
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise TrainerError(f"{python} is broken: {_complaint(done)}", hint=hint) from None
    if not isinstance(found, dict):
        raise TrainerError(f"{python} is not a Python: it printed {done.stdout.strip()[:80]!r}", hint=hint)
    return found


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    """How the process ended, and the last thing it said."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    end = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
    return f"{end}: {lines[-1][:LONGEST_COMPLAINT]}" if lines else f"{end} and no output"
