"""What every engine's painter is: a script of the trainer that makes pictures, its command and its prompt lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.engines.arguments import Arg, Command

if TYPE_CHECKING:
    from kohya_runner.dataset.survey import ClassImages
    from kohya_runner.machine.host import Gpu

WORKER = Path(__file__).with_name("paint_worker.py")
MODEL = "pretrained_model_name_or_path"
MODELS = (MODEL, "dit")
"""How the trainers' options call the base model."""
SIDE_BY_SIDE = 44 << 30
"""Bytes of GPU memory that hold FLUX or SD3 with their text encoders in half precision."""


@dataclass(frozen=True, slots=True)
class Base:
    """The base model as the training had it. ``options`` are the training's own, by name; a switch is True."""

    family: str
    model: str
    options: Mapping[str, str | bool] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """An option's value, None where it was not given."""
        value = self.options.get(name)
        return None if value is None or value is True else str(value)

    def on(self, name: str) -> bool:
        return self.options.get(name) is True

    def given(self, *names: str) -> tuple[str, ...]:
        """The options of these names that have a value, as tokens."""
        return tuple(f"--{name}={value}" for name in names if (value := self.text(name)) is not None)

    def switches(self, *names: str) -> tuple[str, ...]:
        """The switches of these names that are on, as tokens."""
        return tuple(f"--{name}" for name in names if self.on(name))


@dataclass(frozen=True, slots=True)
class PaintJob:
    """What a command needs besides the base model. ``small_gpu``: the models do not fit side by side."""

    jobs: Path
    outdir: Path
    weights: Path | None
    strength: float
    sampler: str
    small_gpu: bool = False
    guidance: float = 0.0

    @property
    def merged(self) -> tuple[str, ...]:
        """The first LoRA, for a script that merges it while it loads its models; none for the base model alone.

        musubi-tuner's ``--lora_multiplier`` has no list as its default, and stops a script that is given none.
        """
        if not self.strength:
            return ()
        return ("--lora_weight", str(self.weights), "--lora_multiplier", f"{self.strength:g}")


@dataclass(frozen=True, slots=True)
class PictureRequest:
    """One picture, said in full. Sizes in pixels; ``control`` is the picture to edit."""

    key: str
    prompt: str
    seed: int
    negative: str
    steps: int
    guidance: float
    width: int
    height: int
    strength: float = 0.0
    control: str = ""


def _as_it_is(path: Path, _folder: Path) -> Path:
    return path


@dataclass(frozen=True, slots=True)
class Painter:
    """How a family's pictures are made: all of them in one process, where there is a choice of ``samplers`` one each.

    ``merged``: the script merges a LoRA while it loads, so the parts that a LoRA goes into are loaded again for each.
    ``multiple``: what both sides of a picture are a multiple of, in pixels.
    """

    family: str
    script: str
    arguments: Callable[[Base, PaintJob], tuple[str, ...]]
    line: Callable[[PictureRequest], str]
    merged: bool = False
    multiple: int = 8
    guidance: float = 7.5  # the script's own default
    samplers: tuple[str, ...] = ()
    controls: str = ""  # pictures to edit: "needed", "optional", "" for a script that takes none
    networks: bool = False  # it merges LoHa and LoKr, too
    each: bool = False  # a process for each file: what it has loaded cannot be exchanged
    readable: Callable[[Path, Path], Path] = _as_it_is  # a LoRA as the script reads it, copied where need be
    needs_negative: bool = False  # its guidance is away from the negative prompt, and does nothing without one
    trainer: str = "sd-scripts"  # whose script it is (engine_info.py)


@dataclass(frozen=True, slots=True)
class TrainingCommand:
    """The training whose base model paints. ``command`` says where it runs; ``python`` and ``checkout`` may be ""."""

    family: str
    args: tuple[Arg, ...]
    command: Command
    python: str
    checkout: Path | None
    small_gpu: bool = False

    @property
    def base(self) -> Base:
        options = {arg.name: arg.value if arg.value is True else str(arg.value) for arg in self.args if arg.tokens}
        model = next(str(options[name]) for name in MODELS if name in options)
        return Base(self.family, model, options)

    def runs(self, script: str, before: tuple[str, ...], options: tuple[str, ...]) -> Command:
        """A script of the trainer, run where the training runs."""
        path = str(self.checkout / script) if self.checkout else script
        return Command((self.python, *before, path, *options), self.command.cwd, self.command.env, self.command.needs)


@dataclass(frozen=True, slots=True)
class ClassPainting:
    """One process that paints the missing pictures of a folder. ``told`` is the text of ``file``, which it reads."""

    images: ClassImages
    missing: tuple[str, ...]
    scratch: Path  # finished pictures are moved out of it one by one
    command: Command
    script: str
    file: Path
    told: str
    folder_each: bool = False  # the script makes a folder for each picture; otherwise it names them as it is told

    def painted(self, name: str) -> Path | None:
        """The picture as the script leaves it, whole or not; None before it is begun."""
        if not self.folder_each:
            return self.scratch / name if (self.scratch / name).is_file() else None
        return next(iter(sorted((self.scratch / name.removesuffix(".png")).glob("*.png"))), None)


@dataclass(frozen=True, slots=True)
class ClassPainter:
    """A script that paints many class images a start, for one family. ``how`` is in the words of its options."""

    family: str
    script: str
    paint: Callable[[TrainingCommand, ClassImages, Path], ClassPainting]  # the last is the folder to work in
    how: Mapping[str, Any]
    multiple: int = 8  # what both sides of a picture are a multiple of, in pixels
    deciding: tuple[str, ...] = ()  # options that decide a picture beside the usual ones, where its parts are files


def is_small(gpus: Iterable[Gpu]) -> bool:
    """Whether a GPU is too small to hold large models and their text encoders side by side."""
    return any((gpu.total_bytes or SIDE_BY_SIDE) < SIDE_BY_SIDE for gpu in gpus)
