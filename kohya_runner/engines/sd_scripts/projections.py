"""The LoRAs of SD 2 as gen_img.py reads them.

The training builds the U-Net's projections as convolutions of one pixel (library/train_util.py:5525), gen_img.py as
linear layers (library/model_util.py:1002): it stops at the two sides that the tensors have more. The numbers are the
same.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PROJECTIONS = ("_proj_in.lora_", "_proj_out.lora_")
PIXEL = [1, 1]


def as_it_is(path: Path, _folder: Path) -> Path:
    """What every other script reads."""
    return path


def linear(path: Path, folder: Path) -> Path:
    """The file itself, or a copy in the folder whose projections are linear."""
    with path.open("rb") as file:
        rows = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        flat = {name: _flat(name, row) for name, row in rows.items()}
        if flat == rows:
            return path
        copy = folder / f"{hashlib.sha256(str(path).encode()).hexdigest()[:16]}.safetensors"
        told = json.dumps(flat).encode()
        with copy.open("wb") as out:
            out.write(len(told).to_bytes(8, "little") + told)
            shutil.copyfileobj(file, out)
    return copy


def _flat(name: str, row: Mapping[str, Any]) -> Mapping[str, Any]:
    projects = any(part in name for part in PROJECTIONS)
    return {**row, "shape": row["shape"][:2]} if projects and row["shape"][2:] == PIXEL else row
