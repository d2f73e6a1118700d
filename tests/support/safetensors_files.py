"""Safetensors files of any kind for tests, broken ones too."""

from __future__ import annotations

import json


def with_header(path, header, data=b""):
    """A file of this header (a value, or bytes as they are) and this data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def lora(path, modules=("lora_unet_a", "lora_te_b"), metadata=None):
    """A small whole LoRA."""
    header = {"__metadata__": metadata or {}}
    end = 0
    for module in modules:
        for part, shape in ((".alpha", []), (".lora_down.weight", [2, 4]), (".lora_up.weight", [4, 2])):
            size = 2 * (8 if shape else 1)
            header[module + part] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
            end += size
    return with_header(path, header, bytes(end))
