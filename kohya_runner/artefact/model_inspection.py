"""The base model and its components by their headers: the right family, the right slot, and loadable."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_runner.artefact.file_hash import Hashes, is_recorded, record_path
from kohya_runner.artefact.model_file import is_pickle
from kohya_runner.artefact.model_identity import INPAINTING_CHANNELS, UNET_CHANNELS, Identity, identify, main_dtype
from kohya_runner.artefact.safetensors_header import PRACTICE, Header, HeaderError, read_header
from kohya_runner.findings import Finding, error
from kohya_runner.safe_files import read_json
from kohya_runner.tables import read_table
from kohya_runner.text import size

MODEL = "model"
SHARD = re.compile(r"-\d{5}-of-\d{5}\.safetensors$")
SHA256 = re.compile(r"[0-9a-f]{64}")
SHOWN = 12


@dataclass(frozen=True, slots=True)
class Inspected:
    """One file of the recipe: ``slot`` is ``model`` or a component's name, ``name`` a path or ``hf://...``.

    ``bytes`` and ``sha256`` are None and "" where nobody told them; ``problem`` is the rest of a sentence about it.
    """

    slot: str
    name: str
    where: str = ""
    bytes: int | None = None
    sha256: str = ""
    identity: Identity | None = None
    dtype: str = ""
    practice: bool = False
    problem: str = ""

    def as_json(self) -> Mapping[str, object]:
        known = self.identity
        return {
            "slot": self.slot,
            "name": self.name,
            "bytes": self.bytes,
            "sha256": self.sha256 or None,
            "kind": known.key if known else None,
            "what": known.what if known else None,
            "dtype": self.dtype or None,
        }

    def __str__(self) -> str:
        """``model flux1-dev.safetensors: a FLUX.1 model, BF16, 22.2 GiB, sha256 4610115bb0c8``."""
        facts = [self.identity.what if self.identity else "", self.dtype]
        facts += [size(self.bytes)] if self.bytes is not None else []
        facts += [f"sha256 {self.sha256[:SHOWN]}"] if self.sha256 else []
        shown = ", ".join(fact for fact in facts if fact)
        return f"{self.slot} {self.name.rpartition('/')[2]}" + (f": {shown}" if shown else "")


def inspect_file(slot: str, path: Path, where: str = "", hashes: Hashes | None = None) -> Inspected | None:
    """A file on this machine; None where it is not a readable model file (``model_file`` says why)."""
    # what a fetched file was checked against
    etag = read_json(record_path(path)).get("etag") if is_recorded(path) else ""
    told = etag if isinstance(etag, str) and SHA256.fullmatch(etag) else ""
    sha256 = told or (hashes.of(path) if hashes else "")
    try:
        seen = Inspected(slot, str(path), where, path.stat().st_size, sha256)
        return seen if is_pickle(path.name) else with_header(seen, read_header(path))
    except (OSError, HeaderError):
        return None


def with_header(seen: Inspected, header: Header) -> Inspected:
    """The same file, with what its header tells. A shard is not a whole model: it gets no identity."""
    known = None if SHARD.search(seen.name.partition("@")[0]) else identify(header)
    return replace(seen, identity=known, dtype=main_dtype(header), practice=PRACTICE in header.metadata)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a slot of a family takes: the keys of ``model_identity``, in words, and where the trainer loads it."""

    keys: frozenset[str]
    what: str
    loader: str = ""
    strict: bool = False
    any_layout: bool = False  # its loader converts diffusers' layout, too (zimage/zimage_autoencoder.py:426)


SLOTS: dict[tuple[str, str], Wanted] = {
    (family, slot): Wanted(**row | {"keys": frozenset(row["keys"])})
    for family, slots in read_table(Path(__file__).with_name("slots.toml")).items()
    for slot, row in slots.items()
}
"""By family and slot; ``model_chroma`` is the base model with that model_type."""


def identity_findings(
    files: Iterable[Inspected], *, family: str, model_type: str = "flux", practice: bool = False
) -> tuple[Finding, ...]:
    """The problems of the files; ``model_type`` is the FLUX scripts' option, ``practice`` the kind of run."""
    found: list[Finding] = []
    for seen in files:
        wanted = SLOTS.get((family, seen.slot))
        wanted = SLOTS.get((family, f"{seen.slot}_{model_type}"), wanted)
        found += _findings(seen, wanted, family=family, practice=practice)
    return tuple(found)


def _findings(seen: Inspected, wanted: Wanted | None, *, family: str, practice: bool) -> Iterator[Finding]:
    code = "model.family" if seen.slot == MODEL else "model.component"
    if seen.problem:
        hint = "name another file, or download it again"
        yield error("model.format", f"{seen.slot} {seen.name} {seen.problem}", where=seen.where, hint=hint)
    elif seen.practice and not practice:
        message = f"{seen.slot} {seen.name} was written by a practice run: nothing in it was trained"
        yield error("model.practice", message, where=seen.where, hint="name a file that the real trainer wrote")
    elif seen.identity is not None and wanted is not None:
        known = seen.identity
        if known.key not in wanted.keys:
            message = f"{seen.slot} {seen.name} is {known.what}; family {family} needs {wanted.what} here"
            yield error(code, message, where=seen.where, hint=_instead(known, seen.slot, family))
        elif wanted.any_layout and "diffusers' layout" in known.fault:
            return
        elif known.fault or (wanted.strict and known.more):
            hint = known.hint or "take the file of the text encoder alone"
            fault = known.fault or f"holds {known.more}, too, which the trainer's strict loader refuses"
            place = f" ({wanted.loader})" if wanted.loader and ".py:" not in fault else ""
            message = f"{seen.slot} {seen.name} is {known.what} and {fault}{place}"
            yield error(code, message, where=seen.where, hint=hint)


PACKED_BY = (
    ("flux", "fp8_base", ("F8_E5M2",), "fp8_base takes float8_e4m3fn alone (flux_train_network.py:120)",
     "take the e4m3fn, bf16 or fp16 file"),
    *(
        (family, "fp8_scaled", ("F8_E4M3", "F8_E5M2"),
         "fp8_scaled quantises it itself, from bf16 or fp16 (modules/fp8_optimization_utils.py:334)",
         "take the bf16 or fp16 file, or leave args.fp8_scaled out")
        for family in ("flux2", "krea2", "z_image", "qwen_image", "qwen_image_edit")
    ),
)  # fmt: skip
"""Family, switch, and the types of a base model that the script then refuses."""


def channel_findings(files: Iterable[Inspected], *, inpainting: bool, frozen: bool) -> Iterator[Finding]:
    """U-Nets whose first layer is not the one that this training feeds; ``frozen``: the training leaves it as it is."""
    for seen in files:
        channels = seen.identity.channels if seen.identity and not seen.identity.fault else 0
        if channels == INPAINTING_CHANNELS and not inpainting:
            text = "has 9 input channels, and this training feeds 4: it stops at the first step"
            hint = "write method: inpaint, or take the ordinary checkpoint of the same model"
        elif channels == UNET_CHANNELS and inpainting and frozen:
            text = "has 4 input channels: the trainer adds those of the mask as zeros (library/model_util.py:1372), "
            text += "and this method does not train them: the model would never see a mask"
            hint = "take an inpainting checkpoint (9 channels), or train the whole model: method: dreambooth with "
            hint += "args.train_inpainting: true"
        else:
            continue
        yield error("model.channels", f"{seen.slot} {seen.name} {text}", where=seen.where, hint=hint)


def precision_findings(files: Iterable[Inspected], family: str, on: Callable[[str], bool]) -> Iterator[Finding]:
    """Base models that are in fp8 already, in a way that the script does not take."""
    for seen in files:
        for named, switch, dtypes, why, hint in PACKED_BY:
            if seen.slot == MODEL and family == named and seen.dtype in dtypes and on(switch):
                text = f"{seen.slot} {seen.name} is in {seen.dtype}, and {why}"
                yield error("model.format", text, where=seen.where, hint=hint)


ON_TOP = {
    "lora": "a LoRA goes on top of a base model: write it under args.network_weights (to train it on) or "
            "args.base_weights (to build on it)",
    "embedding": "an embedding is not a model; name a base model",
    "controlnet": "a ControlNet is not a base model; name the model it was made for",
    "chroma": "write args.model_type: chroma for Chroma",
}  # fmt: skip

ON_TOP_OF: Mapping[str, tuple[str, ...]] = {"chroma": ("flux",)}
"""Families for which the advice holds, where not for all."""


def _instead(known: Identity, slot: str, family: str) -> str:
    """Where this file belongs, if it belongs anywhere."""
    if known.key in ON_TOP and family in ON_TOP_OF.get(known.key, (family,)):
        return ON_TOP[known.key]
    place = next((s for (f, s), wanted in SLOTS.items() if f == family and known.key in wanted.keys), None)
    if place is not None and place != slot:
        return f"write it under {'model' if place == MODEL else f'components.{place}'}"
    other = next((f for (f, s), wanted in SLOTS.items() if s == MODEL and known.key in wanted.keys), None)
    return f"write family: {other}, or name another file" if other and slot == MODEL else "name another file"
