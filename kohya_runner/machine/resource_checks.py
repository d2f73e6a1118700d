"""Memory and downloads that a recipe costs without saying so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.findings import Finding, info, warning
from kohya_runner.machine.downloads import FP16_VARIANTS, SINGLE_FILES, pipeline_bytes, wants_fp16_variant
from kohya_runner.machine.memory.sizes import latent_bytes
from kohya_runner.text import size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kohya_runner.machine.host import HostFacts
    from kohya_runner.machine.needs import MachineNeeds, TrainerFacts

PREFETCH = 2
"""Batches that every worker of torch's DataLoader holds ready; the trainer leaves this default."""
WORKERS = 8
SIDE = 512
IMAGE_BYTES = 3 * 4
"""Three float32 channels per pixel."""
SDXL_FILE = "hf://stabilityai/stable-diffusion-xl-base-1.0/sd_xl_base_1.0.safetensors"


def shared_memory(needs: MachineNeeds, host: HostFacts, _: TrainerFacts) -> Iterator[Finding]:
    """Workers hand their batches over in /dev/shm, which a container often limits to 64 MB."""
    workers = min(_number(needs.args.get("max_data_loader_n_workers"), WORKERS), host.cpus)  # train_network.py:778
    batch = _number(needs.args.get("train_batch_size"), 1)
    expected = workers * PREFETCH * batch * _example_bytes(needs)
    if host.shm_free_bytes is not None and expected > host.shm_free_bytes:
        message = (
            f"max_data_loader_n_workers: {workers} workers hold about {size(expected)} of batches in /dev/shm, "
            f"which has {size(host.shm_free_bytes)} free: the run can die with a bus error"
        )
        hint = "write max_data_loader_n_workers: 0, or start the container with a larger --shm-size"
        yield warning("memory.shm", message, where=needs.place("max_data_loader_n_workers"), hint=hint)


def full_precision_download(needs: MachineNeeds, _: HostFacts, __: TrainerFacts) -> Iterator[Finding]:
    """The trainer asks for SDXL's half-size files with mixed_precision fp16 alone (library/sdxl_train_util.py:89)."""
    if (
        not needs.hub_pipeline
        or needs.family not in FP16_VARIANTS
        or wants_fp16_variant(needs.family, needs.mixed_precision)
    ):
        return
    count = pipeline_bytes(needs.family, needs.mixed_precision) or 0
    message = (
        f"model: as a Hub id costs a download of about {size(count)} with mixed_precision {needs.mixed_precision}, "
        "the float32 files (library/sdxl_train_util.py:89)"
    )
    hint = f"its single file has {size(SINGLE_FILES['sdxl'])}: {SDXL_FILE} for the official base model"
    yield info("disk.download", message, where=needs.place("model"), hint=hint)


def _example_bytes(needs: MachineNeeds) -> int:
    """One image of a batch: its latents where they are cached, else its pixels."""
    width, height = _resolution(needs.args.get("resolution"))
    cached = needs.args.get("cache_latents") is True or needs.args.get("cache_latents_to_disk") is True
    latents = latent_bytes(needs.family, width, height) if cached else None
    return latents if latents is not None else width * height * IMAGE_BYTES


def _resolution(value: object) -> tuple[int, int]:
    """512, "1024,768" or [1024, 768] as width and height."""
    parts = value if isinstance(value, (list, tuple)) else str(value or SIDE).split(",")
    sides = [_number(part, SIDE) for part in parts] or [SIDE]
    return sides[0], sides[-1]


def _number(value: object, default: int) -> int:
    try:
        return int(str(value)) if value is not None else default
    except ValueError:
        return default
