"""The processes of a run, one after the other under one watch: the first that does not end well is the run's end."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from kohya_runner.diagnosis.progress import STAGE, STARTING
from kohya_runner.run import cache_manifest
from kohya_runner.run.supervise import supervise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kohya_runner.plan.value import Plan
    from kohya_runner.run.outcome import Outcome
    from kohya_runner.run.supervise import Watch

KEPT = "taking the caches of an earlier launch"


def supervised(plan: Plan, watch: Watch, environ: Mapping[str, str]) -> Outcome:
    """Every stage, then the training, in one log; a stage that fails or is stopped is the outcome of the run."""
    begun = time.time()
    heading = f"{STAGE}{STARTING}" if plan.stages else ""
    if plan.stages and cache_manifest.kept(plan):
        heading = f"{STAGE}{KEPT}\n{heading}"
    elif plan.stages:
        cache_manifest.begin(plan)
        for stage in plan.stages:
            outcome = supervise(stage.command, watch, environ=environ, heading=f"{STAGE}{stage.phase}")
            if outcome.returncode != 0 or outcome.stopped:
                return replace(outcome, started=begun)
        cache_manifest.note(plan)
    return replace(supervise(plan.ready.command, watch, environ=environ, heading=heading), started=begun)
