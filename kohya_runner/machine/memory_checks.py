"""Whether GPU and host have the memory for a run, as far as it can be estimated, and what lowers the need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.findings import Finding, error, warning
from kohya_runner.machine import memory_use
from kohya_runner.machine.sizes import LoraShape, lora_bytes
from kohya_runner.text import size

if TYPE_CHECKING:
    from kohya_runner.machine.device_checks import MachineNeeds
    from kohya_runner.machine.host import HostFacts

MEMINFO = Path("/proc/meminfo")
LINES = 4
"""So many savings a hint names."""
FP8_USUAL = frozenset({"fp8_base", "fp8_base_unet"})
FP8_OPTIONS: Mapping[str, frozenset[str]] = {
    "hunyuan_image": FP8_USUAL | {"fp8_scaled"},
    "anima": frozenset(),  # anima_train_network.py:50
}
"""The options that put the base model into fp8, where they are others than usual."""
OLD_SPLIT_BLOCKS = 18  # flux_train_network.py:98
WIDTH = 4


@dataclass(frozen=True, slots=True)
class Load:
    """What beside the options decides: the LoRA, the pixels of the largest bucket, bytes of caches kept in memory.

    ``dtypes`` are those of the model files, by slot (``model``, ``t5xxl``), where they are known. ``trained`` are the
    trained parameters where they are no LoRA, ``whole``: they are the base model itself.
    """

    lora: LoraShape
    pixels: int
    cached: int = 0
    dtypes: Mapping[str, str] = field(default_factory=dict)
    trained: int | None = None
    whole: bool = False
    half: bool = False  # what is trained is in half precision, whatever full_bf16 says


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Estimates, what there is (None where it is not known), and what is wrong with that."""

    vram: memory_use.VramEstimate | None
    ram: memory_use.RamEstimate | None
    gpu_bytes: int | None = None
    ram_bytes: int | None = None
    findings: tuple[Finding, ...] = ()

    def __str__(self) -> str:
        parts = []
        if self.vram is not None:
            have = f" of {size(self.gpu_bytes)}" if self.gpu_bytes is not None else ""
            parts.append(f"GPU about {size(self.vram.total)}{have} ({_detail(self.vram.parts)}; {self.vram.stage})")
        if self.ram is not None:
            have = f" of {size(self.ram_bytes)}" if self.ram_bytes is not None else ""
            parts.append(f"host about {size(self.ram.total)}{have}")
        return ("estimate: " + ", ".join(parts)) if parts else ""

    def as_json(self) -> Mapping[str, object]:
        """The ``memory`` object of ``plan --json``: every number is an estimate but what the machine has."""
        gpu = self.vram
        return {
            "estimate": True,
            "vram": {
                "needed_bytes": gpu.total if gpu else None,
                "gpu_bytes": self.gpu_bytes,
                "stage": gpu.stage if gpu else None,
                "parts": dict(gpu.parts) if gpu else {},
            },
            "ram": {
                "needed_bytes": self.ram.total if self.ram else None,
                "host_bytes": self.ram_bytes,
                "parts": dict(self.ram.parts) if self.ram else {},
            },
        }


def memory_plan(needs: MachineNeeds, load: Load, host: HostFacts | None, *, swap: int = 0) -> MemoryPlan:
    """The estimates; with a host also their problems. ``swap`` are the bytes of its swap space."""
    settings = vram_settings(needs, load)
    on_gpu = host is None or bool(host.gpus)
    gpu = memory_use.estimate(settings) if on_gpu else None
    memory = memory_use.ram_estimate(settings, host_use(needs, load, settings, on_gpu=on_gpu))
    if host is None:
        return MemoryPlan(gpu, memory)
    totals = [g.total_bytes for g in host.gpus[: needs.num_processes] if g.total_bytes]
    plan = MemoryPlan(gpu, memory, min(totals, default=None), host.ram_bytes)
    found = (*_vram_findings(plan, settings, needs), *_ram_findings(plan, needs, swap))
    return MemoryPlan(gpu, memory, plan.gpu_bytes, plan.ram_bytes, found)


def swap_bytes(meminfo: Path = MEMINFO) -> int:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("SwapTotal:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return 0


def vram_settings(needs: MachineNeeds, load: Load) -> memory_use.VramSettings:
    on = frozenset(name for name, value in needs.args.items() if value is True)
    lora = load.lora  # in the precision of the training, whatever its files have
    in_float = LoraShape(lora.family, lora.dim, lora.conv_dim, "float", lora.unet, lora.text_encoder)
    return memory_use.VramSettings(
        family=needs.family,
        lora=(lora_bytes(in_float) or 0) // WIDTH if load.trained is None else load.trained,
        network=load.trained is None,
        whole=load.whole,
        pixels=load.pixels,
        batch=needs.number("train_batch_size", 1),
        precision=needs.mixed_precision,
        full_half=load.half if load.trained is not None else needs.full_bf16 or needs.full_fp16,
        fused="fused_backward_pass" in on and load.whole,
        fp8=bool(on & FP8_OPTIONS.get(needs.family, FP8_USUAL)),
        fp8_text="fp8_base" in on and "fp8_base_unet" not in on,
        gradient_checkpointing="gradient_checkpointing" in on,
        offload_checkpoints=bool(on & {"cpu_offload_checkpointing", "unsloth_offload_checkpointing"}),
        blocks_to_swap=needs.number("blocks_to_swap", OLD_SPLIT_BLOCKS if "split_mode" in on else 0),
        cache_latents=bool(on & {"cache_latents", "cache_latents_to_disk"}),
        cache_text=bool(on & {"cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk"}),
        train_text=load.lora.text_encoder,
        optimizer=needs.optimizer,
        efficient_attention=bool(on & {"sdpa", "xformers", "mem_eff_attn"}),
        no_half_vae="no_half_vae" in on,
        text_fp8=load.dtypes.get("t5xxl", "").startswith("F8") or bool({"fp8_vl", "fp8_llm"} & on),
        text_on_cpu="text_encoder_cpu" in on,
        dim=load.lora.dim,
        options=needs.options,
    )


def host_use(needs: MachineNeeds, load: Load, settings: memory_use.VramSettings, *, on_gpu: bool) -> memory_use.HostUse:
    """What beside these options decides over the host's memory."""
    trained = memory_use.estimate(settings)
    here = (memory_use.trained_label(settings), "activations")
    training = sum(trained.parts.get(part, 0) for part in here) if trained else 0
    return memory_use.HostUse(on_gpu, needs.args.get("lowram") is True, load.cached, training, load.dtypes)


def _detail(parts: Mapping[str, int]) -> str:
    largest = sorted(parts.items(), key=lambda part: -part[1])[:3]
    return ", ".join(f"{name} {size(count)}" for name, count in largest)


def _vram_findings(plan: MemoryPlan, settings: memory_use.VramSettings, needs: MachineNeeds) -> Iterator[Finding]:
    if plan.vram is None or plan.gpu_bytes is None or plan.vram.total <= plan.gpu_bytes:
        return
    text = f"{plan.vram.stage} takes about {size(plan.vram.total)} of GPU memory ({_detail(plan.vram.parts)})"
    message = f"estimate: {text}, and the GPU has {size(plan.gpu_bytes)}"
    yield warning("memory.vram", message, where=needs.place("resolution"), hint=_what_fits(settings, plan.gpu_bytes))


def _what_fits(settings: memory_use.VramSettings, room: int) -> str:
    """The lines that lower it, the largest saving first, and what is then needed."""
    from kohya_runner.machine.memory_savings import enough, savings

    found = savings(settings, room)
    if not found:
        return "use a GPU with more memory"
    taken, needed = enough(settings, found, room)
    lines = ", ".join(f"args.{saving.line} (saves {size(saving.bytes)})" for saving in taken[:LINES])
    if needed > room:
        return f"use a GPU with more memory; even with {lines} about {size(needed)} are needed"
    return f"write {lines}: then about {size(needed)} are needed"


def _ram_findings(plan: MemoryPlan, needs: MachineNeeds, swap: int) -> Iterator[Finding]:
    """An error only where the copies of the weights alone are more than all memory and swap space."""
    if plan.ram is None or plan.ram_bytes is None or plan.ram.total <= plan.ram_bytes:
        return
    sure = plan.ram.certain > plan.ram_bytes + swap
    what = f"loading the model takes {size(plan.ram.certain)} of host memory and more" if sure else (
        f"estimate: the run takes about {size(plan.ram.total)} of host memory ({_detail(plan.ram.parts)})"
    )  # fmt: skip
    message = f"{what}, and this machine has {size(plan.ram_bytes)}: the trainer would be killed"
    make = error if sure else warning
    yield make("memory.ram", message, where=needs.place("model"), hint=_less_ram(plan.ram, needs))


LOW_RAM = ("sdxl",)
"""Families whose lowram loads straight to the GPU (library/sdxl_train_util.py:48)."""
FP8_BASE = ("flux", "sd3")
"""Families whose LoRA script keeps the base model in 8 bit on the host, too."""


def _less_ram(needed: memory_use.RamEstimate, needs: MachineNeeds) -> str:
    if needed.parts.get("cached latents and texts", 0) > needed.total // 4:
        return "write args.cache_latents_to_disk: true (with cached texts args.cache_text_encoder_outputs_to_disk, too)"
    if needs.family in LOW_RAM and needs.args.get("lowram") is not True:
        return "write args.lowram: true, which loads straight to the GPU, or use a machine with more memory"
    if needs.family in FP8_BASE and not needs.fp8_base and needs.lora:
        return "write args.fp8_base: true, or use a machine with more memory"
    return "use a machine with more memory"
