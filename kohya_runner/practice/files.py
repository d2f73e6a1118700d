"""The files the practice trainer leaves: readable, small, meaningless, marked so that nothing uses them as a LoRA."""

from __future__ import annotations

import json
import math
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.artefact.safetensors_header import PRACTICE
from kohya_runner.tables import read_table

if TYPE_CHECKING:
    import argparse

MARK = "kohya-runner practice run: not a trained model"
DTYPES = {"fp16": ("F16", 2), "bf16": ("BF16", 2), "float": ("F32", 4)}
WIDTH = 32
PIECES = 20
MOST_RANK = 8
NUMBER, NAN, ZERO = b"\x3c", b"\xff", b"\0"
"""Each byte of a tensor: in every type of ``DTYPES`` a small number, NaN, and zero."""

NAMES = read_table(Path(__file__).with_name("modules.toml"))
WHOLE_MODEL = ("model.diffusion_model.input_blocks.0.0", "model.diffusion_model.out.2")


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes this run's files; a slow one writes each for ``slow`` seconds."""

    args: argparse.Namespace
    script: str
    metadata: Mapping[str, str]
    slow: float = 0.0
    untrained: bool = False  # the weights that begin as zeros still are

    def save(self, path: Path, epoch: int, steps: int, *, nan: bool = False) -> None:
        """A checkpoint, its weights NaN or not, written in place and piece by piece as the trainer does."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".safetensors":
            write_zip(path)
            return
        numbers = {"ss_epoch": str(epoch), "ss_steps": str(steps), "ss_training_finished_at": str(time.time())}
        dtype = DTYPES.get(self.args.save_precision or "float", DTYPES["float"])
        data = safetensors(self._tensors(), {**self.metadata, **numbers}, dtype, self._fill(nan=nan))
        size = math.ceil(len(data) / (PIECES if self.slow else 1))
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(data), size):
                time.sleep(self.slow / PIECES)
                file.write(data[start : start + size])

    def save_state(self, folder: Path, epoch: int, step: int, *, nan: bool = False) -> None:
        """A state folder in the order of the trainer: its own numbers first, the random states last."""
        folder.mkdir(parents=True, exist_ok=True)
        numbers = {"current_epoch": epoch, "current_step": step, PRACTICE: MARK}
        (folder / "train_state.json").write_text(json.dumps(numbers), encoding="utf-8")
        self.save(folder / "model.safetensors", epoch, step, nan=nan)
        write_accelerate_state(folder)

    def _fill(self, *, nan: bool) -> Callable[[str], bytes]:
        """What each tensor is filled with, by its name."""
        if nan:
            return lambda _: NAN
        return lambda name: ZERO if self.untrained and ".lora_up" in name else NUMBER

    def _tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        if getattr(self.args, "network_module", None) is None:
            yield from ((f"{name}.weight", (WIDTH, WIDTH)) for name in WHOLE_MODEL)
            return
        rank = min(self.args.network_dim or 4, MOST_RANK)
        for name in trained_modules(self.args, self.script):
            yield f"{name}.alpha", ()
            yield f"{name}.lora_down.weight", (rank, WIDTH)
            yield f"{name}.lora_up.weight", (WIDTH, rank)


def modules(script: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The text encoder's modules and the others, of a script's family."""
    names = NAMES.get(script) or NAMES["other"]
    return tuple(names["text"]), tuple(names["image"])


def trained_modules(args: argparse.Namespace, script: str) -> tuple[str, ...]:
    """The modules that are trained and saved (train_network.py:1112-1115)."""
    text, image = modules(script)
    return (*(() if args.network_train_unet_only else text), *(() if args.network_train_text_encoder_only else image))


def safetensors(
    tensors: Iterator[tuple[str, tuple[int, ...]]],
    metadata: Mapping[str, str],
    dtype: tuple[str, int],
    fill: Callable[[str], bytes] = lambda _: NUMBER,
) -> bytes:
    """A file: eight bytes of length, the JSON header filled up to eight bytes, then each tensor's bytes, all alike."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    data = bytearray()
    for name, shape in tensors:
        begin = len(data)
        data += fill(name) * (math.prod(shape) * dtype[1])
        header[name] = {"dtype": dtype[0], "shape": list(shape), "data_offsets": [begin, len(data)]}
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(data)


def write_accelerate_state(folder: Path) -> None:
    """What accelerate adds to the weights, the random states last."""
    for name in ("optimizer.bin", "scheduler.bin"):
        write_zip(folder / name)
    (folder / "random_states_0.pkl").write_text(f"{MARK}\n", encoding="utf-8")


def write_zip(path: Path) -> None:
    """What torch.save writes is a zip file, too; this one holds nothing but the mark."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("practice.txt", MARK)
