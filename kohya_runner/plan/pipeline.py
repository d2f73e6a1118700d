"""Read everything, decide everything, touch nothing: ``plan``, ``launch --dry-run`` and ``launch`` all begin here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from kohya_runner import workspace as workspaces
from kohya_runner.engines import arguments, bounds, method_data
from kohya_runner.engines.dialects import dialect_of
from kohya_runner.engines.sd_scripts.dataset_options import rules_of
from kohya_runner.engines.sd_scripts.families import SD_SCRIPTS
from kohya_runner.engines.settings import as_parsed
from kohya_runner.engines.table import INFOS, options_for, user_settings
from kohya_runner.errors import TrainerError, UsageError
from kohya_runner.findings import error, not_allowable
from kohya_runner.install.setup import find_trainer
from kohya_runner.machine.disk import DiskItem, DiskPlan, disk_plan
from kohya_runner.machine.filesystems import workspace_findings
from kohya_runner.machine.host import HostFacts, read_host
from kohya_runner.plan import data, defaults, machine, reading, resume_options, space, weights
from kohya_runner.plan.accelerate_options import launch_faults
from kohya_runner.plan.commands import commands
from kohya_runner.plan.draft import Draft, Known
from kohya_runner.plan.fingerprint import fingerprint
from kohya_runner.plan.forecast import Subject, forecast
from kohya_runner.plan.models import find_models
from kohya_runner.plan.support import find_support, meant_support
from kohya_runner.plan.trust.consent import Consents, check_keys, consequences
from kohya_runner.recipe.load import Loaded, load
from kohya_runner.record.run_paths import RunPaths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kohya_runner.dataset.facts import Scan
    from kohya_runner.engines.steps_plan import StepsPlan
    from kohya_runner.engines.support import Support
    from kohya_runner.install.checkout import Checkout, TrainerPython
    from kohya_runner.plan.value import Plan, Request
    from kohya_runner.recipe.models import Recipe
    from kohya_runner.settings import UserSettings
    from kohya_runner.workspace import Workspace

    Progress = Callable[[str, int, int], None]


def make_plan(
    request: Request, *, on_progress: Progress | None = None, environ: Mapping[str, str] | None = None
) -> Plan:
    """Everything a launch would do, and everything that stands against it. Nothing is written.

    Raises:
        UsageError: there is no such recipe, or the settings file is wrong.
    """
    env = dict(os.environ if environ is None else environ)
    refused = not_allowable(request.allow)
    if refused:
        raise UsageError(f"--allow {refused}")
    machine_settings = user_settings(env)
    loaded = load(request.recipe, request.overrides, environ=env, readable=machine_settings.env)
    draft = Draft(request, env, loaded, _workspace(request, loaded, machine_settings, env), list(loaded.findings))
    _trust(draft, machine_settings)
    support, unknown = find_support(loaded)
    draft.parts["checkout"], draft.parts["python"] = _trainer(draft, machine_settings, support)
    draft.findings += unknown
    if support is not None and loaded.recipe is not None:
        draft.parts["support"] = support
        _decide(draft, loaded.recipe, support, on_progress)
    else:
        _salvage(draft, support or meant_support(loaded), on_progress)
    return draft.finish()


def _trust(draft: Draft, settings: UserSettings) -> None:
    """What the recipe makes happen beside the training; an error for each that nobody allowed."""
    keys = (*draft.request.trust, *settings.trust)
    check_keys(keys)
    told = consequences(draft.loaded, draft.workspace, Consents(keys, settings.workspace))
    draft.parts["consequences"] = told
    draft.findings += [finding for one in told if (finding := one.finding())]


def _salvage(draft: Draft, support: Support | None, on_progress: Progress | None) -> None:
    """What else is wrong with a recipe that is wrong already: its options and its data, as far as they can be read.

    ``support`` is the row that was most likely meant.
    """
    loaded = draft.loaded
    if support is not None:
        draft.findings += arguments.from_recipe(loaded, support, options_for(support.script, None))[1]
    sources, faults = data.sources(loaded, str(loaded.args.get("caption_extension") or ".txt"), draft.workspace)
    surveys = reading.read_all(sources, draft.request, draft.workspace, on_progress)
    draft.parts["scans"] = tuple(one.scan for one in surveys)
    draft.findings += [*faults, *reading.alone(surveys)]


def _workspace(request: Request, loaded: Loaded, settings: UserSettings, env: Mapping[str, str]) -> Workspace:
    """The option and the variable are relative to here, the recipe's own word to its file."""
    stated = loaded.recipe.workspace if loaded.recipe else None
    named = str(loaded.path_from(stated, "workspace")) if stated else None
    fallback = str(settings.workspace) if settings.workspace else None
    return workspaces.choose(request.workspace, named or fallback, env, Path.cwd())


def _trainer(
    draft: Draft, settings: UserSettings, support: Support | None
) -> tuple[Checkout | None, TrainerPython | None]:
    launch = draft.loaded.recipe.launch.python if draft.loaded.recipe else None
    refused = any(one.key == "launch.python" and not one.allowed for one in draft.parts["consequences"])
    named = str(draft.loaded.path_from(launch, "launch", "python")) if launch and not refused else None
    if draft.request.elsewhere:
        return None, None
    try:
        engine = INFOS[support.engine] if support else SD_SCRIPTS
        option = draft.request.sd_scripts
        return find_trainer(draft.environ, settings, sd_scripts=option, python=named, engine=engine)
    except TrainerError as fault:
        draft.findings.append(error("trainer.missing", fault.message, hint=fault.hint))
        return None, None


def _decide(draft: Draft, recipe: Recipe, support: Support, on_progress: Progress | None) -> None:
    """Options, models, data, then all that needs them: each from what came before it."""
    loaded, checkout = draft.loaded, draft.parts["checkout"]
    draft.asked = machine.asked(None if draft.request.practice else draft.parts["python"])
    cache = draft.workspace.cache / "kohya-runner"
    options = options_for(support.script, checkout.root if checkout else None, cache, write_cache=draft.request.deep)
    given, faults = arguments.from_recipe(loaded, support, options)
    asked = draft.request.resume
    given = (*given, *resume_options.state_args(loaded, options, recipe.args, asked=asked))
    models = find_models(loaded, support, draft.workspace, look=not draft.request.elsewhere)
    settings = as_parsed(options, given)
    extension = str(settings.given.get("caption_extension") or ".txt")
    sources, data_faults = data.sources(loaded, extension, draft.workspace, own=support.data == "folders")
    surveys = reading.read_all(sources, draft.request, draft.workspace, on_progress)
    scans = tuple(one.scan for one in surveys)
    dialect, own = dialect_of(support.engine), rules_of(settings.get)
    judged = reading.findings(surveys, dialect.picture_rules(loaded, settings), own)
    checked = method_data.eased(judged, support, settings, scans)
    draft.findings += [*faults, *launch_faults(loaded), *models.findings, *data_faults, *checked]
    pairs = method_data.read_pairs(loaded, support, surveys)
    draft.findings += method_data.findings(loaded, support, settings, scans, pairs)
    draft.findings += defaults.findings(loaded, options, settings.given)
    draft.findings += bounds.findings(settings.given, {arg.name: arg.source for arg in given})
    if not draft.request.elsewhere:
        draft.findings += weights.findings(given, practice=draft.request.practice)
        draft.findings += workspace_findings(draft.workspace.root)
    left_open = defaults.left_open(options, settings.given)
    draft.parts |= {"scans": scans, "left_open": left_open, "fetches": models.fetches, "args": given}
    if dialect.can_build(loaded, settings) and not any(f.code == "args.value" for f in faults):
        _build(draft, Known(recipe, support, settings, models, given, pairs), scans)


def _build(draft: Draft, known: Known, scans: tuple[Scan, ...]) -> None:
    """What the engine makes of it, then command and machine, for options and data that can be read."""
    built = dialect_of(known.support.engine).build(draft, known, scans)
    final, args = built.known, built.known.given
    draft.parts |= {"layout": built.layout, "steps": built.steps, "run_dir": built.run_dir, "args": args}
    anew = args if built.anew is None else built.anew
    draft.parts |= {"series": built.series, "files": built.files, "anew": anew, "caches": built.caches}
    every = (*(arg for stage in built.stages for arg in stage.args), *anew)
    practice = draft.request.practice
    checkout = draft.parts["checkout"]
    draft.parts["fingerprint"] = fingerprint(every, built.layout, checkout, practice=practice, files=built.files)
    unusable = any(f.code == "disk.unwritable" for f in draft.findings)
    host = None if draft.request.elsewhere or unusable else _host(draft)
    draft.parts["stages"], draft.parts["command"] = commands(draft, built, on_cpu=host is not None and not host.gpus)
    if host is not None:
        draft.parts |= {"gpus": host.gpus, "disk": _machine(draft, final, host)}
    elif draft.request.elsewhere:
        _elsewhere(draft, final)


def _host(draft: Draft) -> HostFacts:
    room = draft.workspace
    return read_host((room.root, room.cache, room.datasets, room.runs, room.models), environ=draft.environ)


def _elsewhere(draft: Draft, known: Known) -> None:
    """What the run asks of a machine that is not here: memory by estimate, room by what will be written."""
    need = machine.needs(known.settings, known.support, args=known.given, recipe=known.recipe)
    told = forecast(_subject(draft, known), draft.parts["steps"], need=need, host=None, argv=())
    draft.findings += told.findings
    draft.parts |= {"forecast": told, "disk": disk_plan(_items(draft, known, {}), ())}  # its findings are of no disk


def _subject(draft: Draft, known: Known) -> Subject:
    return Subject(draft.loaded, known.support, known.settings, known.models, draft.workspace, draft.environ,
                   known.recipe.budget, draft.request.thorough)  # fmt: skip


def _items(draft: Draft, known: Known, sizes: Mapping[Path, int]) -> list[DiskItem]:
    """What the run writes; a practice run fetches nothing."""
    room, layout, steps = draft.workspace, draft.parts["layout"], draft.parts["steps"]
    output = RunPaths(draft.parts["run_dir"]).output
    items = space.disk_items(known.settings, known.support, steps=steps, layout=layout, output=output) if steps else []
    if not draft.request.practice:
        items += space.model_items(known.models, known.support, room, precision=known.precision, sizes=sizes)
    return items


def _machine(draft: Draft, known: Known, host: HostFacts) -> DiskPlan:
    """This machine's trainer, device, Hub and disk; a practice run needs the disk alone."""
    room, models, support = draft.workspace, known.models, known.support
    steps = _ahead(draft)
    trains = not draft.request.practice
    sizes: Mapping[Path, int] = {}
    if trains:
        need = machine.needs(known.settings, support, args=known.given, recipe=known.recipe)
        trainer = machine.Trainer(draft.parts["checkout"], draft.parts["python"], INFOS[support.engine], draft.asked)
        draft.findings += machine.examine(need, host, trainer, deep=draft.request.deep)
        cached = models.kind == "hub" and space.is_cached(models.base, support, room, known.precision)
        reach = machine.Reach(room, draft.environ, cached=cached, where=draft.loaded.where("model"),
                              tokenizers=known.settings.get("tokenizer_cache_dir"),
                              repositories=support.tokenizers_of(known.settings.given))  # fmt: skip
        faults, sizes = machine.hub_findings(models, reach)
        draft.findings += faults
        told = forecast(_subject(draft, known), steps, need=need, host=host, argv=draft.parts["command"].argv)
        draft.findings += told.findings
        draft.parts["forecast"] = told
    plan = disk_plan(_items(draft, known, sizes), host.filesystems)
    draft.findings += plan.findings
    return plan


def _ahead(draft: Draft) -> StepsPlan | None:
    """What is still to come of the run."""
    series, steps = draft.parts["series"], draft.parts["steps"]
    if series is None or steps is None:
        return cast("StepsPlan | None", steps)
    return resume_options.ahead(steps, series)
