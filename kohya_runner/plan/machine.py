"""This machine against the plan: trainer, device, Hub and disk, read once and then judged."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner import hub
from kohya_runner.errors import TrainerError
from kohya_runner.findings import Finding, error
from kohya_runner.install import probe
from kohya_runner.machine import downloads
from kohya_runner.machine.checks import REQUIREMENTS, machine_findings
from kohya_runner.machine.needs import MachineNeeds, TrainerFacts
from kohya_runner.options.lookup import matches_snapshot
from kohya_runner.recipe.reference import HUB_ID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from kohya_runner.engine_info import EngineInfo
    from kohya_runner.engines.arguments import Arg
    from kohya_runner.engines.settings import Settings
    from kohya_runner.engines.support import Support
    from kohya_runner.install.checkout import Checkout, TrainerPython
    from kohya_runner.machine.host import HostFacts
    from kohya_runner.plan.models import Models
    from kohya_runner.recipe.models import Recipe
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
class Trainer:
    """What was found of the engine that the recipe needs."""

    checkout: Checkout | None
    python: TrainerPython | None
    engine: EngineInfo
    facts: Asked


def needs(settings: Settings, support: Support, *, args: Iterable[Arg], recipe: Recipe) -> MachineNeeds:
    """What the options ask of a machine."""
    return MachineNeeds(
        family=support.architecture(settings.given),
        mixed_precision=str(settings.get("mixed_precision") or "no"),
        full_bf16=settings.on("full_bf16"),
        full_fp16=settings.on("full_fp16"),
        xformers=settings.on("xformers"),
        optimizer_type=str(settings.get("optimizer_type") or ""),
        fp8_base=support.output == "lora" and (settings.on("fp8_base") or settings.on("fp8_base_unet")),
        lora=support.output == "lora",
        num_processes=recipe.launch.num_processes,
        args={**support.implied, **settings.all()},
        hub_pipeline=isinstance(recipe.model, str) and bool(HUB_ID.match(recipe.model)),
        places={arg.name: arg.source for arg in args},
    )


def asked(python: TrainerPython | None) -> Asked:
    """Ask the trainer's Python for its packages while other things are read: another process, and a while.

    What is returned waits for the answer, and raises ``TrainerError`` where there is none.
    """
    if python is None:
        return lambda: None
    names = tuple(dict.fromkeys((*probe.PACKAGES, *(row.package for row in REQUIREMENTS))))
    pool = ThreadPoolExecutor(1, thread_name_prefix="probe")
    answer = pool.submit(probe.probe, python.path, names)
    pool.shutdown(wait=False)
    return answer.result


def examine(need: MachineNeeds, host: HostFacts, trainer: Trainer, *, deep: bool) -> tuple[Finding, ...]:
    """The machine against the needs. ``deep`` really imports torch in the trainer's Python: seconds, and certain."""
    try:
        found = _trainer(trainer, trainer.facts(), deep=deep)
    except TrainerError as fault:
        return (error("trainer.import", fault.message, hint=fault.hint),)
    return machine_findings(need, host, found)


def _trainer(trainer: Trainer, facts: probe.PythonFacts | None, *, deep: bool) -> TrainerFacts:
    checkout, python, engine = trainer.checkout, trainer.python, trainer.engine
    found = probe.deep_probe(python.path, checkout.root, checkout.engine) if deep and python and checkout else None
    first_gpu = found.gpus[0] if found and found.gpus else None
    return TrainerFacts(
        python=python.path if python else None,
        checkout=checkout.root if checkout else None,
        commit=checkout.commit if checkout else None,
        pinned=_is_pinned(checkout),
        versions=facts.packages if facts else {},
        cuda=found.cuda if found else None,
        gpu_name=first_gpu.name if first_gpu else "",
        bf16=first_gpu.bf16 if first_gpu else None,
        import_error=_import_error(found) if found else "",
        engine=engine,
    )


def _is_pinned(checkout: Checkout | None) -> bool:
    """By its commit; an unpacked archive by its files."""
    if checkout is None:
        return False
    return checkout.pinned or (checkout.commit is None and matches_snapshot(checkout.root, checkout.engine))


def _import_error(found: probe.DeepFacts) -> str:
    return "; ".join(f"{name}: {found.faults[name]}" for name in found.needed if name in found.faults)


def _has_tokenizer(repo: str, cache: Path, folder: str | None) -> bool:
    """In the Hub cache, or saved by the trainer under --tokenizer_cache_dir (library/strategy_base.py:59)."""
    if folder is not None and os.path.isdir(os.path.join(folder, repo.replace("/", "_"))):  # noqa: PTH118
        return True
    return downloads.has_tokenizer(downloads.cached_files(cache, repo))


def hub_findings(models: Models, reach: Reach) -> tuple[tuple[Finding, ...], Mapping[Path, int]]:
    """What the Hub says about everything that is not here yet, and the sizes of the files to fetch."""
    cache = reach.workspace.cache / "huggingface" / "hub"
    wanted = [hub.HubNeed(models.base, "model", reach.where, reach.cached)] if models.kind == "hub" else []
    wanted += [hub.HubNeed(f.file.repo, "model", f.file.where, f.target.exists()) for f in models.fetches]
    if models.tokenizers is None:
        wanted += [
            hub.HubNeed(repo, "tokenizer", "", _has_tokenizer(repo, cache, reach.tokenizers))
            for repo in reach.repositories
        ]
    access = hub.access(reach.environ)
    facts = hub.hub_facts([need.repo for need in wanted if not need.cached], access)
    files = {(fact.repo, name): size for fact in facts for name, size in fact.files}
    known = {f.target: files[f.file.repo, f.file.path] for f in models.fetches if (f.file.repo, f.file.path) in files}
    return hub.hub_findings(wanted, facts, access), known
