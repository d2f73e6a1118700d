"""Options of ``accelerate launch`` that a recipe may set: none that starts other programs or reads other files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from kohya_runner.findings import Finding, error
from kohya_runner.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.recipe.load import Loaded

ALLOWED: Mapping[str, tuple[str, str]] = {
    "num_cpu_threads_per_process": (r"[1-9]\d{0,2}", "a whole number from 1"),
    "main_process_port": (r"0|[1-9]\d{0,4}", "a port, or 0 for any that is free"),
    "gpu_ids": (r"all|\d{1,2}(,\d{1,2})*", "all, or numbers such as 0,1"),
    "dynamo_backend": (r"no|eager|aot_eager|inductor|cudagraphs", "no, eager, aot_eager, inductor or cudagraphs"),
    "enable_cpu_affinity": (r"True|False", "true or false"),
    "max_restarts": (r"\d{1,3}", "a whole number"),
    "monitor_interval": (r"\d{1,4}(\.\d+)?", "seconds"),
}
"""Name -> what its value must match, and that in words (accelerate 1.6.0, commands/launch.py)."""

INSTEAD: Mapping[str, str] = {
    "num_processes": "write it as launch.num_processes",
    "multi_gpu": "it follows from launch.num_processes",
    "mixed_precision": "it follows from args.mixed_precision",
    "num_machines": "one machine is what this version launches on",
    "machine_rank": "one machine is what this version launches on",
    "main_process_ip": "one machine is what this version launches on",
    "config_file": "every choice is passed on the command line",
}


def launch_faults(loaded: Loaded) -> list[Finding]:
    """Faults in ``launch.accelerate``."""
    given = loaded.recipe.launch.accelerate if loaded.recipe else {}
    return [fault for name, value in given.items() if (fault := _fault(loaded, name, value)) is not None]


def _fault(loaded: Loaded, name: str, value: object) -> Finding | None:
    if name not in ALLOWED:
        hint = INSTEAD.get(name) or did_you_mean(name, ALLOWED)
        message = f"launch.accelerate.{name}: not an option a recipe may set"
        return error("recipe.unknown_key", message, where=loaded.where("launch", "accelerate", name), hint=hint)
    pattern, words = ALLOWED[name]
    if re.fullmatch(pattern, str(value), re.ASCII):
        return None
    where = str(loaded.place("launch", "accelerate", name))
    return error("recipe.value", f"launch.accelerate.{name}: must be {words}", where=where)
