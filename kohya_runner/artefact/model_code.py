"""Model files and folders that can run code of whoever made them, by their name and by what lies in them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from kohya_runner.safe_paths import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl", ".pickle")
SAFE = (".safetensors", ".sft")
"""What the loaders do not unpickle; everything else goes to torch.load (library/model_util.py:964-980)."""
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


def code_in(path: Path) -> str:
    """Why loading this file or folder can run code (the rest of a sentence), "" where it cannot or nothing is there."""
    if path.is_dir():
        return next(_in_folder(path), "")
    if is_pickle(path.name) or (path.is_file() and path.suffix.lower() not in SAFE):
        return "is a pickle: loading it runs whatever code its author put in"
    return ""


def _in_folder(folder: Path) -> Iterator[str]:
    files = list(_files(folder))
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
    """The files of a model folder, two levels deep: no more is loaded."""
    count = 0
    for base, folders, names in os.walk(folder):
        if base.count(os.sep) - str(folder).count(os.sep) >= 2:
            folders.clear()
        for name in sorted(names):
            count += 1
            if count > MAX_FILES:
                return
            yield folder.joinpath(base, name)


def _foreign_classes(file: Path, folder: Path) -> Iterator[str]:
    try:
        with open_file(file) as stream:
            found = json.loads(stream.read(MAX_JSON))
    except (OSError, ValueError, RecursionError):
        return
    name = file.relative_to(folder)
    if not isinstance(found, dict):
        return
    if isinstance(found.get("_class_name"), list):
        yield f"names a class of its own in {name} (_class_name is a list), which diffusers loads as code"
    for value in found.values() if file.name == "model_index.json" else ():
        library = value[0] if isinstance(value, list) and len(value) == 2 else None
        if isinstance(library, str) and library not in LIBRARIES:
            yield f"wants to import {library} (in {name})"
