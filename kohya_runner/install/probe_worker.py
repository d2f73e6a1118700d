"""Says what a Python holds, as one JSON object. Runs inside that Python, so it needs nothing but the standard library.

python probe_worker.py fast NAME...        versions by name, without importing anything: well under a second
python probe_worker.py deep FOLDER NAME... imports torch and the trainer's modules from FOLDER: the truth, in 5 to 30 s
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import json
import os
import sys
from typing import Any


def fast(names: tuple[str, ...]) -> dict[str, Any]:
    """Which distributions are installed, and whether this is a venv."""
    return {
        "executable": sys.executable,
        "python": ".".join(map(str, sys.version_info[:3])),
        "venv": sys.prefix != getattr(sys, "base_prefix", sys.prefix),
        "packages": {name: _version(name) for name in names},
    }


def _version(name: str) -> str | None:
    if name.startswith("import:"):  # a module: where it is, and not imported
        try:
            found = importlib.util.find_spec(name[7:])
            folders = list(found.submodule_search_locations or ()) if found else []
            return (folders[0] if folders else found.origin or "") if found else None
        except (ImportError, ValueError):
            return None
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def deep(checkout: str, names: tuple[str, ...]) -> dict[str, Any]:
    """What really imports, from the folder a script would run in."""
    sys.path[0] = checkout  # as when a script of the checkout is run, and without this file's own folder
    os.chdir(checkout)
    found = {name: _fault(name) for name in names}
    found["xformers"] = _fault("xformers.ops")
    found["bitsandbytes"] = _fault("bitsandbytes")
    found["xformers_extensions"] = found["xformers"] or _extensions_fault()
    return {"faults": found, "device": None if found["torch"] else _device()}


def _fault(name: str) -> str | None:
    """None where the module can be imported, else why not."""
    try:
        importlib.import_module(name)
    except BaseException as fault:  # noqa: BLE001 - a broken package may raise anything, SystemExit included
        return f"{type(fault).__name__}: {fault}"[:2000]
    return None


def _extensions_fault() -> str | None:
    """Why xformers cannot use its compiled kernels.

    It only warns on import and then fails at the first step (_cpp_lib.py of xformers).
    """
    try:
        from xformers import _cpp_lib

        fault = getattr(_cpp_lib, "_cpp_library_load_exception", None)
    except Exception as error:  # noqa: BLE001 - as above
        return f"{type(error).__name__}: {error}"[:2000]
    return None if fault is None else str(fault)[:2000]


def _device() -> dict[str, Any]:
    import torch

    facts: dict[str, Any] = {"cuda": False, "fault": None, "torch": str(torch.__version__)}
    try:
        facts["cuda"] = torch.cuda.is_available()
        if facts["cuda"]:
            torch.zeros(1, device="cuda").add_(1).item()  # the first kernel: a wheel may be too old for the GPU
        elif torch.version.cuda:
            torch.cuda.init()  # says why there is no device
    except Exception as error:  # noqa: BLE001 - drivers fail in many ways
        facts["fault"] = f"{type(error).__name__}: {error}"[:2000]
    return facts


def main(kind: str, *arguments: str) -> None:
    """Print the object as the last line; whatever the imports say goes to stderr."""
    out = os.dup(1)
    os.dup2(2, 1)
    found = fast(arguments) if kind == "fast" else deep(arguments[0], arguments[1:])
    os.write(out, (json.dumps(found) + "\n").encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
