"""What a LoRA file is made for and made of, from its header alone: family, modules, ranks; no tensor is read."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kohya_runner.artefact.model_identity import identify
from kohya_runner.artefact.safetensors_header import PRACTICE, ExpectedTensor, Header, HeaderError, read_header
from kohya_runner.safe_files import kept_away
from kohya_runner.tables import read_table


def mark(status: os.stat_result) -> str:
    """What tells a file from another that had its name before; a date would have to be compared with some clock."""
    return f"{status.st_ino} {status.st_size} {status.st_mtime_ns}"


@dataclass(frozen=True, slots=True)
class Artefact:
    """A checkpoint as it lies there. ``problem`` is the rest of a sentence about the file, "" if it is whole."""

    path: Path
    bytes: int = 0
    tensors: int = 0
    modules: int = 0
    dtypes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()  # in the order of the names
    metadata: Mapping[str, str] = field(default_factory=dict)
    family: str = ""
    problem: str = ""

    @property
    def complete(self) -> bool:
        return not self.problem

    @property
    def practice(self) -> bool:
        """Whether the practice trainer wrote it: nothing that uses or publishes a model may take it."""
        return PRACTICE in self.metadata


EMPTY = "contains no tensors"


def inspect(path: Path) -> Artefact:
    """The facts of a safetensors file, from its header and its length; the tensors themselves are not read."""
    size = 0
    try:
        size = path.stat().st_size
        header = read_header(path)
    except FileNotFoundError:
        return Artefact(path, problem="does not exist")
    except OSError as fault:
        return Artefact(path, size, problem=f"cannot be read: {fault.strerror or fault}")
    except HeaderError as fault:
        return Artefact(path, size, problem=str(fault))
    names = [tensor.name for tensor in header.tensors]
    return Artefact(
        path,
        size,
        tensors=len(names),
        modules=len({module_of(name) for name in names}),
        dtypes=tuple(sorted({tensor.dtype for tensor in header.tensors})),
        names=tuple(names),
        shapes=tuple(tensor.shape for tensor in header.tensors),
        metadata=header.metadata,
        family=family_of(header),
        problem=header.length_problem(size) or ("" if names else EMPTY),
    )


def judge(
    final: Path,
    earlier: str,
    expected_modules: int | None,
    *,
    practice: bool = False,
    holds: ExpectedTensor | None = None,
) -> str:
    """Why a run's last file is not a result, as a whole sentence; "" if it is one.

    ``earlier`` is the mark of the file that lay there before the run, "" for none. Practice files count only
    where practice was asked for. ``holds`` must be in it. Files of another kind than safetensors are looked at from
    outside alone.
    """
    try:
        status = final.stat()
    except OSError as fault:
        kept = kept_away(fault)
        return f"{final.name} cannot be read: {fault.strerror}" if kept else f"{final.name} was not written"
    if mark(status) == earlier:
        return f"{final.name} is older than this run"
    if final.suffix != ".safetensors":
        return "" if final.is_dir() or status.st_size else f"{final.name} is empty"
    found = inspect(final)
    if not found.problem and holds and (lacks := _lacks(found, holds)):
        return f"{final.name} is not a checkpoint of this method: it {lacks}"
    return _content_problem(found, expected_modules, practice=practice)


def _content_problem(found: Artefact, expected_modules: int | None, *, practice: bool) -> str:
    if found.problem:
        return f"{found.path.name} {found.problem}"
    if found.practice and not practice:
        return f"{found.path.name} is a practice file, not a trained model"
    if expected_modules is not None and found.modules != expected_modules:
        return f"{found.path.name} contains {found.modules} modules, the trainer made {expected_modules}"
    return ""


def _lacks(found: Artefact, holds: ExpectedTensor) -> str:
    """What this file lacks to be a checkpoint of its method; "" if nothing."""
    shapes = [shape for name, shape in zip(found.names, found.shapes, strict=True) if name.startswith(holds.begin)]
    if not shapes:
        return f"contains no tensor {holds.begin}..."
    if holds.channels and not any(shape[1:2] == (holds.channels,) for shape in shapes):
        return f"reads {shapes[0][1] if len(shapes[0]) > 1 else 0} channels, not {holds.channels}"
    return ""


TABLE = read_table(Path(__file__).with_name("lora.toml"))
NAMES: Mapping[str, list[str]] = TABLE["names"]
"""Parts of module names (dots are underlines) that only one family has."""
SAID: Mapping[str, str] = TABLE["said"]
"""How the trainer's own words for a base model begin, and the family they mean."""
FAMILY_MARKS: Mapping[str, str] = TABLE["marks"]
"""How the modules of a family begin; the first that occurs counts. Some are not told apart: see ``SAME_NAMES``."""

ALIKE = {
    "flux": ("flux_kontext", "flux2", "hunyuan_image"), "lumina": ("z_image",),
    "qwen_image": ("qwen_image_edit", "qwen_image_layered"),
}  # fmt: skip
"""Families whose modules have the same names; the trainer's own metadata tells them apart."""

CONTEXT = {768: "sd15", 1024: "sd2", 2048: "sdxl"}
"""The width of the text that a U-Net's cross-attention reads."""
_CROSS = ("attn2_to_k_lora_down_weight", "attn2_to_k_lora_A_weight")

_KEYS = ("ss_base_model_version", "modelspec.architecture")


def family_of(header: Header) -> str:
    """A family of ``families.TABLE`` or another known one; "" where nothing tells."""
    names = {tensor.name.replace(".", "_"): tensor.shape for tensor in header.tensors}
    values = [header.metadata.get(key, "") for key in _KEYS]  # the trainer's own words
    said = next((family for value in values for begin, family in SAID.items() if value.startswith(begin)), "")
    what = identify(header)
    if what is not None and what.key not in ("lora", "embedding", "controlnet"):
        return said if said in ALIKE.get(what.key, ()) else what.key
    told = (family for family, parts in NAMES.items() if any(part in name for part in parts for name in names))
    widths = {shape[1] for name, shape in names.items() if name.endswith(_CROSS) and len(shape) > 1}
    by_shape = {CONTEXT.get(width, "") for width in widths}
    found = (by_shape.pop() if len(by_shape) == len(widths) == 1 else "") or next(told, "")
    return said if found in ALIKE and said in ALIKE[found] else found or said


def is_lora(header: Header) -> bool:
    """Whether the file goes on top of a model as a LoRA of any kind."""
    what = identify(header)
    return what is not None and what.key == "lora"


_MODULE = re.compile(
    r"^(?P<module>.+?)\.(?:lora_(?:down|up|mid|A|B)|alpha$|dora_scale|hada_|lokr_|oft_|diff(?:_b)?$|scalar$)"
)
LORA_PARTS = (".lora_down.", ".lora_up.")
OTHER_NETWORKS = {".hada_": "LoHa", ".lokr_": "LoKr"}
ALPHA = ".alpha"

SAME_NAMES = frozenset(
    {("sd", "sd15"), ("sd", "sd2"), *((mark, other) for mark, others in ALIKE.items() for other in others)}
)


def module_of(name: str) -> str:
    """The module a tensor belongs to: ``lora_unet_x`` of ``lora_unet_x.lora_down.weight``, ``a`` of ``a.weight``."""
    match = _MODULE.match(name)
    return match["module"] if match else name.rpartition(".")[0] or name


@dataclass(frozen=True, slots=True)
class Shape:
    """Rank, modules and family of a file. ``problem`` is the rest of a sentence about it, "" if it can be compared."""

    key: str = ""  # equal for two files that fit into the same slot
    modules: frozenset[str] = frozenset()
    ranks: tuple[int, ...] = ()
    mark: str = ""  # the family that the names tell, "" where they tell none
    metadata: Mapping[str, str] = field(default_factory=dict)
    network: str = ""  # LoHa or LoKr, which not every script merges
    problem: str = ""

    def number(self, name: str) -> int | None:
        """A number of the metadata (``ss_epoch``, ``ss_steps``), None where there is none."""
        text = self.metadata.get(name, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None

    def for_family(self, family: str) -> bool:
        """Whether its names speak against this family."""
        return not self.mark or self.mark == family or (self.mark, family) in SAME_NAMES


def shape_of(path: Path) -> Shape:
    """The shape of a file; every way in which it is no LoRA to compare becomes its ``problem``."""
    found = inspect(path)
    if found.problem and found.problem != EMPTY:
        return Shape(problem=found.problem)
    if found.practice:
        return Shape(problem="was written by the practice trainer: there is nothing in it")
    weights = {n: shape for n, shape in zip(found.names, found.shapes, strict=True) if not n.endswith(ALPHA)}
    parts = (*LORA_PARTS, *OTHER_NETWORKS)
    strange = [name for name in weights if not any(part in name for part in parts)]
    if strange or not weights:
        what = "a whole model or a network of another kind" if strange else "empty"
        example = f" (it holds {strange[0][:60]})" if strange else ""
        return Shape(problem=f"is {what}, not a LoRA of lora_down and lora_up{example}")
    modules = frozenset(map(module_of, weights))
    return Shape(
        key=hashlib.sha256(repr(sorted(weights.items())).encode("utf-8", "replace")).hexdigest(),
        modules=modules,
        ranks=tuple(sorted({shape[0] for name, shape in weights.items() if LORA_PARTS[0] in name and shape})),
        mark=next((family for mark, family in FAMILY_MARKS.items() if any(m.startswith(mark) for m in modules)), ""),
        metadata=found.metadata,
        network=next((kind for part, kind in OTHER_NETWORKS.items() if any(part in name for name in weights)), ""),
    )


def difference(one: Shape, reference: Shape) -> str:
    """Why a file does not fit into the reference's slot, as the rest of a sentence; "" if it fits."""
    if one.key == reference.key:
        return ""
    if one.mark != reference.mark and one.mark and reference.mark:
        return f"is a LoRA for {one.mark}, the others are for {reference.mark}"
    lacking, more = reference.modules - one.modules, one.modules - reference.modules
    if lacking or more:
        return f"has other modules than the others: {len(lacking)} are missing, {len(more)} are extra"
    if one.ranks != reference.ranks:
        return f"has rank {_ranks(one)}, the others have rank {_ranks(reference)}"
    return "has modules of other sizes than the others"


def _ranks(shape: Shape) -> str:
    return ", ".join(map(str, shape.ranks[:4])) + ("..." if len(shape.ranks) > 4 else "")
