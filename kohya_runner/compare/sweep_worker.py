"""Paints a sweep's cells inside the trainer's own Python: one base load, one LoRA slot whose weights are swapped.

gen_img.py loads this file as its ``--from_module`` and asks ``get_prompter`` for prompt lines (gen_img.py:2170-2184,
:2732). The minimal inference scripts ask with ``input()`` in their interactive mode; for them this file is the program:

    PYTHON sweep_worker.py JOBS SCRIPT [ARGUMENTS OF THE SCRIPT]

JOBS is a JSON file: ``events`` (where to write), ``outdir``, ``swap``, ``tokenizers`` and ``cells``, a list of ``key``,
``weights`` (a file, null for the base model) and ``line``. Events are JSON lines: ``begin``, ``done`` and ``failed``.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import json
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any, cast

ALPHA = ".alpha"


class Slot:
    """One LoRA network of the trainer whose weights are exchanged; its modules stay where they were applied."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.held: str | None = ""

    def hold(self, weights: str | None) -> None:
        """Put a file's weights in; None empties the slot: zeros change no result."""
        if weights == self.held:
            return
        self.held = ""
        if weights is None:
            for parameter in self.network.parameters():
                parameter.data.zero_()
        else:
            self._load(weights)
        self.held = weights

    def _load(self, weights: str) -> None:
        import torch
        from safetensors.torch import load_file

        state = load_file(weights)
        bad = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor.float()).all())]
        if bad:
            raise ValueError(f"{len(bad)} of its {len(state)} tensors hold NaN or infinity ({bad[0]})")
        module = importlib.import_module(type(self.network).__module__)
        convert = getattr(module, "convert_diffusers_to_sai_if_needed", None)
        if convert is not None and getattr(self.network, "is_sdxl", False):
            convert(state)
        found = self.network.load_state_dict(state, strict=False)
        lacking = [name for name in found.missing_keys if not name.endswith(ALPHA)]
        if lacking or found.unexpected_keys:
            raise ValueError(f"does not fit: {len(lacking)} tensors missing, {len(found.unexpected_keys)} too many")
        self._scale({name for name in state if name.endswith(ALPHA)})

    def _scale(self, given: set[str]) -> None:
        """The scale is worked out from alpha when a module is made (networks/lora.py:75): bring it up to date."""
        loras = [*getattr(self.network, "text_encoder_loras", ()), *getattr(self.network, "unet_loras", ())]
        for lora in loras:
            alpha = getattr(lora, "alpha", None)
            if alpha is None or not hasattr(lora, "scale"):
                continue
            number = float(alpha) if lora.lora_name + ALPHA in given else float(lora.lora_dim)
            scale = (number or float(lora.lora_dim)) / lora.lora_dim
            if float(lora.scale) != scale:
                lora.scale = scale


class Work:
    """The cells, one after the other, and the lines about them."""

    def __init__(self, jobs: str) -> None:
        told = json.loads(Path(jobs).read_bytes())
        self.events = Path(told["events"])
        self.outdir = Path(told["outdir"])
        self.swap: bool = told["swap"]
        self.tokenizers: str | None = told["tokenizers"]
        self.cells: list[dict[str, Any]] = told["cells"]
        self.place = 0
        self.begun = 0.0
        self.current: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.cells)

    def tell(self, event: str, key: str, **more: Any) -> None:
        """One line, whole: it is written with one call."""
        with self.events.open("ab", buffering=0) as file:
            file.write(json.dumps({"event": event, "cell": key, **more}).encode() + b"\n")

    def next(self, slot: Slot | None) -> dict[str, Any] | None:
        """The next cell, its weights in the slot; those whose weights cannot be loaded are told and passed over."""
        while self.place < len(self.cells):
            cell = self.cells[self.place]
            self.place += 1
            self.begun = time.monotonic()
            try:
                if slot is not None and self.swap:
                    slot.hold(cell["weights"])
            except (ValueError, OSError, RuntimeError) as fault:
                self.tell("failed", cell["key"], why=f"its weights cannot be loaded: {fault}")
                continue
            self.tell("begin", cell["key"])
            self.current = cell
            return cell
        return None

    def finish(self, picture: Path | None) -> None:
        """Tell what became of the cell that was begun."""
        cell, self.current = self.current, None
        if cell is None:
            return
        seconds = round(time.monotonic() - self.begun, 3)
        if picture is None or not picture.is_file():
            self.tell("failed", cell["key"], why="the script left no picture", seconds=seconds)
        else:
            self.tell("done", cell["key"], file=str(picture), seconds=seconds)


class Prompter:
    """What gen_img.py asks for its lines."""

    def __init__(self, work: Work, slot: Slot) -> None:
        self.work = work
        self.slot = slot

    def __len__(self) -> int:
        return len(self.work)

    def __call__(self, *_: Any) -> str | None:
        """The next line; None when all is painted. The picture before it is on the disk by now (batch size 1)."""
        if self.work.current is not None:
            self.work.finish(self.work.outdir / f"{self.work.current['key']}.png")
        cell = self.work.next(self.slot)
        return None if cell is None else str(cell["line"])


def get_prompter(args: Any, _pipe: Any, networks: list[Any]) -> Prompter:
    """The hook of gen_img.py."""
    return Prompter(Work(args.prompter_module_args), Slot(networks[0]))


def answer(work: Work, _prompt: object = "") -> str:
    """What stands in for ``input()``: the next line, painted into a folder of its own.

    The minimal scripts name pictures by the second and keep their folder in ``args``, which is found in the caller.
    """
    args, networks = _caller("args", ("output_dir", "save_path")), _caller("lora_models", ("append",)) or []
    if work.current is not None:
        folder = work.outdir / work.current["key"]
        work.finish(next(iter(sorted(folder.glob("*.png"))), None))
    cell = work.next(_slot(work, networks))
    if cell is None:
        raise SystemExit(0)
    setattr(args, "output_dir" if hasattr(args, "output_dir") else "save_path", str(work.outdir / cell["key"]))
    return str(cell["line"])


def _slot(work: Work, networks: list[Any]) -> Slot | None:
    slot: Slot | None = getattr(work, "slot", None)
    if slot is None and networks:
        slot = work.slot = Slot(networks[0])  # type: ignore[attr-defined]
    return slot


def _caller(name: str, marks: tuple[str, ...]) -> Any:
    """The variable of the script that is asking: a local of a function or a global of the module."""
    frame = sys._getframe(1)  # noqa: SLF001 - the only way to a variable of a function that is running
    while frame is not None:
        value = frame.f_locals.get(name)
        if any(hasattr(value, mark) for mark in marks):
            return value
        frame = frame.f_back  # type: ignore[assignment]
    return None


def _own_tokenizers(folder: str) -> None:
    """The minimal scripts have no --tokenizer_cache_dir; their strategies take one (library/strategy_base.py:54)."""
    from library.strategy_base import TokenizeStrategy  # type: ignore[import-not-found,unused-ignore]

    real = TokenizeStrategy._load_tokenizer  # noqa: SLF001

    @functools.wraps(real)
    def load(self: Any, model_class: Any, model_id: str, subfolder: Any = None, tokenizer_cache_dir: Any = None) -> Any:
        return real(self, model_class, model_id, subfolder, tokenizer_cache_dir or folder)

    TokenizeStrategy._load_tokenizer = load  # noqa: SLF001


def main(jobs: str, script: str, *arguments: str) -> None:
    """Run a minimal inference script as its own program, with our answers to its questions."""
    work = Work(jobs)
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(script)  # noqa: PTH120 - what Python itself would put there
    cast("dict[str, Any]", sys.modules)["prompt_toolkit"] = None  # the scripts then ask with input()
    if work.tokenizers:
        _own_tokenizers(work.tokenizers)
    builtins.input = functools.partial(answer, work)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
