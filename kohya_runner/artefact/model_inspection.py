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
        """For ``plan --json``."""
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
    etag = (
        read_json(record_path(path)).get("etag") if is_recorded(path) else ""
    )  # what a fetched file was checked against
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


def _want(what: str, *keys: str, at: str = "", strict: bool = False) -> Wanted:
    return Wanted(frozenset(keys), what, at, strict)


_CLIP_L, _CLIP_G = _want("a CLIP-L text encoder", "clip_l"), _want("a CLIP-G text encoder", "clip_g")
_T5, _AE = _want("a T5-XXL text encoder", "t5xxl"), _want("the 16-channel autoencoder (ae.safetensors)", "ae")
_SD_VAE = _want("an SD or SDXL autoencoder", "vae", at="library/model_util.py:1312")
_SD3, _FLUX, _KONTEXT = "library/sd3_utils.py", "library/flux_utils.py", "flux/flux_utils.py"

SLOTS: dict[tuple[str, str], Wanted] = {
    ("sd15", MODEL): _want("a Stable Diffusion 1.x checkpoint", "sd15"),
    ("sd2", MODEL): _want("a Stable Diffusion 2.x checkpoint", "sd2"),
    ("sdxl", MODEL): _want("an SDXL checkpoint", "sdxl"),
    ("sd3", MODEL): _want("a Stable Diffusion 3 or 3.5 model", "sd3"),
    ("sd3", "clip_l"): replace(_CLIP_L, loader=f"{_SD3}:155"),
    ("sd3", "clip_g"): replace(_CLIP_G, loader=f"{_SD3}:210"),
    ("sd3", "t5xxl"): replace(_T5, loader=f"{_FLUX}:407"),
    ("sd3", "vae"): replace(_AE, loader=f"{_SD3}:261"),
    ("flux", MODEL): _want("a FLUX.1 model", "flux", at=f"{_FLUX}:142"),
    ("flux", "clip_l"): replace(_CLIP_L, loader=f"{_FLUX}:352"),
    ("flux", "t5xxl"): replace(_T5, loader="docs/flux_train_network.md:305"),
    ("flux", "ae"): replace(_AE, loader=f"{_FLUX}:186"),
    ("lumina", MODEL): _want("a Lumina Image 2.0 model", "lumina"),
    ("lumina", "gemma2"): _want("the Gemma 2 2B text encoder", "gemma2"),
    ("lumina", "ae"): replace(_AE, loader="library/lumina_util.py:99"),
    ("hunyuan_image", MODEL): _want("a HunyuanImage 2.1 model", "hunyuan_image"),
    ("hunyuan_image", "text_encoder"): _want("the Qwen2.5-VL 7B text encoder", "qwen2_5_vl"),
    ("hunyuan_image", "byt5"): _want("the ByT5 text encoder", "byt5"),
    ("hunyuan_image", "vae"): _want(
        "the HunyuanImage autoencoder", "hunyuan_vae", at="library/hunyuan_image_vae.py:751"
    ),
    ("anima", MODEL): _want("an Anima model", "anima"),
    ("anima", "qwen3"): _want("the Qwen3 0.6B text encoder", "qwen3"),
    ("anima", "vae"): _want("the Qwen-Image autoencoder", "qwen_vae"),
    ("flux_kontext", MODEL): _want("a FLUX.1 Kontext model", "flux", at=f"{_KONTEXT}:174"),
    ("flux_kontext", "vae"): replace(_AE, loader=f"{_KONTEXT}:189"),
    ("flux_kontext", "text_encoder1"): replace(_T5, loader=f"{_KONTEXT}:366", strict=True),
    ("flux_kontext", "text_encoder2"): replace(_CLIP_L, loader=f"{_KONTEXT}:299", strict=True),
    ("flux2", MODEL): _want("a FLUX.2 model", "flux2", at="flux_2/flux2_utils.py:491"),
    ("flux2", "vae"): _want("the FLUX.2 autoencoder", "flux2_vae", at="flux_2/flux2_utils.py:507"),
    ("flux2", "text_encoder"): _want(
        "the Mistral 3 or Qwen3 text encoder of FLUX.2", "mistral3", "qwen3_4b", "qwen3_8b"
    ),
    ("sd15", "vae"): _SD_VAE,
    ("sd2", "vae"): _SD_VAE,
    ("sdxl", "vae"): _SD_VAE,
}
OTHER_MODELS = {("flux", MODEL, "chroma"): _want("a Chroma model", "chroma")}
"""What is wanted instead with another model_type, by family and slot."""


def identity_findings(
    files: Iterable[Inspected], *, family: str, model_type: str = "flux", practice: bool = False
) -> tuple[Finding, ...]:
    """The problems of the files; ``model_type`` is the FLUX scripts' option, ``practice`` the kind of run."""
    found: list[Finding] = []
    for seen in files:
        wanted = SLOTS.get((family, seen.slot))
        wanted = OTHER_MODELS.get((family, seen.slot, model_type), wanted)
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
        elif known.fault or (wanted.strict and known.more):
            hint = known.hint or "take the file of the text encoder alone"
            fault = known.fault or f"holds {known.more}, too, which the trainer's strict loader refuses"
            place = f" ({wanted.loader})" if wanted.loader and ".py:" not in fault else ""
            yield error(
                code, f"{seen.slot} {seen.name} is {known.what} and {fault}{place}", where=seen.where, hint=hint
            )


PACKED_BY = (
    ("flux", "fp8_base", ("F8_E5M2",), "fp8_base takes float8_e4m3fn alone (flux_train_network.py:120)",
     "take the e4m3fn, bf16 or fp16 file"),
    ("flux2", "fp8_scaled", ("F8_E4M3", "F8_E5M2"),
     "fp8_scaled quantises it itself, from bf16 or fp16 (modules/fp8_optimization_utils.py:334)",
     "take the bf16 or fp16 file, or leave args.fp8_scaled out"),
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
