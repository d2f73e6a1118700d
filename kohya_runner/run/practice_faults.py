"""Faults the practice trainer makes on demand, so that what guards a run can be tried without a broken trainer.

``KOHYA_PRACTICE_FAULT`` is a list with commas: ``nan@STEP``, ``hang@STEP``, ``crash@STEP``, ``oom@STEP``,
``slow-save=SECONDS``, ``no-file``, ``truncate``, ``ignore-int``, ``ignore-term``, ``fork`` (a process is left behind),
``detach`` (one is left behind in a session of its own).
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "KOHYA_PRACTICE_FAULT"
STEP_SECONDS = "KOHYA_PRACTICE_STEP_SECONDS"
DEFAULT_STEP_SECONDS = 0.02

AT_STEP = ("nan", "hang", "crash", "oom")
_SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
PLAIN = ("no-file", "truncate", "ignore-int", "ignore-term", "fork", "detach")


class OutOfMemoryError(RuntimeError):
    """Looks like torch's in a traceback."""


OutOfMemoryError.__module__ = "torch"


class FaultSyntaxError(ValueError):
    """The variable names no fault."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, and at which step."""

    at: Mapping[str, int]
    plain: frozenset[str] = frozenset()
    slow_save: float = 0.0

    def loss(self, step: int, loss: float) -> float:
        """The loss after a step; once NaN, always NaN, as in the trainer's running mean."""
        return float("nan") if step >= self.at.get("nan", sys.maxsize) else loss

    def strike(self, step: int) -> None:
        """Hang or fail before a step is counted."""
        if step == self.at.get("hang"):
            while True:
                time.sleep(3600)
        if step == self.at.get("crash"):
            raise RuntimeError("practice fault: crash")
        if step == self.at.get("oom"):
            raise OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.64 GiB of which "
                "1.21 GiB is free. Including non-PyTorch memory, this process has 22.42 GiB memory in use."
            )

    def prepare(self) -> None:
        """Deaf to signals, and processes to be left behind, as asked for."""
        if "ignore-int" in self.plain:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if "ignore-term" in self.plain:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for name, apart in (("fork", False), ("detach", True)):
            if name in self.plain:
                child = subprocess.Popen(_SLEEPER, start_new_session=apart)
                sys.stdout.write(f"PRACTICE: left behind: {child.pid}\n")


def read(environ: Mapping[str, str]) -> Faults:
    """The faults a variable asks for; ``FaultSyntaxError`` names what is none."""
    at: dict[str, int] = {}
    plain: set[str] = set()
    slow_save = 0.0
    for word in filter(None, (part.strip() for part in environ.get(VARIABLE, "").split(","))):
        name, _, number = word.partition("@")
        if name in AT_STEP and number.isdigit():
            at[name] = int(number)
        elif word in PLAIN:
            plain.add(word)
        elif word.startswith("slow-save="):
            slow_save = float(word.partition("=")[2])
        else:
            known = ", ".join((*(f"{n}@STEP" for n in AT_STEP), "slow-save=SECONDS", *PLAIN))
            raise FaultSyntaxError(f"{VARIABLE}: '{word}' is no fault; known are: {known}")
    return Faults(at, frozenset(plain), slow_save)
