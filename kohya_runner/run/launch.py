"""From a plan without errors to a judged run: the effects, in the order in which they may fail."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_runner import errors, hub
from kohya_runner.dataset.layout import content_key
from kohya_runner.diagnosis.diagnose import explained
from kohya_runner.diagnosis.progress import STAGE, STARTING
from kohya_runner.engines import arguments
from kohya_runner.install import probe
from kohya_runner.machine.filesystems import MEASURE_SECONDS, used_bytes
from kohya_runner.machine.host import oom_kills
from kohya_runner.plan.report import plan_json
from kohya_runner.plan.value import Plan
from kohya_runner.recipe.finish import Guard
from kohya_runner.record import ledger, lock, record
from kohya_runner.record.process_identity import ProcessId, this_process
from kohya_runner.record.record import LIVE
from kohya_runner.record.run_paths import LOG, OUTPUT, RunPaths, claim
from kohya_runner.run import checkpoints, class_painting, prepare, resume_effects
from kohya_runner.run.nodes.station import ON_ITS_OWN, Station, WorldWatch
from kohya_runner.run.observers import AfterRun, Reporter, observers
from kohya_runner.run.recorder import Recorder
from kohya_runner.run.supervise import Outcome, Watch, supervise
from kohya_runner.text import masked, package_name


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
        timings=record.Timings(queued=time.time(), **_told(os.environ)),
        steps_planned=ready.steps.total,
        epochs_planned=ready.steps.epochs,
        guard=guard_facts(plan),
        runner=this_process(),
        rehearsal=plan.request.rehearse,
        budget=recipe.budget.model_dump(exclude_none=True) if recipe and not plan.request.rehearse else {},
        finish=recipe.finish.recorded() if recipe and not plan.request.rehearse else {},
    ).changed(**resume_effects.carried_over(plan))


BEGAN, INSTALLED = "KOHYA_RUNNER_BEGAN", "KOHYA_RUNNER_INSTALLED"  # seconds since 1970, from start_training.sh


def _told(environ: Mapping[str, str]) -> dict[str, float]:
    """What start_training.sh knows of the time before the launch."""
    told = {"began": environ.get(BEGAN, ""), "installed": environ.get(INSTALLED, "")}
    return {name: float(value) for name, value in told.items() if value.isascii() and value.isdecimal()}


def _trainer(plan: Plan) -> record.RecordedTrainer:
    if plan.request.practice or plan.checkout is None or plan.python is None:
        return record.RecordedTrainer(path="practice" if plan.request.practice else "")
    own = plan.loaded.recipe.launch.packages if plan.loaded.recipe else ()
    facts = probe.probe(plan.python.path, (*probe.PACKAGES, *map(package_name, own)))
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


CACHES_KEPT = "using the caches of an earlier launch"


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do about an earlier run of the same recipe, data and trainer."""

    once: bool = False  # it counts as done
    again: bool = False  # train once more
    station: Station = ON_ITS_OWN  # where several machines train together
    on_claim: Callable[[Path], None] = lambda _: None  # told the run's folder once it is this run's own


def run(
    plan: Plan, policy: Policy, screen: Reporter, after: AfterRun, environ: Mapping[str, str] | None = None
) -> record.Record:
    """Prepare, start, watch and judge; the record of a run that succeeded.

    Raises:
        RunExistsError: this run is going on, or was done before and ``policy`` says nothing about it.
        TrainingFailedError, NoCheckpointError, CancelledError, TerminatedError: how it ended otherwise.
    """
    env = dict(os.environ if environ is None else environ)
    plan = class_painting.with_class_images(plan, screen, env)
    known = ledger.runs(plan.workspace.runs)
    done = ledger.done_before(known, plan.name, plan.fingerprint)
    if done is not None and not policy.again:
        return _already(done, screen, once=policy.once)
    if plan.series is not None and not policy.again:
        resume_effects.refuse_to_repeat(plan.series)
    if plan.series is None and plan.request.resume and not policy.again:
        resume_effects.refuse_to_begin_again(plan)
    live = next((view for view in known if view.name == plan.name and view.state in LIVE), None)
    if live is not None:  # its lock may have been lost
        hint = f"watch it with: kohya-runner status {live.name}; end it with: kohya-runner stop {live.name}"
        raise errors.RunExistsError(f"{live.name}: run {live.run_id} is still running", hint=hint)
    try:
        return _claimed(plan, policy, screen, after, env)
    except OSError as fault:
        where = fault.filename or plan.ready.run_dir
        message = f"{where}: {fault.strerror or fault}"
        raise errors.PreflightError(message, hint="free some space, or choose another --workspace") from fault


def _claimed(plan: Plan, policy: Policy, screen: Reporter, after: AfterRun, env: Mapping[str, str]) -> record.Record:
    """The run's own folder and its name, held while it goes on."""
    run_dir, series = plan.ready.run_dir, plan.series
    if series is None and not claim(run_dir):
        raise errors.RunExistsError(f"{run_dir} was taken by another launch a moment ago", hint="launch again")
    try:
        lock.take(run_dir.parent, run_dir.name)
    except (errors.RunExistsError, OSError):
        if series is None:
            run_dir.rmdir()
        raise
    try:
        policy.on_claim(run_dir)
        if series is not None:
            resume_effects.prepare_folder(series, screen)
        final = _locked(plan, policy.station, screen, after, env)
    except (errors.RunnerError, OSError):
        lock.release(run_dir.parent, run_dir.name)
        if RunPaths(run_dir).record.exists() and record.read(run_dir).runner == this_process():  # not one to resume
            after.conclude(run_dir, screen, env, None)
        else:  # it ended before there was a run
            with contextlib.suppress(OSError):
                run_dir.rmdir()
        raise
    finally:
        lock.release(run_dir.parent, run_dir.name)
    return _judged(plan, after.conclude(run_dir, screen, env, final))


def _already(view: ledger.RunView, screen: Reporter, *, once: bool) -> record.Record:
    assert view.record is not None  # noqa: S101 - found by its record
    if once:
        screen.event("done before, with the same recipe, data and trainer: nothing to do", lasting=True)
        return view.record
    output = view.path / view.record.output_dir
    message = f"this run was done before, with the same recipe, data and trainer: {output / view.record.final}"
    raise errors.RunExistsError(message, hint="change something, or train once more with --again")


def _locked(plan: Plan, station: Station, screen: Reporter, after: AfterRun, env: Mapping[str, str]) -> record.Record:
    begun = new_record(plan)
    resume_effects.begin_attempt(plan, begun)
    recorder = Recorder(plan.ready.run_dir, begun)
    try:
        prepare.described(plan)
        recorder.fetched(_prepare(plan, screen, env))
        after.guard(plan.ready.run_dir, recorder.now, env)
        outcome = _supervise(plan, recorder, station, screen, env)
    except (errors.RunnerError, OSError, KeyboardInterrupt) as fault:
        stopped = isinstance(fault, (KeyboardInterrupt, errors.TerminatedError, errors.CancelledError))
        recorder.abandoned(str(fault) or "SIGINT", stopped=stopped)
        raise
    for why in station.last_words() if outcome.returncode and not outcome.stopped else ():
        recorder.note("node.ended", why)
    final = recorder.finish(outcome)
    kind = record.ended_as(final)
    station.say(code=kind.exit_code if kind else 0, why=record.why_ended(final))
    for note in (note for note in final.notes if note.code.startswith(("checkpoint.", "watch.", "node."))):
        screen.event(f"WARNING {note.code}: {note.text}", lasting=True)
    return final


def _prepare(plan: Plan, screen: Reporter, env: Mapping[str, str]) -> float:
    """The seconds that went to the model files."""
    prepare.folders(plan)
    begun = time.monotonic()
    if not plan.request.practice:
        prepare.models(plan, env, screen.event)
    fetching = time.monotonic() - begun
    prepare.dataset(plan.ready.layout, prepare.in_use(ledger.runs(plan.workspace.runs)), screen.event)
    prepare.files(plan)
    prepare.prompts(plan)
    return fetching


def _supervise(plan: Plan, recorder: Recorder, station: Station, screen: Reporter, env: Mapping[str, str]) -> Outcome:
    folder, run_id = plan.ready.run_dir.parent, plan.ready.run_dir.name

    def started(process: ProcessId) -> None:
        recorder.started(process)
        lock.add_owner(folder, run_id, process)
        world.started(process)

    log = plan.ready.run_dir / recorder.now.log
    world = WorldWatch(plan.ready.command, log, station.place, plan.world)
    watching = (*observers(recorder, screen), world, station)
    watch = Watch(log, RunPaths(plan.ready.run_dir).output, watching, started, before=recorder.now.before)
    screen.event(f"run {plan.name}/{run_id}: log in {log}", lasting=True)
    token = hub.access(env).token  # of the home folder: HF_HOME will point elsewhere
    return _all_stages(plan, watch, station, {**env, "HF_TOKEN": token} if token and not env.get("HF_TOKEN") else env)


def _all_stages(plan: Plan, watch: Watch, station: Station, environ: Mapping[str, str]) -> Outcome:
    """Every stage, then the training, in one log; a stage that fails or is stopped is the outcome of the run."""
    begun = time.time()
    heading = f"{STAGE}{STARTING}" if plan.stages else ""
    if plan.stages and prepare.caches_are_current(plan):
        heading = f"{STAGE}{CACHES_KEPT}\n{heading}"
    elif plan.stages:
        prepare.invalidate_caches(plan)
        for stage in plan.stages:
            outcome = supervise(stage.command, watch, environ=environ, heading=f"{STAGE}{stage.phase}")
            if outcome.returncode != 0 or outcome.stopped:
                return replace(outcome, started=begun)
        prepare.write_cache_manifest(plan)
    station.begin(plan.ready.command, watch.log, plan.world)
    return replace(supervise(plan.ready.command, watch, environ=environ, heading=heading), started=begun)


def _judged(plan: Plan, final: record.Record) -> record.Record:
    """The record of a success, or the error that the run's end is."""
    why = final.exit.why if final.exit else ""
    kept = [c.file for c in final.checkpoints if c.usable]
    hint = (
        f"kept: {len(kept)} checkpoint(s) in {RunPaths(plan.ready.run_dir).output}, the last good one is {kept[-1]}"
        if kept
        else f"the whole log: {plan.ready.run_dir / final.log}"
    )
    kind = record.ended_as(final)
    if kind is None:
        return final
    if final.state == "stopped":
        raise kind(record.why_ended(final), hint=hint)
    if kind is errors.StalledError:
        raise kind(f"stopped at step {final.steps_seen}: {why}", hint=hint)
    if kind is errors.NoCheckpointError:
        raise kind(f"the trainer exited with 0 but left no usable LoRA: {why}", hint=hint)
    raise kind(f"{why}\n{explained(plan.ready.run_dir, final)}", hint=hint)
