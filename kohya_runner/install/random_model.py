"""``model: {random: sd15}``: a random-weight checkpoint of the real architecture, written once into the workspace."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.artefact.model_file import safetensors_fault
from kohya_runner.errors import TrainerError
from kohya_runner.install.probe import CACHES
from kohya_runner.install.random_weights_worker import TOKENIZERS
from kohya_runner.text import child_environment

if TYPE_CHECKING:
    from kohya_runner.workspace import Workspace

WORKER = Path(__file__).with_name("random_weights_worker.py")
SECONDS = 1200.0  # SD 1.5 takes 15 to 45 s, SDXL 40 to 120 s; a network volume is slower
ABANDONED_SECONDS = 2 * SECONDS
TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class RandomWeights:
    """What ``--pretrained_model_name_or_path`` and ``--tokenizer_cache_dir`` get."""

    family: str
    checkpoint: Path
    tokenizers: Path

    def exists(self) -> bool:
        """Whether it was written before: a whole checkpoint, and every tokenizer file."""
        files = (self.tokenizers / name / file for name in TOKENIZERS[self.family] for file in TOKENIZER_FILES)
        there = self.checkpoint.is_file() and all(file.is_file() for file in files)
        return there and not safetensors_fault(self.checkpoint)


def random_model_paths(family: str, models: Path) -> RandomWeights:
    """Where the model of a family is, or will be, below the workspace's ``models``."""
    folder = models / f"random-{family}"
    return RandomWeights(family, folder / f"random-{family}.safetensors", folder / "tokenizers")


def ensure_random_model(family: str, workspace: Workspace, *, python: Path, checkout: Path) -> RandomWeights:
    """The model, written now if it is not there: in a folder of its own that is renamed when it is whole.

    Raises:
        TrainerError: the trainer's Python could not write it.
    """
    model = random_model_paths(family, workspace.models)
    if model.exists():
        return model
    workspace.models.mkdir(parents=True, exist_ok=True)
    for left in workspace.models.glob(f".random-{family}.*"):  # of a killed attempt; a younger one may still be at work
        if time.time() - left.stat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    partial = Path(tempfile.mkdtemp(dir=workspace.models, prefix=f".random-{family}."))
    try:
        _write(family, partial, python=python, checkout=checkout)
        _place(partial, model)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return model


def _write(family: str, folder: Path, *, python: Path, checkout: Path) -> None:
    name = random_model_paths(family, folder).checkpoint.name
    command = (str(python), "-B", str(WORKER), str(checkout), family, str(folder), name)
    try:
        with tempfile.TemporaryDirectory(prefix="kohya-runner-random-") as caches:
            done = subprocess.run(
                command, cwd=checkout, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL, capture_output=True,
                encoding="utf-8", errors="replace",
                env=child_environment(os.environ) | dict.fromkeys(CACHES, caches),
            )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise TrainerError(f"writing the random {family} model took longer than {SECONDS:.0f} s") from None
    except OSError as error:
        raise TrainerError(f"{python} cannot be run: {error.strerror}", hint="run: kohya-runner setup") from None
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        end = f"exit code {done.returncode}: {(said or ['no word'])[-1]}"
        hint = "is there memory and disk enough? See: kohya-runner doctor"
        raise TrainerError(f"the random {family} model could not be written ({end})", hint=hint)
    fault = safetensors_fault(folder / name)
    if fault:
        raise TrainerError(f"the random {family} model {fault}", hint="is the disk full?")


def _place(partial: Path, model: RandomWeights) -> None:
    """Rename the whole folder; where another process was faster, its result is as good."""
    folder = model.checkpoint.parent
    partial.chmod(0o755)
    if folder.exists() and not model.exists():
        shutil.rmtree(folder)
    try:
        partial.rename(folder)
    except OSError:
        if not model.exists():
            raise
