"""Steps that take as long as a test wants, so that a training can be met in the middle."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType


def slower_steps(module: ModuleType) -> None:
    """Both trainers tell a LossRecorder of every step (library/logging_util.py:57, utils/train_utils.py:64)."""
    seconds = float(os.environ.get("KOHYA_SHRUNK_STEP_SECONDS", "0"))
    if not seconds or getattr(module.LossRecorder.add, "slow", False):
        return
    real = module.LossRecorder.add

    def add(self: Any, **values: Any) -> None:
        time.sleep(seconds)
        real(self, **values)

    add.slow = True  # type: ignore[attr-defined]
    module.LossRecorder.add = add
