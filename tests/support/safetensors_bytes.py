"""A smallest safetensors file."""

from __future__ import annotations

import json


def safetensors(metadata: dict[str, str]) -> bytes:
    """One tensor of one number, with metadata."""
    header = {"__metadata__": metadata, "a.lora_down.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(4)
