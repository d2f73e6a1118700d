"""What the guards of a run must know, put into its record before the trainer starts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kohya_runner.machine.filesystems import MEASURE_SECONDS, used_bytes
from kohya_runner.machine.host_memory import oom_kills
from kohya_runner.recipe.limits import Guard
from kohya_runner.record.record import Guarding

if TYPE_CHECKING:
    from kohya_runner.plan.value import Plan


def begun(plan: Plan) -> Guarding:
    """The recipe's policy, and the machine as it was planned for."""
    recipe = plan.loaded.recipe
    return Guarding(
        policy=recipe.guard if recipe else Guard(),
        save_bytes=0 if plan.request.practice else _one_save(plan),
        quota_free=_quota_free(plan),
        oom_kills=oom_kills(),
    )


def _one_save(plan: Plan) -> int:
    """A checkpoint and a state, as the plan expects them; 0 where the family's sizes are not known."""
    if plan.disk is None or plan.steps is None:
        return 0
    saves = plan.steps.saves
    counts = {"checkpoints": saves.most_checkpoints, "training states": saves.most_states}
    items = [item for use in plan.disk.uses for item in use.items if counts.get(item.what)]
    return sum(item.bytes // counts[item.what] for item in items)


def _quota_free(plan: Plan) -> int | None:
    """The room on a volume whose own numbers are those of a whole cluster, where its size was declared.

    The guard takes off all that lies in the run's folder, so what a resumed run has there already counts as room.
    """
    uses = plan.disk.uses if plan.disk else ()
    use = next((u for u in uses if any(plan.workspace.runs in item.path.parents for item in u.items)), None)
    if use is None or use.free is None or use.system is None or not use.system.has_quota:
        return None
    until = time.monotonic() + MEASURE_SECONDS
    before = used_bytes(plan.ready.run_dir, until, time.monotonic) if plan.series else 0
    return None if before is None else use.free + before
