"""Paints a sweep's cells inside the trainer's own Python: one base load, one LoRA slot whose weights are swapped.

    PYTHON paint_worker.py JOBS SCRIPT [ARGUMENTS OF THE SCRIPT]

gen_img.py also loads this file as its ``--from_module`` and asks ``get_prompter`` for prompt lines (gen_img.py:2170,
:2732). The minimal inference scripts ask with ``input()`` in their interactive mode.

JOBS is a JSON file: ``events`` (where to write), ``outdir``, ``merged``, ``tokenizers`` and ``cells``, a list of
``key``, ``weights`` (a file, null for the base model), ``strength`` and ``line``. Events are JSON lines: ``begin``,
``done`` and ``failed``.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import gc
import importlib
import json
import os
import runpy
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn, cast

ALPHA = ".alpha"


class Slot:
    """One LoRA network of the trainer whose weights are exchanged; its modules stay where they were applied."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.held: str | None = ""

    def hold(self, weights: str | None, _strength: float) -> None:
        """Put a file's weights in; None empties the slot: zeros change no result. The line says the strength."""
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
        state = read(weights)
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


class Merged:
    """A script that merges a LoRA while it loads its models: those are loaded again by its own code, the rest stays.

    hunyuan_image_minimal_inference.py and anima_minimal_inference.py keep what they have loaded in ``shared_models``
    and load the transformer when it is not there. Anima's LoRA also goes into ``text_encoder``, and so into what it
    has said of prompts; HunyuanImage's encoders have other names and stay. musubi-tuner's scripts do the same, and
    leave T5 in training mode (src/musubi_tuner/flux/flux_utils.py:359): with its dropout every reading of a prompt
    would be another one.
    """

    def __init__(self, args: Any, shared: dict[str, Any], load_shared: Any) -> None:
        self.args = args
        self.shared = shared
        self.load_shared = load_shared
        for model in shared.values():
            getattr(model, "eval", int)()
        first = args.lora_weight
        self.held = (first[0], float(args.lora_multiplier[0])) if first else (None, 0.0)
        self.sound: set[str] = set()

    def hold(self, weights: str | None, strength: float) -> None:
        """Let the next picture be painted with a file merged in, or with the base model alone."""
        wanted = (weights, strength if weights else 0.0)
        if weights and weights not in self.sound:
            read(weights)
            self.sound.add(weights)
        if wanted == self.held:
            return
        self.args.lora_weight = [weights] if weights else None
        self.args.lora_multiplier = [strength]
        self.shared.pop("model", None)
        if "text_encoder" in self.shared and "musubi_tuner" not in sys.modules:  # its LoRAs are the model's alone
            self.shared.pop("text_encoder")
            self.shared.update(self.load_shared(self.args), conds_cache={})
        gc.collect()
        self.held = wanted


def read(weights: str) -> dict[str, Any]:
    """The tensors of a file, none of which may be NaN or infinite."""
    import torch
    from safetensors.torch import load_file

    state: dict[str, Any] = load_file(weights)
    bad = [name for name, tensor in state.items() if not bool(torch.isfinite(tensor.float()).all())]
    if bad:
        raise ValueError(f"{len(bad)} of its {len(state)} tensors hold NaN or infinity ({bad[0]})")
    return state


class PaintWork:
    """The cells, one after the other, and the lines about them."""

    def __init__(self, jobs: str) -> None:
        told = json.loads(Path(jobs).read_bytes())
        self.events = Path(told["events"])
        self.outdir = Path(told["outdir"])
        self.merged: bool = told["merged"]
        self.tokenizers: str | None = told["tokenizers"]
        self.cells: list[dict[str, Any]] = told["cells"]
        self.place = 0
        self.begun = 0.0
        self.current: dict[str, Any] | None = None
        self.slot: Slot | Merged | None = None

    def __len__(self) -> int:
        return len(self.cells)

    def tell(self, event: str, key: str, **more: Any) -> None:
        """One line, whole: it is written with one call."""
        with self.events.open("ab", buffering=0) as file:
            file.write(json.dumps({"event": event, "cell": key, **more}).encode() + b"\n")

    def next(self) -> dict[str, Any] | None:
        """The next cell, its weights in the slot; those whose weights cannot be loaded are told and passed over."""
        while self.place < len(self.cells):
            cell = self.cells[self.place]
            self.place += 1
            self.begun = time.monotonic()
            try:
                if self.slot is not None:
                    self.slot.hold(cell["weights"], cell["strength"])
            except (ValueError, OSError, RuntimeError) as fault:
                self.tell("failed", cell["key"], why=f"its weights cannot be loaded: {fault}")
                continue
            self.tell("begin", cell["key"])
            self.current = cell
            return cell
        return None

    def finish(self, picture: Path | None) -> None:
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

    def __init__(self, work: PaintWork, slot: Slot) -> None:
        self.work = work
        work.slot = slot

    def __len__(self) -> int:
        return len(self.work)

    def __call__(self, *_: Any) -> str | None:
        """The next line; None when all is painted. The picture before it is on the disk by now (batch size 1)."""
        if self.work.current is not None:
            self.work.finish(self.work.outdir / f"{self.work.current['key']}.png")
        cell = self.work.next()
        return str(cell["line"]) if cell is not None else end()


def get_prompter(args: Any, _pipe: Any, networks: list[Any]) -> Prompter:
    return Prompter(PaintWork(args.prompter_module_args), Slot(networks[0]))


def answer(work: PaintWork, _prompt: object = "") -> str:
    """What stands in for ``input()``: the next line, painted into a folder of its own.

    The minimal scripts name pictures by the second and keep their folder in ``args``, which is found in the caller.
    """
    args = _caller("args", ("output_dir", "save_path"))
    if work.current is not None:
        folder = work.outdir / work.current["key"]
        work.finish(next(iter(sorted(folder.glob("*.png"))), None))
    work.slot = work.slot or _slot(work, args)
    cell = work.next()
    if cell is None:
        end()
    setattr(args, "output_dir" if hasattr(args, "output_dir") else "save_path", str(work.outdir / cell["key"]))
    return str(cell["line"])


def end() -> NoReturn:
    """All is painted and on the disk: to take models of gigabytes apart in order takes seconds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _slot(work: PaintWork, args: Any) -> Slot | Merged | None:
    if work.merged:
        shared = _caller("shared_models", ("update",))  # none of Krea 2's, which gets a process for each LoRA
        return Merged(args, {} if shared is None else shared, _caller("load_shared_models", ("__call__",)))
    networks = _caller("lora_models", ("append",))
    return Slot(networks[0]) if networks else None


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
    """The minimal scripts have no --tokenizer_cache_dir; their strategies take one (library/strategy_base.py:52)."""
    from library.strategy_base import TokenizeStrategy  # type: ignore[import-not-found,unused-ignore]

    real = TokenizeStrategy._load_tokenizer  # noqa: SLF001

    @functools.wraps(real)
    def load(self: Any, model_class: Any, model_id: str, subfolder: Any = None, tokenizer_cache_dir: Any = None) -> Any:
        return real(self, model_class, model_id, subfolder, tokenizer_cache_dir or folder)

    TokenizeStrategy._load_tokenizer = load  # noqa: SLF001


def _own_gemma_tokenizer(folder: str) -> None:
    """Lumina's strategy takes the folder for a Hub cache (library/strategy_lumina.py:32), as the training did."""
    from library.strategy_lumina import LuminaTokenizeStrategy  # type: ignore[import-not-found,unused-ignore]

    real = LuminaTokenizeStrategy.__init__

    def init(self: Any, system_prompt: str, max_length: Any, tokenizer_cache_dir: Any = None) -> None:
        real(self, system_prompt, max_length, tokenizer_cache_dir or folder)

    LuminaTokenizeStrategy.__init__ = init


def _without_first_weights() -> None:
    """Models are made without random weights: gen_img.py loads them strictly (library/model_util.py:1010), we LoRAs."""
    with contextlib.suppress(ImportError):
        from torch.nn import init

        for name in ("kaiming_uniform_", "normal_", "uniform_"):
            setattr(init, name, lambda tensor, *_, **__: tensor)


def _stop(*_: object) -> None:
    """The scripts would go on with the next prompt after a KeyboardInterrupt."""
    raise SystemExit(130)


def main(jobs: str, script: str, *arguments: str) -> None:
    """Run a minimal inference script as its own program, with our answers to its questions."""
    work = PaintWork(jobs)
    sys.argv = [script, *arguments]
    sys.path[0] = os.path.dirname(script)  # noqa: PTH120 - what Python itself would put there
    cast("dict[str, Any]", sys.modules)["prompt_toolkit"] = None  # the scripts then ask with input()
    if os.path.basename(script) == "gen_img.py":  # noqa: PTH119
        _without_first_weights()
    elif work.tokenizers:
        (_own_gemma_tokenizer if "lumina" in os.path.basename(script) else _own_tokenizers)(work.tokenizers)  # noqa: PTH119
    signal.signal(signal.SIGINT, _stop)
    builtins.input = functools.partial(answer, work)
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
