"""What can be known of a run before it is paid for, beside its steps and disks: its model files, memory and time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner.machine.memory_checks import MemoryPlan, memory_plan, swap_bytes
from kohya_runner.plan.cost import TimePlan, budget_findings, measured
from kohya_runner.plan.space import load_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from kohya_runner.artefact.file_hash import Hashes
    from kohya_runner.artefact.model_inspection import Inspected
    from kohya_runner.engines.arguments import ParsedOptions
    from kohya_runner.engines.protocol import Models
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.engines.support import Support
    from kohya_runner.findings import Finding
    from kohya_runner.hub import Access
    from kohya_runner.machine.device_checks import MachineNeeds
    from kohya_runner.machine.host import HostFacts
    from kohya_runner.recipe.finish import Budget
    from kohya_runner.recipe.load import Loaded
    from kohya_runner.workspace import Workspace

FILES = frozenset({"path", "hub_file"})
"""Kinds of models that are files."""


@dataclass(frozen=True, slots=True)
class ForecastInput:
    """The run that is looked at."""

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
class Forecast:
    """The answers, and what stands against the run."""

    files: tuple[Inspected, ...]
    memory: MemoryPlan | None
    time: TimePlan | None
    findings: tuple[Finding, ...]

    def rows(self) -> Iterator[tuple[str, str]]:
        """(label, text) for the screen."""
        for seen in self.files:
            yield "file", str(seen)
        if self.memory is not None and str(self.memory):
            yield "memory", str(self.memory)
        if self.time is not None:
            yield "time", str(self.time)

    def as_json(self) -> Mapping[str, object]:
        """The objects ``models``, ``memory`` and ``time`` of ``plan --json``."""
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
        from kohya_runner.artefact.model_inspection import identity_findings, precision_findings

        found += identity_findings(files, family=subject.support.family, model_type=model_type)
        on = subject.parsed.on if subject.support.is_lora else lambda _: False
        found += precision_findings(files, subject.support.family, on)
    if steps is None:
        return Forecast(files, None, None, tuple(found))
    load = load_of(subject.parsed, subject.support, steps=steps, files=files)
    memory = memory_plan(need, load, host, swap=swap_bytes())
    time = _time(subject, steps, host, argv)
    places = {key: subject.loaded.where("budget", key) for key in type(subject.budget).model_fields}
    found += memory.findings
    found += budget_findings(subject.budget, time, steps_per_epoch=steps.steps_per_epoch, places=places)
    return Forecast(files, memory, time, tuple(found))


def _files(subject: ForecastInput) -> tuple[Inspected, ...]:
    if subject.models.kind not in FILES and not subject.models.components:
        return ()
    from kohya_runner.artefact.file_hash import Hashes
    from kohya_runner.hub import access

    hashes = Hashes(subject.workspace.cache / "kohya-runner", thorough=subject.thorough)
    reach = access(subject.environ) if subject.asked else None
    return inspect_models(subject.loaded, subject.models, reach=reach, hashes=hashes)


def _time(subject: ForecastInput, steps: StepsPlan, host: HostFacts | None, argv: Sequence[str]) -> TimePlan:
    """With the speed of an earlier run like this one, if there is one on record in the workspace."""
    recipe, price = subject.loaded.recipe, subject.budget.price_per_hour
    folders = [path for path in (subject.workspace.runs, subject.workspace.rehearsals) if path.is_dir()]
    if recipe is None or host is None or not folders:
        return TimePlan(steps.total, None, price)
    from kohya_runner.record import ledger

    gpus = [gpu.name for gpu in host.gpus]
    known = ledger.runs(*folders)
    speed = measured(known, name=recipe.name, argv=argv, gpus=gpus)
    return TimePlan(steps.total, speed, price)


def inspect_models(
    loaded: Loaded, models: Models, *, reach: Access | None, hashes: Hashes | None = None
) -> tuple[Inspected, ...]:
    """What is known of each, base model first. Without ``reach`` the Hub is not asked."""
    from kohya_runner.artefact.model_inspection import MODEL, inspect_file

    paths = {MODEL: Path(models.base)} if models.kind in FILES else {}
    paths |= models.components
    here = {slot: path for slot, path in paths.items() if path.is_file()}
    found = {slot: inspect_file(slot, path, _place(loaded, slot), hashes) for slot, path in here.items()}
    files = {fetch.target: fetch.file for fetch in models.fetches}
    absent = [(slot, files[path]) for slot, path in paths.items() if slot not in here and path in files]
    if reach is not None and absent:
        from kohya_runner.machine.remote_header import inspect_hub_files

        found |= {seen.slot: seen for seen in inspect_hub_files(absent, reach)}
    return tuple(seen for slot in paths if (seen := found.get(slot)) is not None)


def _place(loaded: Loaded, slot: str) -> str:
    from kohya_runner.artefact.model_inspection import MODEL

    return loaded.where("model") if slot == MODEL else loaded.where("components", slot)
