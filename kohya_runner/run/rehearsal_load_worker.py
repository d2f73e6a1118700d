"""Runs in the trainer's Python: opens a file as the trainer opens one, and says what is in it, as one JSON line.

PYTHON rehearsal_load_worker.py FILE
"""

from __future__ import annotations

import json
import sys


def main(file: str) -> None:
    """networks/lora.py load_weights reads a file the same way."""
    import torch
    from safetensors.torch import load_file

    tensors = load_file(file)
    finite = all(bool(torch.isfinite(tensor.float()).all()) for tensor in tensors.values())
    print(json.dumps({"tensors": len(tensors), "finite": finite}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1])
