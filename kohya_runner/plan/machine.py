"""This machine against the plan: trainer, device, Hub and disk, read once and then judged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner import hub
from kohya_runner.engines.arguments import Command
from kohya_runner.engines.protocol import ResolvedRecipe
from kohya_runner.engines.steps_plan import StepsPlan
from kohya_runner.errors import TrainerError
from kohya_runner.findings import Finding, error
from kohya_runner.machine.device_checks import (
    MODULE,
    PACKAGE_OF,
    READ,
    MachineNeeds,
    install_line,
    named_modules,
)
from kohya_runner.machine.disk import DiskItem, DiskPlan, disk_plan
from kohya_runner.options.packages import Packages, shipped_packages
from kohya_runner.plan import resume_options, space
from kohya_runner.plan.assembly import Assembled
from kohya_runner.plan.commands import StageCommand, commands
from kohya_runner.plan.forecast import Forecast, ForecastInput, forecast, hub_answers, hub_for_another
from kohya_runner.recipe.models import HUB_ID, Launch
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.text import package_name

if TYPE_CHECKING:
    from kohya_runner.install import probe
    from kohya_runner.install.checkout import Checkout, TrainerPython
    from kohya_runner.machine.host import Gpu, HostFacts
    from kohya_runner.plan.data import Progress
    from kohya_runner.plan.pipeline import Opened

    Asked = Callable[[], probe.PythonFacts | None]


def needs(resolved: ResolvedRecipe) -> MachineNeeds:
    parsed, support, recipe = resolved.parsed, resolved.support, resolved.recipe
    batches = [entry.options.get("batch_size") for entry in resolved.loaded.datasets.values()]
    own = {"train_batch_size": max((n for n in batches if isinstance(n, int)), default=None)}
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
        args={
            **support.implied,
            **parsed.all(),
            **(own if any(batches) else {}),
            "use_deepspeed": recipe.launch.accelerate.get("use_deepspeed"),
        },
        hub_pipeline=isinstance(recipe.model, str) and bool(HUB_ID.match(recipe.model)),
        packages=recipe.launch.packages,
        places={arg.name: arg.source for arg in resolved.args}
        | {"packages": resolved.loaded.where("launch", "packages")}
        | {name: resolved.loaded.where("launch", "accelerate", name) for name in recipe.launch.accelerate},
        options=frozenset(parsed.options),
    )


def ask_trainer(python: TrainerPython | None, args: Mapping[str, object], launch: Launch) -> Asked:
    """Ask the trainer's Python for its packages, and for the modules that values name: another process, and a while.

    What is returned waits for the answer, and raises ``TrainerError`` where there is none.
    """
    if python is None:
        return lambda: None
    from concurrent.futures import ThreadPoolExecutor

    from kohya_runner.install import probe
    from kohya_runner.machine.checks import REQUIREMENTS

    modules = (f"{MODULE}{module}" for module in (*READ, *named_modules({**args, **launch.accelerate})))
    asked = (*probe.PACKAGES, *map(package_name, launch.packages), *(row.package for row in REQUIREMENTS))
    names = tuple(dict.fromkeys((*asked, *PACKAGE_OF.values(), *modules)))
    pool = ThreadPoolExecutor(1, thread_name_prefix="probe")
    answer = pool.submit(probe.probe, python.path, names)
    pool.shutdown(wait=False)
    return answer.result


def packages_of(asked: Asked) -> Packages:
    """What is installed in the trainer's Python; what is there as shipped need not be read again."""
    try:
        facts = asked()
    except TrainerError:  # told with the machine
        facts = None
    told = facts.packages if facts else {}
    places = {name[len(MODULE) :]: place for name, place in told.items() if name.startswith(MODULE) and place}
    shipped = shipped_packages()["versions"]
    versions = {module: (told.get(PACKAGE_OF.get(module, module)) or "").partition("+")[0] for module in places}
    same = {module for module in places if shipped.get(module) == versions[module]}
    return Packages({module: place for module, place in places.items() if module not in same}, same)


def examine(  # noqa: PLR0913 - the run, the machine, and how to look
    opened: Opened, need: MachineNeeds, host: HostFacts, facts: Asked, *, deep: bool, on_progress: Progress | None
) -> tuple[Finding, ...]:
    """The machine against the needs. ``deep`` really imports torch in the trainer's Python: seconds, and certain."""
    from kohya_runner.machine.checks import machine_findings, trainer_facts

    python, checkout = opened.python, opened.checkout
    try:
        known = facts()
        found = _imported(python, checkout, on_progress) if deep and python and checkout else None
        trainer = trainer_facts(opened.engine.INFO, checkout, python, known, found)
    except TrainerError as fault:
        return (error("trainer.import", fault.message, hint=fault.hint),)
    return machine_findings(need, host, trainer)


IMPORTING = "importing torch and the trainer in its Python (a minute from a cold disk)"


def _imported(python: TrainerPython, checkout: Checkout, on_progress: Progress | None) -> probe.DeepFacts:
    """What really imports. Meanwhile ``on_progress`` hears the seconds, of no known total."""
    from kohya_runner.install import probe

    told = on_progress or (lambda *_: None)
    told(IMPORTING, 0, 0)
    root, engine = checkout.root, checkout.engine
    try:
        return probe.deep_probe(python.path, root, engine, tick=lambda gone: told(IMPORTING, int(gone), 0))
    finally:
        told("", 0, 0)


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
STATIC = "whether torch and the trainer can be imported: the errors that need no trainer come first"
PRACTICE = "model, Hub, GPU and trainer: a practice run needs none"


def on_machine(  # noqa: PLR0913 - what came before, and how to look
    opened: Opened, run: Assembled, facts: Asked, *, usable: bool, failed: Callable[[Iterable[Finding]], bool],
    on_progress: Progress | None = None,
) -> OnMachine:  # fmt: skip
    """The last stage of a plan. ``usable``: the workspace can be written to, so that its disks can be looked at.

    ``failed``: whether the plan has an error, with these findings on top. Then nobody waits for an import of torch.
    """
    request, room, host = opened.request, opened.workspace, None
    if usable and not request.elsewhere:
        from kohya_runner.machine.host import read_host

        host = read_host((room.root, room.cache, room.datasets, room.runs, room.models), environ=opened.environ)
    stages, command = commands(opened, run, on_cpu=host is not None and not host.gpus)
    if request.elsewhere:
        answers, sizes, unasked = hub_for_another(opened, run.resolved)
        told = _forecast(opened, run, needs(run.resolved), run.steps, host=None, argv=command.argv, asked=not unasked)
        disk = disk_plan(_items(opened, run, sizes), ())  # its findings are of no disk
        absent = tuple(f"{path}: is not on this machine" for path in run.resolved.models.local if not path.exists())
        left = (OTHER, *_to_install(run.resolved), *unasked, *absent)
        return OnMachine(stages, command, (), disk, told, (*answers, *told.findings), left)
    if host is None:
        return OnMachine(stages, command)
    if request.practice:  # it needs the disk alone
        disk = disk_plan(_items(opened, run, {}), host.filesystems)
        return OnMachine(stages, command, host.gpus, disk, findings=disk.findings, not_checked=(PRACTICE,))
    need = needs(run.resolved)
    answers, sizes = hub_answers(opened, run.resolved)
    steps = resume_options.ahead(run.steps, run.series) if run.steps else None
    told = _forecast(opened, run, need, steps, host=host, argv=command.argv)
    disk = disk_plan(_items(opened, run, sizes), host.filesystems)
    sent, where = run.resolved.recipe.finish.publication, opened.loaded.where("finish", "publish")
    # whether the token can do what finish.publish asks for: not to be learnt after hours of training
    published = hub.write_findings(sent.repo, where, hub.access(opened.environ)) if sent else ()
    static = (*answers, *published, *told.findings, *disk.findings)
    late = request.deep and failed(static)
    found = examine(opened, need, host, facts, deep=request.deep and not late, on_progress=on_progress)
    return OnMachine(stages, command, host.gpus, disk, told, (*found, *static), (STATIC,) if late else ())


def _to_install(resolved: ResolvedRecipe) -> Iterator[str]:
    """What the trainer's Python there must have besides its requirements."""
    launch = resolved.recipe.launch
    for text in launch.packages:
        yield f"whether the trainer there has {text} (launch.packages): run kohya-runner setup --recipe RECIPE there"
    for module, option in named_modules({**resolved.parsed.all(), **launch.accelerate}).items():
        if not any(package_name(text) == PACKAGE_OF.get(module) for text in launch.packages):
            yield f"whether the trainer there has {module} (args.{option}): {install_line(module)}"


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
        items += space.model_items(
            resolved.models, support, opened.workspace, precision=precision, sizes=sizes,
            elsewhere=opened.request.elsewhere,
        )  # fmt: skip
    return items
