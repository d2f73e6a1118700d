"""The whole command: which Python, which script, which options, where, and with what environment."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from kohya_runner.recipe.models import Launch


@dataclass(frozen=True, slots=True)
class Command:
    """A process to start: tokens, working folder, and the variables the runner sets (never a secret)."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]
    needs: frozenset[str] = frozenset()  # "hub", "wandb": whose secrets of the shell it gets

    def shown(self) -> str:
        """The argv quoted so that it can be pasted into a shell."""
        return shlex.join(self.argv)


def argv(
    python: Path, script: Path, options: tuple[str, ...], *, launch: Launch, mixed_precision: str
) -> tuple[str, ...]:
    """Direct Python for one process (``accelerate launch`` costs seconds and hides the error); else every choice made.

    ``--multi_gpu`` is explicit because accelerate infers it from the GPUs it sees, and one per node looks like none.
    The trainer passes its own ``--mixed_precision`` on (library/train_util.py:5494); the launcher gets the same one.
    """
    if launch.num_processes == 1 and not launch.accelerate:
        return (str(python), str(script), *options)
    chosen: dict[str, object] = {
        "num_processes": launch.num_processes,
        "num_machines": 1,
        "mixed_precision": mixed_precision,
        "dynamo_backend": "no",
        "num_cpu_threads_per_process": 1,
        "multi_gpu": launch.num_processes > 1,
        **launch.accelerate,
    }
    launcher = (str(python), "-m", "accelerate.commands.launch")
    return (*launcher, *(t for k, v in chosen.items() for t in _flag(k, v)), str(script), *options)


def _flag(name: str, value: object) -> tuple[str, ...]:
    if value is True:
        return (f"--{name}",)
    return () if value is False or value is None else (f"--{name}={value}",)
