"""A shorter start: nothing is compiled where no test looks."""

from __future__ import annotations

import gc
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

KERNELS = "bitsandbytes.backends.default.ops"
"""Its functions go through ``torch.compile`` as it is imported (:19), which loads torch's compiler: half of a start.

diffusers imports it in every training (quantizers/bitsandbytes/utils.py); nothing uses it on a CPU.
"""

gc.set_threshold(200_000)  # the 2,800 modules of a trainer set the collector off again and again: a tenth of a start


class _Uncompiled(Loader):
    def __init__(self, real: Loader) -> None:
        self.real = real

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.real.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        import torch

        real = torch.compile
        torch.compile = lambda function=None, **_: function
        try:
            self.real.exec_module(module)
        finally:
            torch.compile = real


class Finder(MetaPathFinder):
    """Finds that one module where it is."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname == KERNELS else None
        if spec is not None and spec.loader is not None:
            spec.loader = _Uncompiled(spec.loader)
        return spec
