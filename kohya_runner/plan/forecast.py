"""What is known of a run beforehand: its files by their headers, memory, time and price, and what the Hub says."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner import hub
from kohya_runner.engines.arguments import ParsedOptions
from kohya_runner.engines.protocol import Fetch, Models, ResolvedRecipe
from kohya_runner.engines.steps_plan import StepsPlan
from kohya_runner.engines.support import Support
from kohya_runner.findings import Finding, Severity, error
from kohya_runner.hub import Access
from kohya_runner.machine.device_checks import MachineNeeds
from kohya_runner.machine.memory_checks import MemoryPlan, memory_plan, swap_bytes, vram_settings
from kohya_runner.plan import space
from kohya_runner.plan.cost import TimePlan, budget_findings, machine_of, speeds
from kohya_runner.plan.space import load_of
from kohya_runner.recipe.finish import Budget
from kohya_runner.recipe.load import Loaded
from kohya_runner.text import did_you_mean
from kohya_runner.workspace import Workspace

if TYPE_CHECKING:
    from kohya_runner.artefact.file_hash import Hashes
    from kohya_runner.artefact.model_inspection import Inspected
    from kohya_runner.machine.host import HostFacts
    from kohya_runner.machine.memory_savings import CardClass
    from kohya_runner.plan.pipeline import Opened

FILES = frozenset({"path", "hub_file"})
"""Kinds of models that are files."""


@dataclass(frozen=True, slots=True)
class ForecastInput:
    loaded: Loaded
    support: Support
    parsed: ParsedOptions
    models: Models
    workspace: Workspace
    environ: Mapping[str, str]
    budget: Budget
    thorough: bool = False  # read the model files for their hashes, whatever their size
    asked: bool = True  # whether the Hub answers


@dataclass(frozen=True, slots=True)
class Rent:
    """What to rent for a run: cards by their memory, so many of them, and the times by the GPUs they come from."""

    classes: tuple[CardClass, ...]
    cards: int
    times: Mapping[tuple[str, ...], TimePlan]

    def rows(self) -> Iterator[tuple[str, str]]:
        from kohya_runner.machine.memory_savings import described

        yield from described(self.classes, self.cards)
        for gpus, time in self.times.items():
            yield "time", f"on {machine_of(gpus)}: {time}"

    def as_json(self) -> Mapping[str, object]:
        times = [{"gpus": list(gpus), **time.as_json()} for gpus, time in self.times.items()]
        return {"count": self.cards, "cards": [one.as_json() for one in self.classes], "times": times}


@dataclass(frozen=True, slots=True)
class Forecast:
    """The answers, and what stands against the run."""

    files: tuple[Inspected, ...]
    memory: MemoryPlan | None
    time: TimePlan | None
    findings: tuple[Finding, ...]
    rent: Rent | None = None  # of a run for another machine

    def rows(self) -> Iterator[tuple[str, str]]:
        for seen in self.files:
            yield "file", str(seen)
        if self.memory is not None and str(self.memory):
            yield "memory", str(self.memory)
        if self.rent is not None:
            yield from self.rent.rows()
        if self.time is not None and not (self.rent and self.rent.times):
            yield "time", str(self.time)

    def as_json(self) -> Mapping[str, object]:
        return {
            "models": [seen.as_json() for seen in self.files],
            "memory": self.memory.as_json() if self.memory else None,
            "time": self.time.as_json() if self.time else None,
        }


def forecast(
    subject: ForecastInput, steps: StepsPlan | None, *, need: MachineNeeds, host: HostFacts | None, argv: Sequence[str]
) -> Forecast:
    """Files by their headers, memory and time; ``host`` None is another machine."""
    files = _files(subject)
    model_type = str(subject.parsed.get("model_type") or "flux")
    found: list[Finding] = []
    if files:
        from kohya_runner.artefact.model_inspection import channel_findings, identity_findings, precision_findings

        found += identity_findings(files, family=subject.support.family, model_type=model_type)
        inpainting, frozen = subject.parsed.on("train_inpainting"), not subject.support.is_whole_model
        found += channel_findings(files, inpainting=inpainting, frozen=frozen)
        on = subject.parsed.on if subject.support.is_lora else lambda _: False
        found += precision_findings(files, subject.support.family, on)
    if steps is None:
        return Forecast(files, None, None, tuple(found))
    load = load_of(subject.parsed, subject.support, steps=steps, files=files)
    memory = memory_plan(need, load, host, swap=swap_bytes())
    known = _times(subject, steps, argv)
    gpus = None if host is None else tuple(sorted(gpu.name for gpu in host.gpus))
    time = known.get(gpus) if gpus is not None else None
    time = time or TimePlan(steps.total, None, subject.budget.price_per_hour)
    places = {key: subject.loaded.where("budget", key) for key in type(subject.budget).model_fields}
    found += memory.findings
    found += budget_findings(subject.budget, time, steps_per_epoch=steps.steps_per_epoch, places=places)
    if host is not None:
        return Forecast(files, memory, time, tuple(found))
    from kohya_runner.machine.memory_savings import card_classes

    rent = Rent(card_classes(vram_settings(need, load)), need.num_processes, known)
    return Forecast(files, memory, time, tuple(found), rent)


def _files(subject: ForecastInput) -> tuple[Inspected, ...]:
    if subject.models.kind not in FILES and not subject.models.components:
        return ()
    from kohya_runner.artefact.file_hash import Hashes

    hashes = Hashes(subject.workspace.cache / "kohya-runner", thorough=subject.thorough)
    reach = hub.access(subject.environ) if subject.asked else None
    return inspect_models(subject.loaded, subject.models, reach=reach, hashes=hashes)


def _times(subject: ForecastInput, steps: StepsPlan, argv: Sequence[str]) -> Mapping[tuple[str, ...], TimePlan]:
    """By the names of the GPUs, with the speed of an earlier run like this one on record in the workspace."""
    recipe, price = subject.loaded.recipe, subject.budget.price_per_hour
    folders = [path for path in (subject.workspace.runs, subject.workspace.rehearsals) if path.is_dir()]
    if recipe is None or not folders:
        return {}
    from kohya_runner.record import ledger

    found = speeds(ledger.runs(*folders), name=recipe.name, argv=argv)
    return {gpus: TimePlan(steps.total, speed, price) for gpus, speed in found.items()}


def inspect_models(
    loaded: Loaded, models: Models, *, reach: Access | None, hashes: Hashes | None = None
) -> tuple[Inspected, ...]:
    """What is known of each, base model first. Without ``reach`` the Hub is not asked."""
    from kohya_runner.artefact.model_inspection import MODEL, inspect_file

    paths = {MODEL: Path(models.base)} if models.kind in FILES else {}
    paths |= models.components
    here = {slot: path for slot, path in paths.items() if path.is_file()}
    places = {slot: ("model",) if slot == MODEL else ("components", slot) for slot in here}
    found = {slot: inspect_file(slot, path, loaded.where(*places[slot]), hashes) for slot, path in here.items()}
    files = {fetch.target: fetch.file for fetch in models.fetches}
    absent = [(slot, files[path]) for slot, path in paths.items() if slot not in here and path in files]
    if reach is not None and absent:
        from kohya_runner.machine.remote_header import inspect_hub_files

        found |= {seen.slot: seen for seen in inspect_hub_files(absent, reach)}
    return tuple(seen for slot in paths if (seen := found.get(slot)) is not None)


def _has_tokenizer(repo: str, cache: Path, folder: str | None) -> bool:
    """In the Hub cache, or saved by the trainer under --tokenizer_cache_dir (library/strategy_base.py:57)."""
    from kohya_runner.machine import downloads

    if folder is not None and os.path.isdir(os.path.join(folder, repo.replace("/", "_"))):  # noqa: PTH118
        return True
    files = downloads.cached_files(cache, repo)
    return any(downloads.has_tokenizer(files, place) for place in ("", "tokenizer", "processor"))


QUICK = 3.0
"""Seconds that the Hub has to answer where the run is for another machine."""


def hub_answers(
    opened: Opened, resolved: ResolvedRecipe, *, tokenizers: bool = True, seconds: float = hub.TIMEOUT
) -> tuple[tuple[Finding, ...], Mapping[Path, int]]:
    """What the Hub says about everything that is not here yet, and the sizes of the files to fetch."""
    models, support, parsed, room = resolved.models, resolved.support, resolved.parsed, opened.workspace
    wanted: list[hub.HubNeed] = []
    if models.kind == "hub":
        cached = space.is_cached(models.base, support, room, resolved.precision)
        wanted.append(hub.HubNeed(models.base, "model", opened.loaded.where("model"), cached))
    wanted += [hub.HubNeed(f.file.repo, "model", f.file.where, f.target.exists()) for f in models.fetches]
    if models.tokenizers is None and tokenizers:
        cache, folder = room.cache / "huggingface" / "hub", parsed.get("tokenizer_cache_dir")
        repositories = support.tokenizers_of(parsed.given)
        wanted += [hub.HubNeed(one, "tokenizer", "", _has_tokenizer(one, cache, folder)) for one in repositories]
    access = replace(hub.access(opened.environ), seconds=seconds)
    facts = hub.hub_facts([need.repo for need in wanted if not need.cached], access)
    files = {(fact.repo, name): size for fact in facts for name, size in fact.files}
    known = {f.target: files[f.file.repo, f.file.path] for f in models.fetches if (f.file.repo, f.file.path) in files}
    found = list(hub.hub_findings(wanted, facts, access))
    for file, fact in ((f.file, fact) for f in models.fetches for fact in facts if _lacks(fact, f)):
        hint = did_you_mean(file.path, dict(fact.files)) or f"see {hub.ENDPOINT}/{file.repo}/tree/main"
        found.append(error("hub.missing", f"{file.repo} has no file {file.path}", where=file.where, hint=hint))
    return tuple(found), known


def _lacks(fact: hub.HubFact, fetch: Fetch) -> bool:
    """Whether the Hub listed the repository's files, of its newest commit, and this is none of them."""
    file = fetch.file
    named = fact.repo == file.repo and file.revision in (None, "main") and not fetch.target.exists()
    return named and bool(fact.files) and file.path not in dict(fact.files)


def hub_for_another(
    opened: Opened, resolved: ResolvedRecipe
) -> tuple[tuple[Finding, ...], Mapping[Path, int], tuple[str, ...]]:
    """What the Hub says of the models, the sizes, and why it was not asked. The other machine may have a token."""
    answers, sizes = hub_answers(opened, resolved, tokenizers=False, seconds=QUICK)
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
