"""The record of a run as it begins: everything that is known before the trainer starts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kohya_runner.dataset.layout import content_key
from kohya_runner.engines import arguments
from kohya_runner.install import probe
from kohya_runner.machine.filesystems import MEASURE_SECONDS, used_bytes
from kohya_runner.machine.host import oom_kills
from kohya_runner.plan.report import plan_json
from kohya_runner.recipe.finish import Guard
from kohya_runner.record import record
from kohya_runner.record.process_identity import this_process
from kohya_runner.record.run_paths import LOG, OUTPUT
from kohya_runner.run import checkpoints, resume_effects
from kohya_runner.text import masked

if TYPE_CHECKING:
    from kohya_runner.plan.value import Plan


def new_record(plan: Plan) -> record.Record:
    """What is known before the trainer starts."""
    described, ready, recipe = plan_json(plan), plan.ready, plan.loaded.recipe
    assert plan.support is not None  # noqa: S101 - a plan that is ready has one
    return record.Record(
        run_id=ready.run_dir.name,
        name=plan.name,
        practice=plan.request.practice,
        recipe=described["recipe"],
        argv=ready.command.argv,
        options=tuple(arguments.tokens(plan.anew)),
        epoch_steps=None if plan.engine.says_epochs else ready.steps.steps_per_epoch,
        cwd=str(ready.command.cwd),
        env=masked(ready.command.env),
        trainer=_trainer(plan),
        fingerprint=plan.fingerprint,
        dataset={**described["dataset"], "key": ready.layout.key, "content": content_key(ready.layout)},
        gpus=tuple({"name": g.name, "bytes": g.total_bytes, "driver": g.driver} for g in plan.gpus),
        findings=tuple(described["findings"]),
        log=LOG,
        output_dir=OUTPUT,
        final=ready.steps.checkpoints[-1],
        earlier=checkpoints.marks(ready.run_dir / OUTPUT),
        holds=None if plan.request.practice else plan.support.holds,
        timings=record.Timings(queued=time.time()),
        steps_planned=ready.steps.total,
        epochs_planned=ready.steps.epochs,
        guard=guard_facts(plan),
        runner=this_process(),
        rehearsal=plan.request.rehearse,
        budget=recipe.budget.model_dump(exclude_none=True) if recipe and not plan.request.rehearse else {},
        finish=recipe.finish.recorded() if recipe and not plan.request.rehearse else {},
    ).changed(**resume_effects.carried_over(plan))


def _trainer(plan: Plan) -> record.RecordedTrainer:
    if plan.request.practice or plan.checkout is None or plan.python is None:
        return record.RecordedTrainer(path="practice" if plan.request.practice else "")
    facts = probe.probe(plan.python.path)
    packages = {name: version for name, version in facts.packages.items() if version}
    return record.RecordedTrainer(
        path=str(plan.checkout.root), commit=plan.checkout.commit or "", python=str(plan.python.path),
        packages={"python": facts.python, **packages},
    )  # fmt: skip


def guard_facts(plan: Plan) -> record.Guarding:
    """The recipe's policy, and the machine as it was planned for."""
    recipe = plan.loaded.recipe
    return record.Guarding(
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
