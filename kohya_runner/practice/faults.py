"""Faults the practice trainer makes on demand, so that what guards a run can be tried without a broken trainer.

``KOHYA_PRACTICE_FAULT`` is a list with commas: ``nan@STEP``, ``nan-loss@STEP`` (the weights stay finite), ``inf@STEP``,
``diverge@STEP``, ``hang@STEP``, ``crash@STEP``, ``oom@STEP``, ``ram@STEP``, ``shm@STEP``, ``kill@STEP``,
``hog@STEP`` (takes memory until the kernel kills it),
``silent=SECONDS`` (while the model loads), ``slow-save=SECONDS``, ``nan-weights``, ``zero-weights``, ``no-file``,
``half-file`` (killed while it writes the last one), ``truncate``, ``ignore-int``, ``ignore-term``, ``fork`` (a process
is left behind), ``detach`` (one is left behind in a session of its own), ``fail-stage`` (a process that runs before the
training).
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kohya_runner.tables import read_table

VARIABLE = "KOHYA_PRACTICE_FAULT"
STEP_SECONDS = "KOHYA_PRACTICE_STEP_SECONDS"
DEFAULT_STEP_SECONDS = 0.02

AT_STEP = ("nan", "nan-loss", "inf", "diverge", "hang", "crash", "oom", "ram", "shm", "kill", "hog")
SECONDS = ("slow-save", "silent")
_SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
PLAIN = (
    "nan-weights", "zero-weights", "half-file", "no-file", "truncate", "ignore-int", "ignore-term", "fork", "detach",
    "fail-stage",
)  # fmt: skip


class OutOfMemoryError(RuntimeError):
    """Looks like torch's in a traceback."""


OutOfMemoryError.__module__ = "torch"


RAISED: Mapping[str, Exception] = {
    name: (OutOfMemoryError if name == "oom" else RuntimeError)(words)
    for name, words in read_table(Path(__file__).with_name("faults.toml")).items()
}
"""What ends a step with an exception, in the words of the libraries that raise it."""


class FaultSyntaxError(ValueError):
    """The variable names no fault."""


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong, and at which step."""

    at: Mapping[str, int]
    plain: frozenset[str] = frozenset()
    seconds: Mapping[str, float] = field(default_factory=dict)

    def loss(self, step: int, loss: float) -> float:
        """The loss after a step; once NaN, always NaN, as in the trainer's running mean."""
        for name, changed in (("nan", math.nan), ("nan-loss", math.nan), ("inf", math.inf), ("diverge", 1000 * loss)):
            if step >= self.at.get(name, sys.maxsize):
                return changed
        return loss

    def nan_weights(self, step: int) -> bool:
        """Whether the weights are NaN when a file is written after a step."""
        return "nan-weights" in self.plain or step >= self.at.get("nan", sys.maxsize)

    def strike(self, step: int) -> None:
        """Hang or fail before a step is counted."""
        if step == self.at.get("hang"):
            while True:
                time.sleep(3600)
        for name, fault in RAISED.items():
            if step == self.at.get(name):
                raise fault
        if step == self.at.get("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if step == self.at.get("hog"):
            taken = [bytearray(b"x") * (16 << 20) for _ in range(64)]  # the kernel ends a small group before
            raise RuntimeError(f"practice fault: {len(taken)} times 16 MiB were to be had")

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
    """The faults a variable asks for; ``FaultSyntaxError`` for an unknown one."""
    at: dict[str, int] = {}
    plain: set[str] = set()
    seconds: dict[str, float] = {}
    for word in filter(None, (part.strip() for part in environ.get(VARIABLE, "").split(","))):
        name, _, number = word.partition("@")
        slow, _, time_text = word.partition("=")
        if name in AT_STEP and number.isdigit():
            at[name] = int(number)
        elif word in PLAIN:
            plain.add(word)
        elif slow in SECONDS and time_text:
            seconds[slow] = float(time_text)
        else:
            known = ", ".join((*(f"{n}@STEP" for n in AT_STEP), *(f"{n}=SECONDS" for n in SECONDS), *PLAIN))
            raise FaultSyntaxError(f"{VARIABLE}: '{word}' is not a fault; the faults are: {known}")
    return Faults(at, frozenset(plain), seconds)
