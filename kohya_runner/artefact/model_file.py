"""A light look at a base model or component on this machine: is it what its name says, and can the trainer open it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kohya_runner.artefact.safetensors_header import LENGTH, MAX_HEADER, HeaderError, read_header
from kohya_runner.findings import Finding, error
from kohya_runner.safe_files import open_file

PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")
SAFE = ".safetensors"
"""What no loader unpickles, letter by letter (networks/lora.py:1074); torch.load gets the rest (model_util.py:980)."""
BY_NAME = ("base_weights", "controlnet_model_name_or_path", "network_weights", "weights")
"""Options of each family that go by the name of the file; components of newer ones are safetensors, ``.sft`` too."""
PICKLE = "is a pickle: loading it runs whatever code its author put in"
LIBRARIES = ("diffusers", "transformers", "stable_diffusion", "stable_diffusion_xl")
"""What a model_index.json may import its parts from."""
UNUSED = ("safety_checker", "feature_extractor")
MAX_JSON = 1_000_000
MAX_FILES = 20_000
CONVERT = (
    'convert it: python -c "import sys, torch, safetensors.torch as s; d = torch.load(sys.argv[1], weights_only=True, '
    "map_location='cpu'); s.save_file({k: v.contiguous() for k, v in d.get('state_dict', d).items() "
    'if torch.is_tensor(v)}, sys.argv[2])" OLD NEW.safetensors'
)


def is_pickle(name: str) -> bool:
    """Whether a file of this name is one that runs what its maker wrote into it when it is loaded."""
    return name.lower().endswith(PICKLES)


def code_in(path: Path, name: str, family: str) -> str:
    """Why loading a file or folder as ``name`` (model, vae, network_weights ...) can run code: the rest of a sentence.

    "" where it cannot, or where nothing is there.
    """
    if path.is_dir():
        return next(_in_folder(path), "")
    if is_pickle(path.name) or is_pickle(os.path.realpath(path)):  # loaders of SD go by the name that a link leads to
        return PICKLE
    return unsafe_name(path.name, name, family) if path.is_file() else ""


def unsafe_name(file: str, name: str, family: str) -> str:
    """The same of a file that is known by its name alone."""
    by_name = family in BY_EXTENSION or name in BY_NAME
    if is_pickle(file) or file.endswith(SAFE if by_name else (SAFE, ".sft")):
        return PICKLE if is_pickle(file) else ""
    return f"is loaded as a pickle, which can run code: its name does not end with {SAFE}"


def _in_folder(folder: Path) -> Iterator[str]:
    files = list(_files(folder))
    if len(files) > MAX_FILES:
        yield f"holds more than {MAX_FILES} files: too many to look for code among them"
    for file in files:
        if file.suffix == ".py":
            yield f"holds Python code ({file.relative_to(folder)}), which diffusers can load"
        elif file.name in ("model_index.json", "config.json"):
            yield from _foreign_classes(file, folder)
    for part in sorted({file.parent for file in files if file.parent != folder} | {folder}):
        here = [file.name for file in files if file.parent == part]
        weights = [name for name in here if name.endswith(PICKLES) and name.startswith(("pytorch_model", "diffusion_"))]
        if weights and part.name not in UNUSED and not any(name.endswith(SAFE) for name in here):
            yield f"holds its weights as a pickle ({(part / weights[0]).relative_to(folder)})"


def _files(folder: Path) -> Iterator[Path]:
    """The files of a model folder, ``DEEPEST`` levels deep, one more than ``MAX_FILES`` at most."""
    count = 0
    for base, folders, names in os.walk(folder, followlinks=True):
        if base.count(os.sep) - str(folder).count(os.sep) >= DEEPEST:
            folders.clear()
        for name in sorted(names):
            count += 1
            if count > MAX_FILES + 1:
                return
            yield folder.joinpath(base, name)


DEEPEST = (
    8  # a pipeline may be a part of a pipeline (diffusers pipeline_loading_utils.py:72): those are refused by name
)


def _foreign_classes(file: Path, folder: Path) -> Iterator[str]:
    name = file.relative_to(folder)
    try:
        with open_file(file) as stream:
            text = stream.read(MAX_JSON + 1)
        found = json.loads(text) if len(text) <= MAX_JSON else None
    except (OSError, ValueError, RecursionError):
        found = None
    if found is None:
        yield f"has a {name} that cannot be read, so that nobody knows what it would load"
    if not isinstance(found, dict):
        return
    if isinstance(found.get("_class_name"), list):
        yield f"names a class of its own in {name} (_class_name is a list), which diffusers loads as code"
    for value in found.values() if file.name == "model_index.json" else ():
        library = value[0] if isinstance(value, list) and len(value) == 2 else None
        if isinstance(library, str) and library not in LIBRARIES:
            yield f"wants to import {library} (in {name})"
        elif library and isinstance(value[1], str) and value[1].endswith("Pipeline"):
            yield f"has a whole pipeline as a part (in {name}), whose own parts are loaded unseen"


HEAD = 512
SAFETENSORS = ".safetensors"
BY_EXTENSION = frozenset({"sd15", "sd2", "sdxl"})
"""Families whose loader looks at the extension alone (library/model_util.py:964); the others want safetensors."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A path as the recipe gives it, made absolute: what it is for, and where the recipe says so."""

    path: Path
    what: str = "model"
    family: str = "sd15"
    where: str = ""


def model_findings(model: LocalModel) -> tuple[Finding, ...]:
    """At most one finding: missing, a link that the trainer does not follow, or a file that is not what it says."""
    if not os.path.exists(model.path):
        dangling = model.path.is_symlink()
        what = f"is a link to {model.path.readlink()}, which does not exist" if dangling else "does not exist"
        hint = "write a path that exists, a Hub id (org/repo), or hf://org/repo/file.safetensors"
        return (error("model.missing", f"{model.what} {model.path} {what}", where=model.where, hint=hint),)
    link = _link_fault(model)
    if link:
        hint = f"write hf://ORG/REPO/{model.path.name}, which fetches a real file, or copy the file"
        return (error("model.symlink", f"{model.what} {model.path} {link}", where=model.where, hint=hint),)
    fault = _folder_fault(model) if model.path.is_dir() else _file_fault(model)
    if fault:
        what, hint = fault
        return (error("model.format", f"{model.what} {model.path} {what}", where=model.where, hint=hint),)
    return ()


READS_LINK_ONCE = {"sdxl": "library/sdxl_train_util.py:79"}
"""Families whose loader takes what a link says as it is, and where; the others follow it to its end."""


def _link_fault(model: LocalModel) -> str:
    """What the loaders make of a link: they resolve it themselves and then go by the extension they find."""
    if model.what != "model" or model.family not in BY_EXTENSION or not model.path.is_symlink():
        return ""
    target = model.path.readlink()
    reads_once = READS_LINK_ONCE.get(model.family)
    if reads_once and not target.is_absolute():
        return f"is a relative link to {target}; the trainer reads that as its own path ({reads_once})"
    end = target if reads_once else model.path.resolve()
    if model.path.is_file() and end.suffix.lower() != model.path.suffix.lower():
        line = reads_once or "library/model_io.py:358"
        return f"is a link to {end}, which the trainer loads by that name, without the extension ({line})"
    return ""


def _folder_fault(model: LocalModel) -> tuple[str, str] | None:
    if model.family not in BY_EXTENSION:
        return "is a folder; this family's script takes one safetensors file", "name the file in it"
    if (model.path / "model_index.json").is_file() or model.what != "model":
        return None
    inside = sorted(path.name for path in model.path.glob(f"*{SAFETENSORS}"))
    hint = f"write {model.path / inside[0]}" if inside else "name a .safetensors file, or a folder that diffusers saved"
    return "is a folder without model_index.json, so it is not a diffusers model", hint


def _file_fault(model: LocalModel) -> tuple[str, str] | None:
    try:
        size = model.path.stat().st_size
        with model.path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as fault:
        return f"cannot be read: {fault.strerror}", "make it readable"
    return _known_mistake(head, size) or _content_fault(model, head)


def _known_mistake(head: bytes, size: int) -> tuple[str, str] | None:
    """Files that are something else entirely."""
    again = "download it again, or write hf://org/repo/file.safetensors"
    text = head.lstrip().lower()
    if size == 0:
        return "is empty", again
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the model", f"run 'git lfs pull' there; or {again}"
    if head.startswith(b"GGUF"):
        what = "is a GGUF file, weights packed for inference, which no trainer here reads"
        return what, "take the .safetensors file of the same model in bf16, fp16 or fp8"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "is a web page, not a model: the download was refused", again
    return None


def _content_fault(model: LocalModel, head: bytes) -> tuple[str, str] | None:
    suffix = model.path.suffix.lower()
    by_extension = model.family in BY_EXTENSION
    length = int.from_bytes(head[:LENGTH], "little")
    holds_safetensors = head[LENGTH : LENGTH + 1] == b"{" and length <= MAX_HEADER
    if by_extension and suffix != SAFETENSORS and holds_safetensors:
        what = f"contains safetensors but is named {suffix or 'without extension'}"
        return what, "rename it to .safetensors (library/model_util.py:964)"
    if suffix == SAFETENSORS or holds_safetensors or not by_extension:
        fault = safetensors_fault(model.path)
        return (fault, "download it again, or write hf://org/repo/file.safetensors") if fault else None
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return None
    return "is neither safetensors nor a checkpoint", f"name a {SAFETENSORS} or .ckpt file"


def safetensors_fault(path: Path) -> str:
    """Why a file is not a complete safetensors file, "" if it is one; reads the header only."""
    try:
        return read_header(path).length_problem(path.stat().st_size)
    except HeaderError as fault:
        return f"{fault}: it is truncated, broken or another format"
