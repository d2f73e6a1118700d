"""What a LoRA file is and what is wrong with it: for files of any origin, headers and numbers alike."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kohya_runner.artefact.comfyui import ComfyNames, comfy_names
from kohya_runner.artefact.content import examine
from kohya_runner.artefact.lora import TABLE, inspect
from kohya_runner.artefact.model_file import is_pickle
from kohya_runner.artefact.model_identity import identify, main_dtype
from kohya_runner.artefact.safetensors_header import Header, HeaderError, read_header
from kohya_runner.errors import UsageError
from kohya_runner.safe_files import special
from kohya_runner.text import printable

DOWNS = (".lora_down.weight", ".lora_A.weight", ".lora_A.default.weight", ".lora.down.weight", ".hada_w1_b")
LONGEST = 200
"""Characters of a stranger's text that are shown."""

FACTS: Mapping[str, str] = TABLE["training"]
"""What is told of a training, and under which key the trainer writes it."""


@dataclass(frozen=True, slots=True)
class Verified:
    """One file. ``problems`` are rests of sentences about it; ``notes`` are harmless."""

    path: Path
    what: str = ""
    family: str = ""
    bytes: int = 0
    modules: int = 0
    ranks: tuple[int, ...] = ()  # the most frequent first
    dtype: str = ""
    sha256: str = ""
    training: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    comfyui: ComfyNames | None = None  # None: nobody asked

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        return {
            "file": str(self.path), "ok": self.ok, "what": self.what, "family": self.family or None,
            "bytes": self.bytes, "modules": self.modules, "ranks": list(self.ranks), "dtype": self.dtype,
            "sha256": self.sha256, "training": dict(self.training), "problems": list(self.problems),
            "notes": list(self.notes),
        }  # fmt: skip


def verify(
    paths: Iterable[Path], on_file: Callable[[Verified], None], *, comfyui: bool = False
) -> tuple[Verified, ...]:
    """Every file, and of a folder every safetensors file in it; ``on_file`` hears of each as soon as it is read.

    ``comfyui``: a file of which ComfyUI would skip keys is not one that can be used.

    Raises ``UsageError`` for what is not there, before anything is read.
    """
    found: list[Verified] = []
    for path in _files(tuple(paths)):
        one = verified(path)
        if comfyui and one.sha256:
            names = comfy_names(path)
            one = replace(one, comfyui=names, problems=tuple(filter(None, (*one.problems, names.problem))))
        found.append(one)
        on_file(found[-1])
    return tuple(found)


def verified(path: Path) -> Verified:
    """One file, read from end to end."""
    if odd := special(path):
        return Verified(path, problems=(odd,))
    if path.suffix != ".safetensors":
        return _other(path)
    facts = inspect(path)
    if facts.problem:
        return Verified(path, bytes=facts.bytes, problems=(printable(facts.problem),))
    try:
        return _read(path, facts.family, facts.modules, practice=facts.practice)
    except (OSError, HeaderError) as fault:
        return Verified(path, bytes=facts.bytes, problems=(printable(f"cannot be read: {fault}"),))


def _read(path: Path, family: str, modules: int, *, practice: bool) -> Verified:
    header, content = read_header(path), examine(path)
    identity = identify(header)
    ups = f"{content.zero} of {content.ups} up weights are zero: these modules were not trained"
    return Verified(
        path,
        what=identity.what if identity else "tensors of an unknown kind",
        family=family,
        bytes=header.total,
        modules=modules,
        ranks=ranks(header),
        dtype=main_dtype(header),
        sha256=content.sha256,
        training=_training(header.metadata),
        problems=tuple(filter(None, (content.problem, "is a practice file, not a trained model" if practice else ""))),
        notes=(ups,) if 0 < content.zero < content.ups else (),
    )


def ranks(header: Header) -> tuple[int, ...]:
    """The ranks of a LoRA's modules, the most frequent first."""
    counted = Counter(t.shape[0] for t in header.tensors if t.name.endswith(DOWNS) and t.shape)
    return tuple(rank for rank, _ in counted.most_common())


def _training(metadata: Mapping[str, str]) -> dict[str, str]:
    """What the file says of its training; a stranger's words, cut where they are long."""
    said = {name: metadata[key] for name, key in FACTS.items() if metadata.get(key) not in (None, "", "None")}
    folders: object = {}
    with suppress(ValueError, RecursionError):
        folders = json.loads(metadata.get("ss_dataset_dirs") or "{}")
    rows = folders.items() if isinstance(folders, dict) else ()
    shown = ", ".join(f"{name} ({row.get('img_count')} images)" for name, row in rows if isinstance(row, dict))
    said |= {"datasets": shown} if shown else {}
    return {name: printable(text)[:LONGEST] for name, text in said.items()}


def _other(path: Path) -> Verified:
    """A pickle runs its maker's code when it is loaded: it is not opened, and so not found to be good."""
    try:
        size = path.stat().st_size
    except OSError as fault:
        return Verified(path, problems=(f"cannot be read: {fault.strerror or fault}",))
    if is_pickle(path.name):
        return Verified(path, "a file of torch", bytes=size, problems=("was not opened: a pickle can run code",))
    return Verified(path, bytes=size, problems=("is not a safetensors file",))


def _files(paths: tuple[Path, ...]) -> tuple[Path, ...]:
    missing = [str(path) for path in paths if not path.exists()]
    if missing:
        raise UsageError(f"not there: {', '.join(missing)}")
    found = tuple(f for p in paths for f in (sorted(p.glob("*.safetensors")) if p.is_dir() else (p,)))
    if not found:
        raise UsageError(f"no safetensors files in {', '.join(map(str, paths))}")
    return found
