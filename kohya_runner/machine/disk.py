"""Whether what a run writes has room where it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_runner.findings import Finding, error, warning
from kohya_runner.machine import sizes
from kohya_runner.machine.filesystems import FileSystem, find_filesystem
from kohya_runner.text import size

SMALL_ROOT = 40 * 10**9
"""A root disk up to this size is a rented container's: caches do not belong there."""
TIGHT = 0.9
"""Above this share of the free bytes the estimate's own error matters."""
GIB = 2**30


@dataclass(frozen=True, slots=True)
class DiskItem:
    """Something a run will write. ``smaller`` are recipe lines that shrink it, and its bytes with each of them."""

    what: str
    bytes: int
    path: Path
    smaller: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class DiskUse:
    """All items of one file system; ``system`` is None where the path is on none that was read."""

    system: FileSystem | None
    items: tuple[DiskItem, ...]

    @property
    def needed(self) -> int:
        return sum(item.bytes for item in self.items)

    @property
    def free(self) -> int | None:
        return self.system.free_bytes if self.system else None

    @property
    def where(self) -> str:
        return str(self.items[0].path)


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """What goes where, and what is wrong with that."""

    uses: tuple[DiskUse, ...]
    findings: tuple[Finding, ...]

    def as_json(self) -> Mapping[str, object]:
        """The ``disk`` object of ``plan --json``; ``free_bytes`` is null where any file system's is unknown."""
        free = [use.free for use in self.uses]
        items = [item for use in self.uses for item in use.items]
        return {
            "free_bytes": None if None in free else sum(value or 0 for value in free),
            "needed_bytes": sum(use.needed for use in self.uses),
            "items": [{"what": item.what, "bytes": item.bytes, "path": str(item.path)} for item in items],
            "filesystems": [
                {
                    "mount": str(use.system.mount) if use.system else None,
                    "type": use.system.kind if use.system else None,
                    "network": use.system.is_network if use.system else None,
                    "free_bytes": use.free,
                    "total_bytes": use.system.total_bytes if use.system else None,
                    "needed_bytes": use.needed,
                }
                for use in self.uses
            ],
        }


def disk_plan(items: Iterable[DiskItem], filesystems: Iterable[FileSystem]) -> DiskPlan:
    """The items summed per file system, against the room there."""
    systems = tuple(filesystems)
    groups: dict[FileSystem | None, list[DiskItem]] = {}
    for item in items:
        groups.setdefault(find_filesystem(systems, item.path), []).append(item)
    uses = tuple(DiskUse(system, tuple(found)) for system, found in groups.items())
    return DiskPlan(uses, tuple(finding for use in uses for finding in _judge(use, systems)))


def _judge(use: DiskUse, systems: tuple[FileSystem, ...]) -> tuple[Finding, ...]:
    system, free = use.system, use.free
    if use.needed == 0:
        return ()
    parts = sorted(use.items, key=lambda item: -item.bytes)
    detail = ", ".join(f"{item.what} {size(item.bytes)}" for item in parts if item.bytes)
    total = f"the run writes about {size(use.needed)} ({detail})"
    if system is None or free is None:
        why = "its quota cannot be read" if system else "its file system could not be read"
        hint = "set KOHYA_RUNNER_VOLUME_GB to the volume's size in GB" if system else "make the folder first"
        return (warning("disk.unknown", f"{total}; {why}", where=use.where, hint=hint),)
    room = f"{size(free)} free on {system.mount}"
    if system.mount == Path("/") and (system.total_bytes or SMALL_ROOT) < SMALL_ROOT:
        roomy = [s for s in systems if s is not system and (s.free_bytes or 0) > use.needed]
        place = f" (such as {roomy[0].mount})" if roomy else ""
        text = f"{total} on the small root disk ({size(system.total_bytes or 0)} in all), {room}"
        hint = f"write workspace: FOLDER, one on the big disk{place}, or set KOHYA_WORKSPACE"
        make = error if use.needed > free else warning
        return (make("disk.cache_small", text, where=use.where, hint=hint),)
    if use.needed > free:
        return (error("disk.full", f"{total}, {room}", where=use.where, hint=what_would_fit(use)),)
    if use.needed > free * TIGHT:
        left = f"{size(free - use.needed)} would be left of {size(free)} on {system.mount}"
        return (warning("disk.tight", f"{total}; {left}", where=use.where, hint=what_would_fit(use)),)
    return ()


def what_would_fit(use: DiskUse) -> str:
    """The one recipe line that makes it fit; else all of them together; else how much is missing."""
    free = use.free or 0
    shrunk = [(line, item.bytes - smaller) for item in use.items for line, smaller in item.smaller]
    for line, saved in sorted(shrunk, key=lambda pair: pair[1]):
        if use.needed - saved <= free * TIGHT:
            return f"write args.{line}: then {size(use.needed - saved)} are needed"
    best = {item: max(item.smaller, key=lambda pair: item.bytes - pair[1]) for item in use.items if item.smaller}
    least = use.needed - sum(item.bytes - smaller for item, (_, smaller) in best.items())
    if best and least <= free:
        return "write " + " and ".join(f"args.{line}" for line, _ in best.values()) + f": then {size(least)} are needed"
    missing = use.needed - free
    return f"free {size(missing)} or write workspace: FOLDER, on a bigger disk" if missing > 0 else ""


KEEP = 3
"""The number of checkpoints that a hint proposes to keep."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """So many images of one size in pixels."""

    width: int
    height: int
    images: int


def checkpoints(shape: sizes.LoraShape, count: int, folder: Path) -> DiskItem | None:
    """``count`` checkpoints that lie there at the same time; None where the family's size is not known."""
    one = sizes.lora_bytes(shape)
    if one is None:
        return None
    lines: list[tuple[str, int]] = []
    if shape.precision == "float":
        half = sizes.lora_bytes(replace(shape, precision="fp16")) or one
        lines.append(("save_precision: fp16", half * count))
    if count > KEEP + 1:  # the last file comes on top (checkpoint_io.py:60-289)
        lines.append((f"save_last_n_epochs: {KEEP}", one * (KEEP + 1)))
    if shape.dim > 1:
        dim = shape.dim // 2
        smaller = sizes.lora_bytes(replace(shape, dim=dim)) or one
        lines.append((f"network_dim: {dim}", smaller * count))
    return DiskItem("checkpoints", one * count, folder, tuple(lines))


def states(shape: sizes.LoraShape, count: int, folder: Path, *, moments: int = sizes.ADAMW_MOMENTS) -> DiskItem | None:
    """``count`` training states that lie there at the same time; None where the family's size is not known."""
    one = sizes.state_bytes(shape, moments)
    if one is None:
        return None
    lines = ((f"save_last_n_epochs_state: {KEEP}", one * (KEEP + 1)),) if count > KEEP + 1 else ()
    return DiskItem("training states", one * count, folder, lines)


def latents(
    family: str, buckets: Iterable[Bucket], folder: Path, *, flip: bool = False, alpha_mask: bool = False
) -> DiskItem | None:
    """The latent cache on disk; None where the family's size is not known."""
    each = [
        (bucket.images, sizes.latent_bytes(family, bucket.width, bucket.height, flip=flip, alpha_mask=alpha_mask))
        for bucket in buckets
    ]
    if any(size is None for _, size in each):
        return None
    total = sum(images * (size or 0) for images, size in each)
    return DiskItem("latent cache", total, folder, (("cache_latents_to_disk: false", 0),))


def texts(family: str, images: int, folder: Path, *, max_tokens: int, fp16: bool) -> DiskItem | None:
    """The text encoder cache on disk; None where the family has none."""
    one = sizes.text_bytes(family, max_tokens=max_tokens, fp16=fp16)
    if one is None:
        return None
    line = ("cache_text_encoder_outputs_to_disk: false", 0)
    return DiskItem("text encoder cache", one * images, folder, (line,))
