"""Whether the recipe's options work on this GPU, or without one.

What fails on a CPU was found by running the pinned trainer there (torch 2.8, accelerate 1.6.0): bf16, full_bf16 and
bitsandbytes from 0.50 on work, so they are not errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.engine_info import EngineInfo
from kohya_runner.findings import Finding, error, warning
from kohya_runner.tables import read_table
from kohya_runner.text import size

if TYPE_CHECKING:
    from kohya_runner.machine.host import Gpu, HostFacts

UNET_FAMILIES = frozenset({"sd15", "sd2", "sdxl"})
"""Families with a U-Net: ``--xformers`` acts on them (library/model_io.py:136), and fp8 weights meet GroupNorm."""


def whole(value: object, default: int) -> int:
    """A whole number, ``default`` where it is none."""
    try:
        return int(str(value)) if value is not None else default
    except ValueError:
        return default


@dataclass(frozen=True, slots=True)
class MachineNeeds:
    """What a run asks of a machine. ``args`` are the trainer's options by name, without ``--``.

    ``hub_pipeline``: the base model is a Hub id, so that the trainer itself downloads a diffusers repository.
    ``places``: where the recipe sets an option, by its name.
    """

    family: str
    mixed_precision: str = "no"
    full_bf16: bool = False
    full_fp16: bool = False
    xformers: bool = False
    optimizer_type: str = ""
    fp8_base: bool = False
    num_processes: int = 1
    lora: bool = True  # a LoRA is trained
    args: Mapping[str, object] = field(default_factory=dict)
    elsewhere: bool = False
    hub_pipeline: bool = False
    places: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()  # launch.packages
    options: frozenset[str] = frozenset()  # all that the script has, where they are known

    def place(self, option: str) -> str:
        """``file:line:column`` of an option, "" where the recipe leaves it open."""
        return self.places.get(option, "")

    def number(self, option: str, default: int) -> int:
        """The value of an option as a whole number, ``default`` where it is none."""
        return whole(self.args.get(option), default)

    @property
    def optimizer(self) -> str:
        """The optimizer as the trainer settles it (library/optimizer.py:38-53)."""
        if self.args.get("use_8bit_adam") is True:
            return "AdamW8bit"
        if self.args.get("use_lion_optimizer") is True:
            return "Lion"
        return self.optimizer_type or "AdamW"


@dataclass(frozen=True, slots=True)
class TrainerFacts:
    """What was found of the trainer. ``cuda`` is None where torch was not asked.

    ``versions``: by distribution name; None is not installed, an absent name was not looked for.
    """

    python: Path | None = None
    checkout: Path | None = None
    commit: str | None = None
    pinned: bool = False
    edited: tuple[str, ...] = ()  # files that are not those of the commit
    versions: Mapping[str, str | None] = field(default_factory=dict)
    cuda: bool | None = None
    import_error: str = ""
    engine: EngineInfo = field(kw_only=True)


PACKAGES_TABLE = read_table(Path(__file__).with_name("packages.toml"))
PACKAGE_OF: Mapping[str, str] = PACKAGES_TABLE["packages"]
"""Module -> the package of the field that has it."""
IMPORTED: Mapping[str, Mapping[str, str]] = PACKAGES_TABLE["imported"]
"""Option -> value, as a recipe writes it -> the module that it imports."""
OWN_MODULES = ("networks", "musubi_tuner", "library", "torch", "transformers", "diffusers")
"""What a value may begin with that is always there."""
CLASSES = ("optimizer_type", "lr_scheduler_type", "dataset_class")
MODULE = "import:"
"""How the trainer's Python is asked for a module, and not for a package; the answer is where it is."""
READ = ("torch", "transformers", "diffusers", "accelerate", *PACKAGE_OF)
"""Modules whose sources say what options may be."""


def named_modules(args: Mapping[str, object]) -> dict[str, str]:
    """The modules that values of options name, by their first part, and the option: all that is imported by name."""
    found = {}
    names = [("network_module", str(args.get("network_module") or ""))]
    names += [(option, text) for option in CLASSES if "." in (text := str(args.get(option) or ""))]
    for option, text in names:
        first = text.partition(".")[0]
        if first.isidentifier() and first not in OWN_MODULES:
            found[first] = option
    for option, modules in IMPORTED.items():
        value = args.get(option)
        module = modules.get("true" if value is True else str(value))
        found |= {module: option} if module else {}
    return found


def install_line(module: str, python: Path | None = None) -> str:
    """What gets a module there, as a line to paste where its package is known."""
    package = PACKAGE_OF.get(module)
    asked = package or f"PACKAGE, which is the one that has the module {module}"
    return f"run {python or 'python'} -m pip install {asked}" + ("" if package else "; or correct the name")


AMPERE = (8, 0)
BLACKWELL = (12, 0)
BLACKWELL_TORCH = (2, 7)
BITSANDBYTES_ON_CPU = (0, 50)
"""The first release whose optimizers step on CPU tensors: 0.46.1, 0.48.2 and 0.49.0 raise, 0.50.0 works."""
BUSY = 0.2


def driver(_: MachineNeeds, host: HostFacts, trainer: TrainerFacts) -> Iterator[Finding]:
    """nvidia-smi sees a GPU that torch cannot use."""
    if not host.gpus or trainer.cuda is not False:
        return
    gpu, torch = host.gpus[0], trainer.versions.get("torch") or "of unknown version"
    seen = f"nvidia-smi shows {gpu.name} with driver {gpu.driver}"
    hint = "the driver is too old for the CUDA that torch was built for: take a machine with a newer driver or "
    hint += "install a torch for an older CUDA; 'kohya-runner doctor' shows both"
    hint = "that torch is a CPU build: install the CUDA one" if "+cpu" in torch else hint
    yield error("device.driver", f"{seen}, but the trainer's torch {torch} finds no CUDA device", hint=hint)


def no_gpu(needs: MachineNeeds, host: HostFacts, trainer: TrainerFacts) -> Iterator[Finding]:
    """One error for each option that cannot run on a CPU; a warning where all of them can."""
    if host.gpus or trainer.cuda:
        return
    faults = list(_cpu_faults(needs, trainer))
    for option, why, instead in faults:
        message = f"there is no CUDA GPU here, and {why}"
        yield error("device.none", message, where=needs.place(option), hint=f"write args.{instead}, or use a GPU")
    if not faults:
        message = "there is no CUDA GPU here: training runs on the CPU, 50 to 500 times slower"
        yield warning("device.none", message, hint="use a GPU for anything but a trial")


XFORMERS_LINES = {"sdxl": "sdxl_train_network.py:74"}
EXAMPLES = "enable_xformers_memory_efficient_attention"
"""What diffusers' examples call it."""


def _cpu_faults(needs: MachineNeeds, trainer: TrainerFacts) -> Iterator[tuple[str, str, str]]:
    """(option, why it cannot run on a CPU, what to write instead)."""
    unet = needs.family in UNET_FAMILIES
    if needs.mixed_precision == "fp16" and not needs.full_fp16:
        # without autocast the fp32 LoRA meets fp16 weights: "expected m1 and m2 to have the same dtype"
        why = "accelerate has no fp16 autocast on a CPU (accelerate/accelerator.py:539; fails at networks/lora.py:98)"
        yield "mixed_precision", f"mixed_precision fp16 needs one: {why}", "mixed_precision: no"
    if needs.full_fp16:
        why = "full_fp16 needs one: it patches a gradient scaler that no CPU has (library/accelerator_setup.py:181)"
        yield "full_fp16", why, "full_fp16: false and mixed_precision: no"
    unet_only = needs.args.get("fp8_base_unet") is True
    if unet and (needs.fp8_base or unet_only):
        option = "fp8_base_unet" if unet_only else "fp8_base"
        why = f"{option} needs one: GroupNorm has no fp8 on a CPU (library/original_unet.py:467)"
        yield option, why, f"{option}: false"
    if unet and needs.xformers:
        line = XFORMERS_LINES.get(needs.family, "train_network.py:164")
        why = f"xformers needs one ({line} raises ValueError)"
        yield "xformers", why, "sdpa: true in place of args.xformers: true"
    if needs.args.get(EXAMPLES) is True:
        yield EXAMPLES, f"{EXAMPLES} needs one (train_instruct_pix2pix.py:539)", f"{EXAMPLES}: false"
    name, version = needs.optimizer.lower(), trainer.versions.get("bitsandbytes")
    uses = name.endswith("8bit") or name in {"pagedadamw", "pagedadamw32bit"}
    if uses and version is not None and numbers(version) < BITSANDBYTES_ON_CPU:
        why = f"{needs.optimizer} needs one: bitsandbytes {version} steps on GPU tensors only (0.50 and later on both)"
        yield "optimizer_type", why, "optimizer_type: AdamW"


def old_gpu(needs: MachineNeeds, host: HostFacts, _: TrainerFacts) -> Iterator[Finding]:
    """bf16 before Ampere: xformers refuses it, torch emulates it."""
    old = next((gpu for gpu in host.gpus if gpu.capability is not None and gpu.capability < AMPERE), None)
    if old is None or not (needs.mixed_precision == "bf16" or needs.full_bf16):
        return
    name = f"{old.name} (compute capability {_dotted(old)})"
    where = needs.place("mixed_precision")
    if needs.xformers and needs.family in UNET_FAMILIES:
        message = f"xformers has no bf16 on {name}: it needs 8.0 or more (xformers/ops/fmha/common.py:480)"
        hint = "write args.mixed_precision: fp16, or args.sdpa: true for xformers"
        yield error("device.bf16", message, where=where, hint=hint)
    else:
        message = f"{name} has no bf16 of its own: torch emulates it, slowly"
        yield warning("device.bf16", message, where=where, hint="write args.mixed_precision: fp16")


def new_gpu(_: MachineNeeds, host: HostFacts, trainer: TrainerFacts) -> Iterator[Finding]:
    """Blackwell needs torch 2.7 with CUDA 12.8; older wheels stop at "no kernel image is available"."""
    torch = trainer.versions.get("torch")
    new = next((gpu for gpu in host.gpus if gpu.capability is not None and gpu.capability >= BLACKWELL), None)
    if new is not None and torch is not None and numbers(torch) < BLACKWELL_TORCH:
        message = f"{new.name} (compute capability {_dotted(new)}) needs torch 2.7 or later; this is {torch}"
        yield warning("device.torch", message, hint="install torch 2.8 for CUDA 12.8: 'kohya-runner setup'")


def count(needs: MachineNeeds, host: HostFacts, _: TrainerFacts) -> Iterator[Finding]:
    """Every process takes a GPU of its own."""
    if host.gpus and needs.num_processes > len(host.gpus):
        message = f"launch.num_processes is {needs.num_processes}, but {len(host.gpus)} GPU(s) can be used here"
        hint = f"write num_processes: {len(host.gpus)}"
        yield error("device.count", message, where=needs.place("num_processes"), hint=hint)


def busy(_: MachineNeeds, host: HostFacts, __: TrainerFacts) -> Iterator[Finding]:
    """Another process holds a good part of the GPU's memory."""
    for gpu in host.gpus:
        if gpu.total_bytes and gpu.used_bytes and gpu.used_bytes > gpu.total_bytes * BUSY:
            message = f"{gpu.name}: {size(gpu.used_bytes)} of {size(gpu.total_bytes)} are in use already"
            yield warning("device.busy", message, hint="nvidia-smi shows by whom; a run left over?")


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: (2, 8, 0) of ``2.8.0+cu128``."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _dotted(gpu: Gpu) -> str:
    return ".".join(map(str, gpu.capability or ()))
