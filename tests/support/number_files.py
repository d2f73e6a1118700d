"""Safetensors files with chosen numbers in them."""

from __future__ import annotations

import json
import struct

PACK = {"F16": "<e", "F32": "<f", "F64": "<d"}


def packed(dtype, *numbers):
    """Numbers as a type holds them; BF16 is the upper half of F32."""
    if dtype == "BF16":
        return b"".join(struct.pack("<f", number)[2:] for number in numbers)
    return b"".join(struct.pack(PACK[dtype], number) for number in numbers)


def numbers_file(path, tensors, dtype="F16", metadata=None):
    """A file of one type, each tensor a list of numbers, or bytes as they are."""
    header = {"__metadata__": metadata or {}}
    data = b""
    for name, values in tensors.items():
        piece = values if isinstance(values, bytes) else packed(dtype, *values)
        width = 1 if dtype.startswith("F8") else len(packed(dtype, 0.0))
        header[name] = {
            "dtype": dtype,
            "shape": [len(piece) // width],
            "data_offsets": [len(data), len(data) + len(piece)],
        }
        data += piece
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def trained(path, *, nan=False, zero=False, modules=("lora_unet_a", "lora_te_b"), metadata=None):
    """A small LoRA whose weights are numbers, or whose second module is NaN, or that was never trained."""
    tensors = {}
    for module in modules:
        last = module == modules[-1]
        tensors[f"{module}.alpha"] = [4.0]
        tensors[f"{module}.lora_down.weight"] = [0.5, -0.25, float("nan") if nan and last else 1.0]
        tensors[f"{module}.lora_up.weight"] = [0.0, -0.0, 0.0 if zero else 0.125]
    return numbers_file(path, tensors, metadata=metadata)
