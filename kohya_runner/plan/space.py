"""What a run will write, where and when, and how much, and what it asks of memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.dataset.survey import is_planned
from kohya_runner.engines.arguments import ParsedOptions, optimizer_of
from kohya_runner.engines.method_data import method_items, method_shape, trains_half
from kohya_runner.engines.protocol import Models
from kohya_runner.engines.rule_context import pairs
from kohya_runner.engines.support import Support
from kohya_runner.machine import disk as items
from kohya_runner.machine import downloads
from kohya_runner.machine.disk import DiskItem, DiskUse
from kohya_runner.machine.downloads import cached_files, has_pipeline
from kohya_runner.machine.memory_checks import Load
from kohya_runner.machine.memory_use import moments
from kohya_runner.machine.sizes import STAGED_TEXT, LoraShape, latent_bytes, text_bytes, text_tokens, trained_parameters
from kohya_runner.workspace import Workspace

if TYPE_CHECKING:
    from kohya_runner.artefact.model_inspection import Inspected
    from kohya_runner.dataset.layout import Layout
    from kohya_runner.engines.steps_plan import SavePlan, StepsPlan


LOG_BYTES = 20_000_000


def shape(settings: ParsedOptions, support: Support) -> LoraShape:
    network_args = dict(pairs(settings.given.get("network_args")))
    conv = network_args.get("conv_dim", "")  # as the network module would read it (networks/lora.py:454)
    return LoraShape(
        family=support.architecture(settings.given),
        dim=int(settings.get("network_dim") or 4),
        conv_dim=int(conv) if conv.strip().isascii() and conv.strip().isdecimal() else None,
        precision=settings.get("save_precision") or "float",
        text_encoder=not (settings.on("network_train_unet_only") or "network_train_unet_only" in support.implied),
        unet=not settings.on("network_train_text_encoder_only"),
        kind=PRODUCTS.get(str(settings.get("network_module")), ""),
        factor=int(network_args["factor"]) if FACTOR.fullmatch(network_args.get("factor", "")) else -1,
        tucker=network_args.get("use_tucker", "").lower() == "true",
    )


PRODUCTS = {"networks.lokr": "lokr", "networks.loha": "loha"}
"""Modules whose files are no LoRA's."""
FACTOR = re.compile(r"-?[0-9]{1,6}", re.ASCII)


def disk_items(
    settings: ParsedOptions, support: Support, *, steps: StepsPlan, layout: Layout, output: Path
) -> list[DiskItem]:
    """Checkpoints, states, cached latents and text encoder outputs, log."""
    buckets = [items.Bucket(b.width, b.height, b.images) for b in steps.buckets]
    found: list[DiskItem | None] = []
    if support.is_lora:
        lora, saves, each = shape(settings, support), steps.saves, moments(optimizer_of(settings))
        found.append(items.checkpoints(lora, saves.most_checkpoints, output))
        found.append(items.states(lora, saves.most_states, output, moments=each) if saves.most_states else None)
    else:
        found += method_items(settings, support, steps, output)
    found.append(DiskItem("log", LOG_BYTES, output.parent))
    painted = [e.image for folder in layout.folders for e in folder.entries if is_planned(e.image)]
    if painted:
        most = sum(image.bytes for image in painted)
        found.append(DiskItem("class images (at most)", most, painted[0].path.parent))
    if settings.on("cache_latents_to_disk"):
        flip, alpha = settings.on("flip_aug"), settings.on("alpha_mask")
        found.append(items.latents(support.family, buckets, layout.root, flip=flip, alpha_mask=alpha))
    if settings.on("cache_text_encoder_outputs_to_disk"):
        tokens = text_tokens(support.family, settings.get)
        fp16 = settings.get("mixed_precision") == "fp16"
        images = sum(bucket.images for bucket in buckets)
        found.append(items.texts(support.family, images, layout.root, max_tokens=tokens, fp16=fp16))
    found.append(_staged(settings, support, steps, layout) if support.stages else None)
    return [item for item in found if item is not None]


def _staged(settings: ParsedOptions, support: Support, steps: StepsPlan, layout: Layout) -> DiskItem:
    """What the stages before the training cache: latents of pictures and controls, and each caption once."""
    name, images = support.architecture(settings.given), sum(bucket.images for bucket in steps.buckets)
    each = 2 if layout.conditions else 1
    latents = sum(b.images * each * (latent_bytes(name, b.width, b.height) or 0) for b in steps.buckets)
    return DiskItem("caches", latents + images * STAGED_TEXT.get(name, 0), layout.root)


def model_items(  # noqa: PLR0913 - the models, and what is known of their files
    models: Models,
    support: Support,
    workspace: Workspace,
    *,
    precision: str,
    sizes: Mapping[Path, int],
    elsewhere: bool = False,
) -> list[DiskItem]:
    """What must still be fetched or made. ``sizes`` are those the Hub told, by target.

    ``elsewhere``: on another machine nothing is there yet, and the files of this one must be brought.
    """
    brought = [path for path in models.local if path.is_file()] if elsewhere else []
    found = [DiskItem(path.name, path.stat().st_size, path) for path in brought]
    for fetch in models.fetches:
        if elsewhere or not fetch.target.exists():
            size = sizes.get(fetch.target) or _usual(fetch.target.name, support)
            found.append(DiskItem(fetch.target.name, size, fetch.target))
    if models.kind == "hub" and (elsewhere or not is_cached(models.base, support, workspace, precision)):
        size = downloads.pipeline_bytes(support.family, precision) or 0
        found.append(DiskItem("base model", size, workspace.cache / "huggingface"))
    if models.kind == "random" and models.tokenizers is not None and (elsewhere or not models.tokenizers.exists()):
        found.append(DiskItem("random base model", downloads.RANDOM_MODELS[support.family], workspace.models))
    return found


def is_cached(repo: str, support: Support, workspace: Workspace, precision: str) -> bool:
    """Whether the trainer will find the whole base model in the workspace's Hub cache."""
    files = cached_files(workspace.cache / "huggingface" / "hub", repo)
    return has_pipeline(files, family=support.family, fp16=downloads.wants_fp16_variant(support.family, precision))


def _usual(name: str, support: Support) -> int:
    """The size of a file nobody has told us about: a component by its name, else a base model of the family."""
    part = next((size for key, size in downloads.COMPONENTS.items() if key in name.lower()), None)
    return part or downloads.SINGLE_FILES.get(support.family, 0)


def load_of(settings: ParsedOptions, support: Support, *, steps: StepsPlan, files: Iterable[Inspected] = ()) -> Load:
    """For ``memory_plan``; without pictures the largest bucket has no pixels."""
    whole = not support.is_lora
    method = method_shape(settings, support)
    lora = LoraShape(support.family, dim=0, text_encoder=method.text) if whole else shape(settings, support)
    return Load(
        lora=lora,
        trained=trained_parameters(method) if whole else None,
        whole=support.is_whole_model,
        half=whole and trains_half(settings, support),
        pixels=support.sequences * max((b.width * b.height for b in steps.buckets), default=0),
        cached=_in_memory(settings, support, steps),
        dtypes={seen.slot: seen.dtype for seen in files if seen.dtype},
    )


def _in_memory(settings: ParsedOptions, support: Support, steps: StepsPlan) -> int:
    """Bytes of cached latents and text encoder outputs that are on no disk."""
    total, family = 0, support.family
    if settings.on("cache_latents") and not settings.on("cache_latents_to_disk"):
        flip, alpha = settings.on("flip_aug"), settings.on("alpha_mask")
        each = ((b, latent_bytes(family, b.width, b.height, flip=flip, alpha_mask=alpha)) for b in steps.buckets)
        total += sum(bucket.images * (size or 0) for bucket, size in each)
    if settings.on("cache_text_encoder_outputs") and not settings.on("cache_text_encoder_outputs_to_disk"):
        tokens, fp16 = text_tokens(family, settings.get), settings.get("mixed_precision") == "fp16"
        total += sum(b.images for b in steps.buckets) * (text_bytes(family, max_tokens=tokens, fp16=fp16) or 0)
    return total


CHECKPOINTS, STATES = "checkpoints", "training states"
CACHES = ("latent cache", "text encoder cache")
WRITTEN = (CHECKPOINTS, STATES, "log")


@dataclass(frozen=True, slots=True)
class DiskTimeline:
    """Bytes that the run has put on one disk, at four moments; ``free`` is the room before it, None if unknown."""

    mount: str
    free: int | None
    downloaded: int
    cached: int
    peak: int
    end: int

    def as_json(self) -> Mapping[str, object]:
        return {
            "mount": self.mount or None,
            "free_bytes": self.free,
            "after_download_bytes": self.downloaded,
            "after_caching_bytes": self.cached,
            "peak_bytes": self.peak,
            "end_bytes": self.end,
        }


def timelines(uses: Iterable[DiskUse], saves: SavePlan) -> Iterator[DiskTimeline]:
    for use in uses:
        downloaded = sum(item.bytes for item in use.items if item.what not in (*CACHES, *WRITTEN))
        cached = downloaded + sum(item.bytes for item in use.items if item.what in CACHES)
        end = cached + sum(_left(item, saves) for item in use.items if item.what in WRITTEN)
        mount = str(use.system.mount) if use.system else ""
        yield DiskTimeline(mount, use.free, downloaded, cached, use.needed, end)


def _left(item: DiskItem, saves: SavePlan) -> int:
    """What is still there at the end of the most that ever lay there: all files of a kind are of one size."""
    counts = {
        CHECKPOINTS: (len(saves.checkpoints_kept), saves.most_checkpoints),
        STATES: (len(saves.states_kept), saves.most_states),
    }
    kept, most = counts.get(item.what, (1, 1))
    return item.bytes * kept // most if most else 0
