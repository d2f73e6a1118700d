"""A shorter start: nothing is compiled where no test looks."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

KERNELS = "bitsandbytes.backends.default.ops"
"""Its functions go through ``torch.compile`` as it is imported (:19), which loads torch's compiler: half of a start.

diffusers imports it in every training (quantizers/bitsandbytes/utils.py); nothing uses it on a CPU.
"""
_REAL: list[Any] = []

gc.set_threshold(200_000)  # the 2,800 modules of a trainer set the collector off again and again: a tenth of a start


def leave_uncompiled(_: ModuleType) -> None:
    import torch

    _REAL.append(torch.compile)
    torch.compile = lambda function=None, **_: function


def compile_again(_: ModuleType) -> None:
    import torch

    torch.compile = _REAL.pop()


BEFORE: dict[str, Callable[[ModuleType], None]] = {KERNELS: leave_uncompiled}
AFTER: dict[str, Callable[[ModuleType], None]] = {KERNELS: compile_again}
