"""What a training left, in the trainer's own generator: the pictures with it and without it, at one seed."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compare_families import ALL, SIDE, Picture, Swept
from PIL import Image
from tiny_methods import draw, fill_hub_cache

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Row = dict[str, Any]
CHILD = Path(__file__).with_name("generator_child.py")
PROMPT = "a photo of a sksdog"
SCRIPTS = ("gen_img*.py", "*_gen_img.py", "*_minimal_inference.py")
DIT_LLLITE = "anima_minimal_inference_control_net_lllite.py"
NAMES = "control_model."
UNREAD = (
    f"gen_img.py stops at the file: it takes only names that begin with `{NAMES}` (tools/original_control_net.py:70), "
    "train_control_net.py:416 writes them without. Under such names it stops where one ControlNet has one picture "
    "(:141, for gen_img.py:2600 took the list away); given twice, with the picture twice, the same tensors paint"
)
WIDER = (
    "gen_img.py stops at the file: it builds the U-Net with linear projections (library/model_util.py:1002), the "
    "training with convolutions of one pixel (library/model_io.py:351), whose tensors have two sides more; without "
    "those sides the same numbers paint"
)
REFUSED: Mapping[tuple[str, str], str] = {
    ("sd2", "lora"): WIDER,
    ("sd15", "controlnet"): UNREAD,
    ("sd2", "controlnet"): UNREAD,
}
"""Pairs whose output the generator of the pinned commit cannot read."""
NO_GENERATOR: Mapping[tuple[str, str], str] = {
    ("flux", "controlnet"): "flux_minimal_inference.py takes no ControlNet, and no other script paints with FLUX.1",
}
"""Pairs whose output no script of the pinned commit paints with."""


@dataclass(frozen=True, slots=True)
class Left:
    """The files of the first and the last epoch of a training, and the models it was made from."""

    models: Path
    first: Path
    last: Path


@dataclass(frozen=True, slots=True)
class Generator:
    """The script that paints for a family, and the Python that runs it."""

    family: str
    checkout: Path
    python: Path
    environ: Mapping[str, str]

    @property
    def of(self) -> Swept:
        return next(row for row in ALL if row.name == self.family)

    def script(self, kind: str) -> str:
        """The family's own, but for what has a script of its own."""
        return DIT_LLLITE if kind == "dit lllite" else self.of.script

    def paint(self, kind: str, left: Left, place: Path) -> dict[str, bytes]:
        """The pixels of each picture that tells whether an output of this kind does anything."""
        code, said, names = self.run(kind, left, place)
        assert code == 0, said
        return {name: _pixels(place / name) for name in names}

    def run(self, kind: str, left: Left, place: Path) -> tuple[int, str, tuple[str, ...]]:
        """The exit code of the first painting that failed, what it said, and the folders of the pictures."""
        place.mkdir(exist_ok=True)
        fill_hub_cache(Path(self.environ["HF_HUB_CACHE"]), left.models / "tokenizers")
        wanted, log = KINDS[kind](self.of, left, place), place / "generator.log"
        lists = json.dumps(list(wanted.values()))
        command = (str(self.python), str(CHILD), str(self.checkout), self.script(kind), str(log), lists)
        ended = subprocess.run(
            command, check=False, capture_output=True, text=True, env=dict(self.environ), cwd=self.checkout
        )
        said = log.read_text("utf-8", "replace") if log.is_file() else ended.stderr
        return ended.returncode, said[-4000:], tuple(wanted)

    def takes(self, word: str) -> list[str]:
        """The scripts that paint with this family's models and know the word."""
        found = {file for pattern in SCRIPTS for file in self.checkout.glob(pattern)}
        texts = {file.name: file.read_text(encoding="utf-8").lower() for file in found}
        return sorted(name for name, text in texts.items() if f"{self.family}_" in text and word in text)


def renamed(name: str, row: Row) -> tuple[str, Row]:
    """As gen_img.py reads a ControlNet."""
    return NAMES + name, row


def rewritten(file: Path, change: Callable[[str, Row], tuple[str, Row]], copy: Path) -> Path:
    """The same numbers under other names."""
    data = file.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    rows = json.loads(data[8:end])
    rows.pop("__metadata__", None)
    told = json.dumps(dict(change(name, row) for name, row in rows.items())).encode()
    copy.write_bytes(len(told).to_bytes(8, "little") + told + data[end:])
    return copy


def _pixels(folder: Path) -> bytes:
    (file,) = folder.glob("*.png")
    with Image.open(file) as picture:
        return picture.convert("RGB").tobytes()


def _lora(of: Swept, left: Left, place: Path) -> dict[str, tuple[str, ...]]:
    return {
        "without": of.alone(Picture(left.models, None, PROMPT, place / "without")),
        "with": of.alone(Picture(left.models, left.last, PROMPT, place / "with")),
    }


def _model(of: Swept, left: Left, place: Path) -> dict[str, tuple[str, ...]]:
    """In place of the base model, among links to the other parts."""
    models = place / "trained 'models'"
    models.mkdir()
    for part in left.models.iterdir():
        (models / part.name).symlink_to(part)
    base = models / f"{of.model}.safetensors"
    base.unlink()
    shutil.copyfile(left.last, base)
    return {
        "without": of.alone(Picture(left.models, None, PROMPT, place / "without")),
        "with": of.alone(Picture(models, None, PROMPT, place / "with")),
    }


def _control(option: str, times: int = 1) -> Callable[[Swept, Left, Path], dict[str, tuple[str, ...]]]:
    """With two condition images: what is painted has to depend on them."""

    def arguments(of: Swept, left: Left, place: Path) -> dict[str, tuple[str, ...]]:
        draw(place / "my edges", ((SIDE, SIDE), (SIDE, SIDE)), captions=None, seed=3)
        alone = Picture(left.models, None, PROMPT, place / "without")
        told = {"without": of.alone(alone)}
        for number, edges in enumerate(sorted((place / "my edges").iterdir())):
            name = f"with {number}"
            guide = (option, *(str(left.last),) * times, "--guide_image_path", *(str(edges),) * times)
            told[name] = (*of.alone(replace(alone, out=place / name)), *guide)
        return told

    return arguments


def _dit_control(of: Swept, left: Left, place: Path) -> dict[str, tuple[str, ...]]:
    """With two condition images at a strength that is seen, and at none: the script does not paint without."""
    draw(place / "my edges", ((SIDE, SIDE), (SIDE, SIDE)), captions=None, seed=3)
    edges = sorted((place / "my edges").iterdir())
    alone = Picture(left.models, None, PROMPT, place / "without")
    told = {}
    for name, number, strength in (("without", 0, "0"), ("with 0", 0, "100"), ("with 1", 1, "100")):
        more = ("--lllite_weights", str(left.last), "--control_image", str(edges[number]))
        told[name] = (*of.alone(replace(alone, out=place / name)), *more, "--lllite_multiplier", strength)
    return told


def _embedding(of: Swept, left: Left, place: Path) -> dict[str, tuple[str, ...]]:
    """That of the first epoch and that of the last, under one name: it is the word (gen_img.py:2097)."""
    told = {}
    for name, file in {"first": left.first, "last": left.last}.items():
        renamed = place / f"embedding of the {name}" / "sksword.safetensors"
        renamed.parent.mkdir()
        shutil.copyfile(file, renamed)
        alone = of.alone(Picture(left.models, None, "a photo of a sksword", place / name))
        told[name] = (*alone, "--textual_inversion_embeddings", str(renamed))
    return told


KINDS: Mapping[str, Callable[[Swept, Left, Path], dict[str, tuple[str, ...]]]] = {
    "lora": _lora,
    "model": _model,
    "controlnet": _control("--control_net_models"),
    "controlnet twice": _control("--control_net_models", 2),
    "lllite": _control("--control_net_lllite_models"),
    "dit lllite": _dit_control,
    "embedding": _embedding,
}
"""By what a checkpoint is (``Support.output``), and one way around a generator's fault."""
