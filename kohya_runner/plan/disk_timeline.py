"""How full each disk is at the run's moments: after the downloads, after the caches, at the fullest, at the end.

The fullest moment is the sum of ``DiskUse.needed``: nothing but pruned checkpoints and states is ever removed, and both
kinds are at their most in the same save, whatever the cadences (tests/engines/test_disk_peak.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.text import size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kohya_runner.engines.steps_plan import SavePlan
    from kohya_runner.machine.disk import DiskItem, DiskUse

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
        """One entry of ``disk.timeline`` in ``plan --json``."""
        return {
            "mount": self.mount or None,
            "free_bytes": self.free,
            "after_download_bytes": self.downloaded,
            "after_caching_bytes": self.cached,
            "peak_bytes": self.peak,
            "end_bytes": self.end,
        }

    def __str__(self) -> str:
        """For one row of the screen."""
        moments = [("downloads", self.downloaded), ("caches", self.cached), ("peak", self.peak), ("end", self.end)]
        return f"{self.mount or 'unknown disk'}: " + ", ".join(f"{name} {size(count)}" for name, count in moments)


def timelines(uses: Iterable[DiskUse], saves: SavePlan) -> tuple[DiskTimeline, ...]:
    """One for each disk of a plan."""
    return tuple(_timeline(use, saves) for use in uses)


def _timeline(use: DiskUse, saves: SavePlan) -> DiskTimeline:
    downloaded = _sum(item for item in use.items if item.what not in (*CACHES, *WRITTEN))
    cached = downloaded + _sum(item for item in use.items if item.what in CACHES)
    end = cached + sum(_left(item, saves) for item in use.items if item.what in WRITTEN)
    mount = str(use.system.mount) if use.system else ""
    return DiskTimeline(mount, use.free, downloaded, cached, use.needed, end)


def _sum(items: Iterable[DiskItem]) -> int:
    return sum(item.bytes for item in items)


def _left(item: DiskItem, saves: SavePlan) -> int:
    """What is still there at the end of the most that ever lay there: all files of a kind are of one size."""
    counts = {
        CHECKPOINTS: (len(saves.checkpoints_kept), saves.most_checkpoints),
        STATES: (len(saves.states_kept), saves.most_states),
    }
    kept, most = counts.get(item.what, (1, 1))
    return item.bytes * kept // most if most else 0
