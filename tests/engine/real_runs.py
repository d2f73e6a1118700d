"""A pod for one test: an empty home, the recipes, a workspace, and the real trainer behind the command line."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import made_models

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SHRINK, START = (Path(__file__).with_name(name) for name in ("shrink", "start"))
SECRET = "hf_thisIsNobodysToken"
OURS = ("KOHYA_", "XDG_", "HF_", "TRANSFORMERS_", "TORCH_", "WANDB_", "PIP_")
"""Variables of the machine that would decide something in place of the pod."""

PRINTED = {
    "images_per_epoch": r"num train images \* repeats / [^:]*: (\d+)",
    "regularization_images": r"num reg images / [^:]*: (\d+)",
    "batches_per_epoch": r"num batches per epoch / [^:]*: (\d+)",
    "epochs": r"num epochs / [^:]*: (\d+)",
    "total": r"total optimization steps / [^:]*: (\d+)",
}
"""train_network.py:1395-1407."""

NUMBERS = {"F16": "e", "F32": "f"}


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str
    seconds: float


@dataclass(frozen=True)
class Pod:
    """The machine a test thinks it is on; every folder of it has an awkward name."""

    folder: Path
    checkout: Path
    trainer_python: Path
    shrunk: bool = False  # the unmodified scripts on models a few MB large (tests/engine/shrink)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def sources(self) -> Path:
        """Where the commands are given, with ``recipes/`` in it."""
        return self.folder / "sources"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def workspace(self) -> Path:
        return self.folder / "work space"

    def furnish(self) -> Pod:
        """Make the folders and copy the recipes with their pictures."""
        for folder in (self.home, self.temporary, self.workspace):
            folder.mkdir(parents=True)
        shutil.copytree(ROOT / "recipes", self.sources / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
        return self

    def put_random_model(self) -> Pod:
        """A small one where ``model: {random: sd15}`` looks for one of full size."""
        folder = self.workspace / "models" / "random-sd15"
        made_models.put(self.trainer_python, self.checkout, "sd15", folder)
        (folder / "model.safetensors").rename(folder / "random-sd15.safetensors")
        return self

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        places = {
            "HOME": self.home,
            "TMPDIR": self.temporary,
            "PYTHONPATH": os.pathsep.join(map(str, (SHRINK if self.shrunk else START, ROOT))),
            "KOHYA_WORKSPACE": self.workspace,
            "KOHYA_RUNNER_SD_SCRIPTS": self.checkout,
            "KOHYA_RUNNER_PYTHON": self.trainer_python,
        }
        return subprocess.Popen(
            (sys.executable, "-B", "-m", "kohya_runner", *args),
            cwd=self.sources,
            env=kept | {name: str(path) for name, path in places.items()} | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *args: str, timeout: float = 600, **env: str) -> Ended:
        begun = time.monotonic()
        process = self.start(*args, **env)
        return self.ended(process, begun, timeout)

    def ended(self, process: subprocess.Popen[str], begun: float, timeout: float = 300) -> Ended:
        """Wait for a command; what runs after ``timeout`` is killed, with the log as the reason."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"still running after {timeout:.0f} s: {self.logs()}") from None
        return Ended(process.returncode, out, err, time.monotonic() - begun)

    def run_dir(self, name: str = "quickstart", number: str = "001") -> Path:
        return self.workspace / "runs" / name / number

    def record(self, name: str = "quickstart") -> dict[str, Any]:
        return json.loads((self.run_dir(name) / "record.json").read_bytes())

    def log(self, name: str = "quickstart") -> str:
        return (self.run_dir(name) / "trainer.log").read_text(encoding="utf-8")

    def logs(self) -> str:
        return "\n".join(path.read_text("utf-8", "replace")[-2000:] for path in self.workspace.glob("runs/*/*/*.log"))

    def wait_for_step(self, process: subprocess.Popen[str], step: int, *, timeout: float = 200) -> None:
        """Until the trainer's bar shows this step of the quickstart."""
        until = time.monotonic() + timeout
        shown = re.compile(rf"steps:[^\r\n]*\| {step}/\d+ \[")
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError):
                if shown.search(self.log()):
                    return
            time.sleep(0.05)
        raise AssertionError(f"no step {step}; exit code {process.poll()}: {self.logs()}")

    def processes(self) -> tuple[int, ...]:
        """Every living process that has the workspace among its variables or arguments."""
        return tuple(_mentioning(os.fsencode(self.workspace)))

    def clear(self) -> None:
        """End what a failed test left running, and give the disk back."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.workspace, ignore_errors=True)


def _mentioning(text: bytes) -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            zombie = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] in "ZX"
            known = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            if text in known and not zombie:
                yield int(folder.name)


def listing(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Mode, size and time of every file below a folder, less what Python itself compiles there."""
    files = (path for path in folder.rglob("*") if not path.is_dir() and not {"__pycache__", ".git"} & {*path.parts})
    states = {str(path.relative_to(folder)): path.lstat() for path in files}
    return {name: (status.st_mode, status.st_size, status.st_mtime_ns) for name, status in states.items()}


def printed(log: str) -> dict[str, int]:
    """The numbers that the trainer printed before its first step."""
    return {name: int(match[1]) for name, pattern in PRINTED.items() if (match := re.search(pattern, log))}


def steps(log: str) -> tuple[tuple[int, int], ...]:
    """(step, of how many) of every state of the trainer's bar, each once."""
    found = re.findall(r"steps:[^\r\n]*?\| (\d+)/(\d+) \[", log)
    return tuple(dict.fromkeys((int(step), int(total)) for step, total in found))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Lora:
    """What stands in a LoRA file, read without the package."""

    text_encoder: int
    unet: int
    finite: bool
    trained: bool
    metadata: dict[str, str]


def read_lora(path: Path) -> Lora:
    """The modules by their names; every number; whether the up-projections, which begin as zeros, moved."""
    data = memoryview(path.read_bytes())
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(bytes(data[8 : 8 + length]))
    metadata = header.pop("__metadata__", {})
    down = [name for name in header if name.endswith(".lora_down.weight")]
    sums = {name: _size(data[8 + length :], entry) for name, entry in header.items()}
    return Lora(
        text_encoder=sum(name.startswith("lora_te") for name in down),
        unet=sum(name.startswith("lora_unet_") for name in down),
        finite=all(map(math.isfinite, sums.values())),
        trained=any(sums[name] for name in header if name.endswith(".lora_up.weight")),
        metadata=metadata,
    )


def _size(data: memoryview, entry: dict[str, Any]) -> float:
    """The sum of a tensor's numbers without their signs: finite if each of them is."""
    begin, end = entry["data_offsets"]
    kind = NUMBERS[entry["dtype"]]
    return sum(map(abs, struct.unpack(f"<{(end - begin) // struct.calcsize(kind)}{kind}", data[begin:end])))


@dataclass(frozen=True)
class Run:
    """A run that came to its end by itself, and what was there before and after."""

    pod: Pod
    planned: dict[str, Any]
    ended: Ended
    before: dict[str, Any]
    after: dict[str, Any]
    name: str = "quickstart"

    @property
    def record(self) -> dict[str, Any]:
        return self.pod.record(self.name)

    @property
    def log(self) -> str:
        return self.pod.log(self.name)

    @property
    def output(self) -> Path:
        return self.pod.run_dir(self.name) / "output"


def launched(pod: Pod, recipe: str, *options: str, name: str) -> Run:
    """Plan, then launch, with a look at everything that must stay as it is."""
    planned = json.loads(pod.run("plan", recipe, *options, "--json").out)
    before = outside(pod)
    ended = pod.run("launch", recipe, *options, timeout=900, HF_TOKEN=SECRET, WANDB_API_KEY=SECRET)
    return Run(pod, planned, ended, before, outside(pod), name)


def outside(pod: Pod) -> dict[str, Any]:
    """Every place that a run reads from or might be tempted to write to."""
    folders = {"home": pod.home, "tmp": pod.temporary, "pictures": pod.sources, "trainer": pod.checkout}
    return {name: listing(folder) for name, folder in folders.items()}


def with_secret(pod: Pod) -> list[Path]:
    """The files below the workspace that hold the token; the base model is too large to have it by accident."""
    files = [path for path in pod.workspace.rglob("*") if path.is_file() and path.stat().st_size < 1 << 28]
    return [path for path in files if SECRET.encode() in path.read_bytes()]
