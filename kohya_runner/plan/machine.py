"""This machine against the plan: trainer, device, Hub and disk, read once and then judged."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kohya_runner import hub
from kohya_runner.errors import TrainerError
from kohya_runner.findings import Finding, Severity, error
from kohya_runner.machine.device_checks import MachineNeeds, TrainerFacts
from kohya_runner.machine.disk import disk_plan
from kohya_runner.plan import resume_options, space
from kohya_runner.plan.commands import commands
from kohya_runner.plan.forecast import ForecastInput, forecast
from kohya_runner.recipe.models import HUB_ID
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from kohya_runner.engine_info import EngineInfo
    from kohya_runner.engines.arguments import Command
    from kohya_runner.engines.protocol import Fetch, Models, ResolvedRecipe
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.install import probe
    from kohya_runner.install.checkout import Checkout, TrainerPython
    from kohya_runner.machine.disk import DiskItem, DiskPlan
    from kohya_runner.machine.gpus import Gpu
    from kohya_runner.machine.host import HostFacts
    from kohya_runner.machine.references import HubFile
    from kohya_runner.plan.assembly import Assembled
    from kohya_runner.plan.commands import StageCommand
    from kohya_runner.plan.forecast import Forecast
    from kohya_runner.plan.pipeline import Opened
    from kohya_runner.workspace import Workspace

    Asked = Callable[[], probe.PythonFacts | None]


@dataclass(frozen=True, slots=True)
class Reach:
    """What the Hub check needs beside the models: whether the base model is cached already, and where it is named."""

    workspace: Workspace
    environ: Mapping[str, str]
    cached: bool
    where: str
    tokenizers: str | None = None  # --tokenizer_cache_dir
    repositories: tuple[str, ...] = ()  # those of the tokenizers that the scripts fetch


@dataclass(frozen=True, slots=True)
class FoundTrainer:
    """What was found of the engine that the recipe needs."""

    checkout: Checkout | None
    python: TrainerPython | None
    engine: EngineInfo
    facts: Asked


def needs(resolved: ResolvedRecipe) -> MachineNeeds:
    """What the options ask of a machine."""
    parsed, support, recipe = resolved.parsed, resolved.support, resolved.recipe
    return MachineNeeds(
        family=support.architecture(parsed.given),
        mixed_precision=str(parsed.get("mixed_precision") or "no"),
        full_bf16=parsed.on("full_bf16"),
        full_fp16=parsed.on("full_fp16"),
        xformers=parsed.on("xformers"),
        optimizer_type=str(parsed.get("optimizer_type") or ""),
        fp8_base=support.is_lora and (parsed.on("fp8_base") or parsed.on("fp8_base_unet")),
        lora=support.is_lora,
        num_processes=recipe.launch.num_processes,
        args={**support.implied, **parsed.all()},
        hub_pipeline=isinstance(recipe.model, str) and bool(HUB_ID.match(recipe.model)),
        places={arg.name: arg.source for arg in resolved.args},
    )


def ask_trainer(python: TrainerPython | None) -> Asked:
    """Ask the trainer's Python for its packages while other things are read: another process, and a while.

    What is returned waits for the answer, and raises ``TrainerError`` where there is none.
    """
    if python is None:
        return lambda: None
    from concurrent.futures import ThreadPoolExecutor

    from kohya_runner.install import probe
    from kohya_runner.machine.checks import REQUIREMENTS

    names = tuple(dict.fromkeys((*probe.PACKAGES, *(row.package for row in REQUIREMENTS))))
    pool = ThreadPoolExecutor(1, thread_name_prefix="probe")
    answer = pool.submit(probe.probe, python.path, names)
    pool.shutdown(wait=False)
    return answer.result


def examine(need: MachineNeeds, host: HostFacts, trainer: FoundTrainer, *, deep: bool) -> tuple[Finding, ...]:
    """The machine against the needs. ``deep`` really imports torch in the trainer's Python: seconds, and certain."""
    from kohya_runner.machine.checks import machine_findings

    try:
        found = _trainer(trainer, trainer.facts(), deep=deep)
    except TrainerError as fault:
        return (error("trainer.import", fault.message, hint=fault.hint),)
    return machine_findings(need, host, found)


def _trainer(trainer: FoundTrainer, facts: probe.PythonFacts | None, *, deep: bool) -> TrainerFacts:
    from kohya_runner.install import probe
    from kohya_runner.install.setup import edited_files

    checkout, python, engine = trainer.checkout, trainer.python, trainer.engine
    found = probe.deep_probe(python.path, checkout.root, checkout.engine) if deep and python and checkout else None
    first_gpu = found.gpus[0] if found and found.gpus else None
    return TrainerFacts(
        python=python.path if python else None,
        checkout=checkout.root if checkout else None,
        commit=checkout.commit if checkout else None,
        pinned=_is_pinned(checkout),
        edited=edited_files(checkout, os.environ) if checkout else (),
        versions=facts.packages if facts else {},
        cuda=found.cuda if found else None,
        gpu_name=first_gpu.name if first_gpu else "",
        bf16=first_gpu.bf16 if first_gpu else None,
        import_error=_import_error(found) if found else "",
        engine=engine,
    )


def _is_pinned(checkout: Checkout | None) -> bool:
    """By its commit; an unpacked archive by its files."""
    from kohya_runner.options.snapshot import matches_snapshot

    if checkout is None:
        return False
    return checkout.pinned or (checkout.commit is None and matches_snapshot(checkout.root, checkout.engine))


def _import_error(found: probe.DeepFacts) -> str:
    return "; ".join(f"{name}: {found.faults[name]}" for name in found.needed if name in found.faults)


def _has_tokenizer(repo: str, cache: Path, folder: str | None) -> bool:
    """In the Hub cache, or saved by the trainer under --tokenizer_cache_dir (library/strategy_base.py:59)."""
    from kohya_runner.machine import downloads

    if folder is not None and os.path.isdir(os.path.join(folder, repo.replace("/", "_"))):  # noqa: PTH118
        return True
    return downloads.has_tokenizer(downloads.cached_files(cache, repo))


QUICK = 3.0
"""Seconds that the Hub has to answer where the run is for another machine."""


def hub_answers(
    models: Models, reach: Reach, *, seconds: float = hub.TIMEOUT
) -> tuple[tuple[Finding, ...], Mapping[Path, int]]:
    """What the Hub says about everything that is not here yet, and the sizes of the files to fetch."""
    cache = reach.workspace.cache / "huggingface" / "hub"
    wanted = [hub.HubNeed(models.base, "model", reach.where, reach.cached)] if models.kind == "hub" else []
    wanted += [hub.HubNeed(f.file.repo, "model", f.file.where, f.target.exists()) for f in models.fetches]
    if models.tokenizers is None:
        wanted += [
            hub.HubNeed(repo, "tokenizer", "", _has_tokenizer(repo, cache, reach.tokenizers))
            for repo in reach.repositories
        ]
    access = replace(hub.access(reach.environ), seconds=seconds)
    facts = hub.hub_facts([need.repo for need in wanted if not need.cached], access)
    files = {(fact.repo, name): size for fact in facts for name, size in fact.files}
    known = {f.target: files[f.file.repo, f.file.path] for f in models.fetches if (f.file.repo, f.file.path) in files}
    absent = tuple(_absent(f.file, fact) for f in models.fetches for fact in facts if _lacks(fact, f))
    return (*hub.hub_findings(wanted, facts, access), *absent), known


def _lacks(fact: hub.HubFact, fetch: Fetch) -> bool:
    """Whether the Hub listed the repository's files, of its newest commit, and this is none of them."""
    file = fetch.file
    named = fact.repo == file.repo and file.revision in (None, "main") and not fetch.target.exists()
    return named and bool(fact.files) and file.path not in dict(fact.files)


def _absent(file: HubFile, fact: hub.HubFact) -> Finding:
    hint = did_you_mean(file.path, dict(fact.files)) or f"see {hub.ENDPOINT}/{file.repo}/tree/main"
    return error("hub.missing", f"{file.repo} has no file {file.path}", where=file.where, hint=hint)


@dataclass(frozen=True, slots=True)
class OnMachine:
    """The processes of the run, and what this machine says to it; for another machine an estimate."""

    stages: tuple[StageCommand, ...]
    command: Command
    gpus: tuple[Gpu, ...] = ()
    disk: DiskPlan | None = None
    forecast: Forecast | None = None
    findings: tuple[Finding, ...] = ()
    not_checked: tuple[str, ...] = ()


OTHER = "GPU, memory, disk and trainer: the run is for another machine"
PRACTICE = "model, Hub, GPU and trainer: a practice run needs none"


def on_machine(opened: Opened, run: Assembled, facts: Asked, *, usable: bool) -> OnMachine:
    """The last stage of a plan. ``usable``: the workspace can be written to, so that its disks can be looked at."""
    request = opened.request
    host = _host(opened) if usable and not request.elsewhere else None
    stages, command = commands(opened, run, on_cpu=host is not None and not host.gpus)
    if request.elsewhere:
        answers, sizes, unasked = _hub_for_another(opened, run.resolved)
        told = _forecast(opened, run, needs(run.resolved), run.steps, host=None, argv=(), asked=not unasked)
        disk = disk_plan(_items(opened, run, sizes), ())  # its findings are of no disk
        absent = tuple(f"{path}: is not on this machine" for path in run.resolved.models.local if not path.exists())
        left = (OTHER, *unasked, *absent)
        return OnMachine(stages, command, (), disk, told, (*answers, *told.findings), left)
    if host is None:
        return OnMachine(stages, command)
    if request.practice:  # it needs the disk alone
        disk = disk_plan(_items(opened, run, {}), host.filesystems)
        return OnMachine(stages, command, host.gpus, disk, findings=disk.findings, not_checked=(PRACTICE,))
    need = needs(run.resolved)
    trainer = FoundTrainer(opened.checkout, opened.python, opened.engine.INFO, facts)
    found = examine(need, host, trainer, deep=request.deep)
    answers, sizes = hub_answers(run.resolved.models, _reach(opened, run.resolved))
    steps = resume_options.ahead(run.steps, run.series) if run.steps else None
    told = _forecast(opened, run, need, steps, host=host, argv=command.argv)
    disk = disk_plan(_items(opened, run, sizes), host.filesystems)
    every = (*found, *answers, *told.findings, *disk.findings)
    return OnMachine(stages, command, host.gpus, disk, told, every)


def _hub_for_another(
    opened: Opened, resolved: ResolvedRecipe
) -> tuple[tuple[Finding, ...], Mapping[Path, int], tuple[str, ...]]:
    """What the Hub says of the models, the sizes, and why it was not asked. The other machine may have a token."""
    reach = replace(_reach(opened, resolved), repositories=())
    answers, sizes = hub_answers(resolved.models, reach, seconds=QUICK)
    certain = hub.access(opened.environ).token is not None
    kept: list[Finding] = []
    left: list[str] = []
    for answer in answers:
        if answer.code in ("hub.offline", "hub.error"):
            left.append(f"models on the Hub: {answer.message}")
        elif answer.code == "hub.missing" and (certain or "401" not in answer.message):
            kept.append(answer)
        else:
            kept.append(replace(answer, severity=Severity.WARNING))
    return tuple(kept), sizes, tuple(left)


def _host(opened: Opened) -> HostFacts:
    from kohya_runner.machine.host import read_host

    room = opened.workspace
    return read_host((room.root, room.cache, room.datasets, room.runs, room.models), environ=opened.environ)


def _reach(opened: Opened, resolved: ResolvedRecipe) -> Reach:
    models, support, room = resolved.models, resolved.support, opened.workspace
    return Reach(
        room,
        opened.environ,
        cached=models.kind == "hub" and space.is_cached(models.base, support, room, resolved.precision),
        where=opened.loaded.where("model"),
        tokenizers=resolved.parsed.get("tokenizer_cache_dir"),
        repositories=support.tokenizers_of(resolved.parsed.given),
    )


def _forecast(  # noqa: PLR0913 - the run, and the machine that it is for
    opened: Opened,
    run: Assembled,
    need: MachineNeeds,
    steps: StepsPlan | None,
    *,
    host: HostFacts | None,
    argv: Sequence[str],
    asked: bool = True,
) -> Forecast:
    """``steps`` are those still to come; ``asked``: the Hub answers."""
    resolved = run.resolved
    subject = ForecastInput(
        opened.loaded, resolved.support, resolved.parsed, resolved.models, opened.workspace, opened.environ,
        resolved.recipe.budget, opened.request.thorough, asked,
    )  # fmt: skip
    return forecast(subject, steps, need=need, host=host, argv=argv)


def _items(opened: Opened, run: Assembled, sizes: Mapping[Path, int]) -> list[DiskItem]:
    """What the run writes; a practice run fetches nothing."""
    resolved, layout, output = run.resolved, run.arranged.layout, RunPaths(run.run_dir).output
    parsed, support = resolved.parsed, resolved.support
    items = space.disk_items(parsed, support, steps=run.steps, layout=layout, output=output) if run.steps else []
    if not opened.request.practice:
        precision = resolved.precision
        items += space.model_items(resolved.models, support, opened.workspace, precision=precision, sizes=sizes)
    return items
