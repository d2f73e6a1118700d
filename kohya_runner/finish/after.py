"""After the run: the comparison, the upload, the message, the pod. Done once, by launch, adopter or sentinel.

Nothing here changes how the run was judged, and nothing here may fail it.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from kohya_runner.artefact.file_hash import sha256
from kohya_runner.errors import RunnerError
from kohya_runner.finish import notify, runpod, sentinel
from kohya_runner.recipe.finish import Notify, Publish
from kohya_runner.record import ledger, record
from kohya_runner.record.metrics_file import read
from kohya_runner.record.record import LIVE, UNDER_WAY, Record
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.run.observers import AfterRun, Reporter
from kohya_runner.run.spending import spending
from kohya_runner.text import duration

LOOK = 0.5
NOT_PUBLISHED = "publish: not done:"


def finish(run_dir: Path, ended: Record, say: Callable[[str], None], environ: Mapping[str, str]) -> Record:
    """Do what the recipe asks for after the run, each thing once; returns the record of it.

    The lock of the run must be free: the grace period must not block a launch. Ctrl-C leaves the pod alone.
    """
    for name, action in ACTIONS:
        if ended.finish.get(name) and name not in {done.get("action") for done in ended.after}:
            try:
                said = action(run_dir, ended, say, environ)
            except RunnerError:  # a signal
                raise
            except Exception as fault:  # noqa: BLE001 - a fault of ours in one must not stop the next
                said = f"{name}: {type(fault).__name__}: {fault}"
            ended = _noted(run_dir, ended, name, said)
    return ended


def conclude(run_dir: Path, screen: Reporter, environ: Mapping[str, str], ended: Record | None = None) -> Record:
    """``finish`` with a screen. Ctrl-C during the wait keeps the pod and does not change the verdict on the run."""
    ended = ended or record.read(run_dir)
    if ended.state in UNDER_WAY:
        return ended

    def say(text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone
            screen.notice(text)

    try:
        return finish(run_dir, ended, say, environ)
    except KeyboardInterrupt:
        said = "stop_pod: the pod is not stopped: Ctrl-C"
        say(said)
        return _noted(run_dir, record.read(run_dir), "pod", said)


def open_actions(ended: Record) -> bool:
    """Whether something is still to be done after the run."""
    done = {entry.get("action") for entry in ended.after}
    return any(ended.finish.get(name) and name not in done for name, _ in ACTIONS)


def _noted(run_dir: Path, ended: Record, name: str, said: str) -> Record:
    entry = {"action": name, "at": round(time.time(), 3), "said": said}
    changed = ended.changed(after=(*ended.after, entry))
    spent = spending(run_dir, changed, read(run_dir), state=changed.state)
    changed = changed.changed(spending=dict(spent.seconds))
    try:
        record.write(run_dir, changed)
    except OSError:  # a full disk is no reason to leave the rest undone
        return changed
    return changed


def _compare(run_dir: Path, ended: Record, say: Callable[[str], None], environ: Mapping[str, str]) -> str:
    """The epoch sweep of a run that succeeded; a failure is reported and changes nothing else."""
    if ended.state != "succeeded" or ended.practice:
        why = "practice files paint nothing" if ended.practice else f"the run has {ended.state}"
        say(said := f"compare: skipped: {why}")
        return said
    from kohya_runner.compare.sweep import compare_run

    def show(line: str, *, lasting: bool) -> None:
        if lasting:
            say(f"compare: {line}")

    try:
        found = compare_run(
            run_dir, say=show, environ=environ, trainer=(ended.trainer.path or None, ended.trainer.python or None)
        )
    except (RunnerError, OSError) as fault:
        said = f"compare: not done: {str(fault).splitlines()[0]}; try again with: kohya-runner compare {ended.name}"
    else:
        failed = f" ({len(found.failed)} pictures failed)" if found.failed else ""
        said = f"compare: {found.folder}{failed}: {found.suggestion.reason}"
    say(said)
    return said


def _publish(run_dir: Path, ended: Record, say: Callable[[str], None], environ: Mapping[str, str]) -> str:
    """The upload to the Hub, of a run that succeeded; what did not arrive keeps the pod for the grace period."""
    if ended.state != "succeeded" or ended.practice:
        why = "practice files are never published" if ended.practice else f"the run has {ended.state}"
        say(said := f"publish: skipped: {why}")
        return said
    from kohya_runner.publish.publishing import publish_run

    settings = Publish.model_validate(ended.finish["publish"])
    try:
        said = "publish: " + publish_run(run_dir, settings, environ, lambda line: say(f"publish: {line}"))
    except (RunnerError, OSError) as fault:
        again = f"kohya-runner publish {shlex.quote(f'{ended.name}/{ended.run_id}')} --repo {settings.repo}"
        said = f"{NOT_PUBLISHED} {str(fault).splitlines()[0]}; try again with: {again}"
    say(said)
    return said


def _notify(_run_dir: Path, ended: Record, say: Callable[[str], None], environ: Mapping[str, str]) -> str:
    receiver = Notify.model_validate(ended.finish["notify"])
    problem = notify.send(ended, receiver, environ)
    said = f"notify ({receiver.kind}): {problem or 'sent'}"
    say(said)
    return said


def _pod(run_dir: Path, ended: Record, say: Callable[[str], None], environ: Mapping[str, str]) -> str:
    pod = runpod.this_pod(environ)
    if pod is None and not ended.practice:
        say(said := "stop_pod: this machine is not a RunPod pod ($RUNPOD_POD_ID is not set), so nothing is stopped")
        return said
    unsent = next((str(e["said"]) for e in ended.after if str(e.get("said")).startswith(NOT_PUBLISHED)), "")
    problem = unverified(run_dir, ended) or unsent
    chosen = runpod.decide(ended, problem=problem, volume=runpod.on_network_volume(environ, run_dir))
    if not chosen.action or pod is None:
        say(said := f"stop_pod: the pod is not stopped: {chosen.why}")
        return said
    if chosen.wait > 0:  # what went wrong is not to be waited for
        say(notify.text(notify.facts(ended)))
    kept = _waited(run_dir, chosen, say)
    if kept:
        say(said := f"stop_pod: the pod is not stopped: {kept}")
        return said
    say(f"{chosen.action} the pod: {chosen.why}")
    _noted(run_dir, ended, "pod.asked", f"{chosen.action}: {chosen.why}")  # the pod may be gone before the answer
    result = runpod.end(pod, chosen.action, environ=environ, say=say)
    if not result.ok:
        say(banner := runpod.banner(pod.id, chosen.action))
        with contextlib.suppress(OSError):
            RunPaths(run_dir).still_billing.write_text(banner, encoding="utf-8")
    return f"{chosen.action}: {'done' if result.ok else 'STILL BILLING'}: {'; '.join(result.said)}"


def unverified(run_dir: Path, ended: Record) -> str:
    """Why the outputs differ from the record, "" where every file has its recorded size and hash."""
    kept = [c for c in ended.checkpoints if c.complete and not c.removed]
    if ended.state == "succeeded" and ended.final not in {c.file for c in kept}:
        return f"{ended.final} is not in the record"
    for checkpoint in kept:
        path = run_dir / ended.output_dir / checkpoint.file
        try:
            if path.stat().st_size != checkpoint.bytes or sha256(path) != checkpoint.sha256:
                return f"{checkpoint.file} has changed since it was written"
        except OSError as fault:
            return f"{checkpoint.file}: {fault.strerror or fault}"
    return ""


def _waited(run_dir: Path, chosen: runpod.PodDecision, say: Callable[[str], None]) -> str:
    """Wait for the grace period; why the pod is to be kept, "" if it is not."""
    keep = RunPaths(run_dir).keep_pod
    if chosen.wait > 0:
        say(f"{chosen.why}. The pod is stopped in {duration(chosen.wait)}; keep it with: touch '{keep}'")
    until = time.monotonic() + chosen.wait
    while not keep.exists() and time.monotonic() < until:
        time.sleep(min(LOOK, max(0.01, until - time.monotonic())))
    if keep.exists():
        return f"{keep} is there"
    live = (v for v in ledger.runs(RunPaths(run_dir).runs) if v.path != run_dir and v.state in LIVE)
    return next((f"{view.name}/{view.run_id} is {view.state}" for view in live), "")  # it must not lose its pod


ACTIONS: tuple[tuple[str, Callable[..., str]], ...] = (
    ("compare", _compare), ("publish", _publish), ("notify", _notify), ("pod", _pod),
)  # fmt: skip
"""Key of ``record.finish``, and what is done. The comparison comes first: it needs the GPU, and picks what is sent."""

AFTER_RUN = AfterRun(guard=sentinel.start, conclude=conclude)  # what every command hands to ``run``
