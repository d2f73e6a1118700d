"""The plan: everything that was read and decided, as one frozen value. Nothing in it has happened yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kohya_runner.dataset.facts import Scan
from kohya_runner.dataset.layout import Layout
from kohya_runner.engine_info import EngineInfo
from kohya_runner.engines.arguments import Arg, Command
from kohya_runner.engines.protocol import Fetch, TextFile
from kohya_runner.engines.steps_plan import StepsPlan
from kohya_runner.engines.support import Support
from kohya_runner.errors import UsageError
from kohya_runner.findings import Finding, Severity
from kohya_runner.machine.disk import DiskPlan
from kohya_runner.plan.commands import StageCommand
from kohya_runner.plan.consent import Consequence
from kohya_runner.plan.forecast import Forecast
from kohya_runner.recipe.load import Loaded
from kohya_runner.workspace import Workspace

if TYPE_CHECKING:
    from kohya_runner.install.checkout import Checkout, TrainerPython
    from kohya_runner.machine.host import Gpu
    from kohya_runner.record.resume_point import ResumePoint


@dataclass(frozen=True, slots=True)
class Request:
    recipe: Path
    overrides: tuple[str, ...] = ()
    workspace: str | None = None
    sd_scripts: str | None = None
    allow: tuple[str, ...] = ()
    trust: tuple[str, ...] = ()  # keys of the recipe whose consequences are allowed
    elsewhere: bool = False  # the run is for another machine
    practice: bool = False  # a stand-in process instead of the trainer
    fresh: bool = False  # read every picture again, whatever the cache knows
    thorough: bool = False  # read the model files for their hashes, whatever their size
    resume: bool = False  # go on with the latest run of this name, if it was cut
    rehearse: bool = False  # a few steps in a scratch folder: nothing is to happen after it
    shared: str = ""  # the folder of datasets/ that this run shares with others; its own name's where it is ""
    deep: bool = False  # import torch in the trainer's Python to be sure: seconds


@dataclass(frozen=True, slots=True)
class Ready:
    """The parts of a plan without errors, none of them missing."""

    run_dir: Path
    command: Command
    layout: Layout
    steps: StepsPlan


@dataclass(frozen=True, slots=True)
class Plan:
    """A launch, decided. Parts that the faults of the recipe leave unknown are None or empty."""

    request: Request
    loaded: Loaded
    workspace: Workspace
    findings: tuple[Finding, ...]
    engine: EngineInfo
    consequences: tuple[Consequence, ...] = ()  # what happens beside the training
    support: Support | None = None
    checkout: Checkout | None = None
    python: TrainerPython | None = None
    args: tuple[Arg, ...] = ()
    command: Command | None = None
    scans: tuple[Scan, ...] = ()
    layout: Layout | None = None
    steps: StepsPlan | None = None
    disk: DiskPlan | None = None
    fetches: tuple[Fetch, ...] = ()
    left_open: tuple[tuple[str, Any, str], ...] = ()
    run_dir: Path | None = None
    gpus: tuple[Gpu, ...] = ()
    forecast: Forecast | None = None
    stages: tuple[StageCommand, ...] = ()  # what runs before ``command``, one after the other
    files: tuple[TextFile, ...] = ()  # written before the first of them
    caches: Path | None = None  # the folder that they fill
    series: ResumePoint | None = None  # the run that goes on; run_dir is its folder then
    anew: tuple[Arg, ...] = ()  # ``args`` as they would be if the run began now
    not_checked: tuple[str, ...] = ()  # what nobody looked at, and why
    fingerprint: str = ""  # of argv without the run's own folder, of the data, and of the trainer's commit

    @property
    def ok(self) -> bool:
        whole = self.command is not None and self.steps is not None
        return whole and not any(f.severity is Severity.ERROR for f in self.findings)

    @property
    def unprepared(self) -> bool:
        """Whether datasets must be prepared before anything else is known, and nothing stands against that."""
        codes = {f.code for f in self.findings if f.severity is Severity.ERROR or f.code == "dataset.unprepared"}
        return codes == {"dataset.unprepared"}

    @property
    def commands(self) -> tuple[Command, ...]:
        training = () if self.command is None else (self.command,)
        return (*(stage.command for stage in self.stages), *training)

    @property
    def ready(self) -> Ready:
        if self.run_dir is None or self.command is None or self.layout is None or self.steps is None:
            raise UsageError(f"{self.request.recipe} is not ready to be launched")
        return Ready(self.run_dir, self.command, self.layout, self.steps)

    @property
    def world(self) -> int:
        """Processes on all machines; a practice run has one."""
        return 1 if self.request.practice or self.loaded.recipe is None else self.loaded.recipe.launch.world

    @property
    def name(self) -> str:
        return self.loaded.recipe.name if self.loaded.recipe else self.request.recipe.stem
