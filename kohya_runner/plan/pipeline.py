"""Read everything, decide everything, touch nothing: ``plan``, ``launch --dry-run`` and ``launch`` all begin here."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner import workspace as workspaces
from kohya_runner.dataset.batching import batching_from
from kohya_runner.dataset.checks import check_datasets
from kohya_runner.dataset.layout import Layout, plan_layout
from kohya_runner.dataset.seen import rules_from
from kohya_runner.dataset.steps import StepsPlan, plan_steps
from kohya_runner.errors import TrainerError, UsageError
from kohya_runner.findings import Finding, error, not_allowable
from kohya_runner.plan import changes, data, defaults, machine, method_data, reading, resume_options, space, weights
from kohya_runner.plan.draft import Draft, Known
from kohya_runner.plan.environment import child_env
from kohya_runner.plan.forecast import Subject, forecast
from kohya_runner.plan.models import find_models
from kohya_runner.plan.own_options import evaluated, heaviest, rules_of
from kohya_runner.plan.sameness import fingerprint
from kohya_runner.plan.sample_seeds import sample_seeds
from kohya_runner.plan.settings import as_parsed, cache_key
from kohya_runner.plan.support import find_support, meant_support
from kohya_runner.preflight.disk import DiskItem, DiskPlan, disk_plan
from kohya_runner.preflight.host import HostFacts, read_host
from kohya_runner.preflight.workplace import workspace_findings
from kohya_runner.recipe.load import Loaded, load
from kohya_runner.run import ledger, resumption
from kohya_runner.run.numbering import next_run
from kohya_runner.settings import read_settings
from kohya_runner.trainers import arguments, bounds, command
from kohya_runner.trainers.checkout import SUBMODULE, project_root
from kohya_runner.trainers.environment import CPU_MEMORY
from kohya_runner.trainers.launcher import launch_faults
from kohya_runner.trainers.options import options_for
from kohya_runner.trainers.rule_context import Context
from kohya_runner.trainers.setup import find_trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kohya_runner.dataset.facts import Scan
    from kohya_runner.plan.value import Plan, Request
    from kohya_runner.recipe.models import Recipe
    from kohya_runner.settings import Settings as MachineSettings
    from kohya_runner.trainers.checkout import Checkout, TrainerPython
    from kohya_runner.trainers.families import Support
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
    loaded = load(request.recipe, request.overrides, environ=env)
    machine_settings = read_settings(env)
    draft = Draft(request, env, loaded, _workspace(request, loaded, machine_settings, env), list(loaded.findings))
    draft.parts["checkout"], draft.parts["python"] = _trainer(draft, machine_settings)
    support, unknown = find_support(loaded)
    draft.findings += unknown
    if support is not None and loaded.recipe is not None:
        draft.parts["support"] = support
        _decide(draft, loaded.recipe, support, on_progress)
    else:
        _salvage(draft, support or meant_support(loaded), on_progress)
    return draft.finish()


def _salvage(draft: Draft, support: Support | None, on_progress: Progress | None) -> None:
    """What else is wrong with a recipe that is wrong already: its options and its data, as far as they can be read.

    ``support`` is the row that was most likely meant.
    """
    loaded = draft.loaded
    if support is not None:
        draft.findings += arguments.from_recipe(loaded, support, options_for(support.script, None))[1]
    sources, faults = data.sources(loaded, str(loaded.args.get("caption_extension") or ".txt"), draft.workspace)
    scans = tuple(one.scan for one in reading.read_all(sources, draft.request, draft.workspace, on_progress))
    draft.parts["scans"] = scans
    draft.findings += [*faults, *check_datasets(scans)]


def _workspace(request: Request, loaded: Loaded, settings: MachineSettings, env: Mapping[str, str]) -> Workspace:
    """The option and the variable are relative to here, the recipe's own word to its file."""
    stated = loaded.recipe.workspace if loaded.recipe else None
    named = str(loaded.path_from(stated, "workspace")) if stated else None
    fallback = str(settings.workspace) if settings.workspace else None
    return workspaces.choose(request.workspace, named or fallback, env, Path.cwd())


def _trainer(draft: Draft, settings: MachineSettings) -> tuple[Checkout | None, TrainerPython | None]:
    launch = draft.loaded.recipe.launch.python if draft.loaded.recipe else None
    named = str(draft.loaded.path_from(launch, "launch", "python")) if launch else None
    if draft.request.elsewhere:
        return None, None
    try:
        return find_trainer(draft.environ, settings, sd_scripts=draft.request.sd_scripts, python=named)
    except TrainerError as fault:
        draft.findings.append(error("trainer.missing", fault.message, hint=fault.hint))
        return None, None


def _decide(draft: Draft, recipe: Recipe, support: Support, on_progress: Progress | None) -> None:
    """Options, models, data, then all that needs them: each from what came before it."""
    loaded, checkout = draft.loaded, draft.parts["checkout"]
    cache = draft.workspace.cache / "kohya-runner"
    options = options_for(support.script, checkout.root if checkout else None, cache, write_cache=draft.request.deep)
    given, faults = arguments.from_recipe(loaded, support, options)
    asked = draft.request.resume
    given = (*given, *resume_options.state_args(loaded, options, recipe.args, asked=asked))
    models = find_models(loaded, support, draft.workspace, look=not draft.request.elsewhere)
    settings = as_parsed(options, given)
    extension = str(settings.given.get("caption_extension") or ".txt")
    sources, data_faults = data.sources(loaded, extension, draft.workspace)
    surveys = reading.read_all(sources, draft.request, draft.workspace, on_progress)
    scans = tuple(one.scan for one in surveys)
    judged = reading.findings(surveys, rules_from(settings.get), rules_of(settings.get))
    checked = method_data.eased(judged, support, settings, scans)
    draft.findings += [*faults, *launch_faults(loaded), *models.findings, *data_faults, *checked]
    pairs = method_data.read_pairs(loaded, support, scans)
    draft.findings += method_data.findings(loaded, support, settings, scans, pairs)
    draft.findings += defaults.findings(loaded, options, settings.given)
    draft.findings += bounds.findings(settings.given, {arg.name: arg.source for arg in given})
    if not draft.request.elsewhere:
        draft.findings += weights.findings(given, practice=draft.request.practice)
        draft.findings += workspace_findings(draft.workspace.root)
    left_open = defaults.left_open(options, settings.given)
    draft.parts |= {"scans": scans, "left_open": left_open, "fetches": models.fetches, "args": given}
    if settings.get("resolution") is not None and not any(f.code == "args.value" for f in faults):
        _build(draft, Known(recipe, support, settings, models, given, pairs), scans)


def _build(draft: Draft, known: Known, scans: tuple[Scan, ...]) -> None:
    """Layout, steps, command and machine, for options and data that can be read."""
    recipe, support, settings, models = known.recipe, known.support, known.settings, known.models
    extension, key = str(settings.given.get("caption_extension") or ".txt"), cache_key(settings, support, models.base)
    folders = plan_layout(scans, draft.workspace.datasets / recipe.name, key, caption_extension=extension)
    layout = method_data.arranged(folders, support, known.pairs)
    steps, every = _steps(draft, known, layout)
    series = (
        resumption.find(ledger.runs(draft.workspace.runs), recipe.name, practice=draft.request.practice)
        if draft.request.resume
        else None
    )
    run_dir = series.path if series else next_run(draft.workspace.runs / recipe.name)
    places = arguments.Places(
        model=models.base, components=models.components, layout=layout, output_dir=run_dir / "output",
        logging_dir=run_dir / "logs", tokenizers=models.tokenizers,
    )  # fmt: skip
    added = arguments.by_runner(draft.loaded, support, settings.options, places=places, save_every=every)
    args = (*added, *known.given)
    final = replace(known, settings=as_parsed(settings.options, args), given=args)
    draft.findings += evaluated(_context(final, steps), draft.loaded, layout.folders)
    if series is not None and steps is not None:
        args = (*args, *resume_options.resume_args(settings.options, series, steps))
        final = replace(final, given=args)
    final = replace(final, settings=heaviest(final.settings, layout.folders))
    draft.parts |= {"layout": layout, "steps": steps, "run_dir": run_dir, "args": args, "series": series}
    draft.findings += _resume_findings(draft, known, layout, steps)
    draft.parts["fingerprint"] = fingerprint(args, layout, draft.parts["checkout"], practice=draft.request.practice)
    unusable = any(f.code == "disk.unwritable" for f in draft.findings)
    host = None if draft.request.elsewhere or unusable else _host(draft)
    draft.parts["command"] = _command(draft, final, host)
    if host is not None:
        draft.parts |= {"gpus": host.gpus, "disk": _machine(draft, final, host)}
    elif draft.request.elsewhere:
        _elsewhere(draft, final)


def _resume_findings(draft: Draft, known: Known, layout: Layout, steps: StepsPlan | None) -> tuple[Finding, ...]:
    """What stands against going on with a run, or against this one being continued some day."""
    series, options, asked = draft.parts["series"], known.settings.options, draft.request.resume
    found = resume_options.findings(draft.loaded, options, known.recipe.args, steps, asked=asked)
    if series is None or steps is None:
        return found
    now = changes.Now(draft.loaded, draft.parts["args"], layout, steps, draft.parts["checkout"], draft.workspace.runs)
    return (*found, *changes.changes(series, now))


def _steps(draft: Draft, known: Known, layout: Layout) -> tuple[StepsPlan | None, int]:
    """The numbers, and the runner's own save cadence, which depends on the number of epochs."""

    def planned(every: int | None) -> tuple[StepsPlan | None, tuple[Finding, ...]]:
        values = (
            known.settings.all()
            | known.support.unset(known.settings.given)
            | ({} if every is None else {"save_every_n_epochs": every})
        )
        processes, divisor = known.recipe.launch.num_processes, known.support.bucket_step
        batching = batching_from(values, known.recipe.name, num_processes=processes, reso_steps_divisor=divisor)
        return plan_steps(layout.folders, batching) if batching else (None, ())

    own = not arguments.has_cadence(known.settings.given)
    steps, findings = planned(1 if own else None)
    every = arguments.cadence(steps.epochs) if own and steps else 1
    if every > 1:
        steps, findings = planned(every)
    places = {f"args.{name}": draft.loaded.where("args", name) for name in known.settings.given}
    if layout.folders:  # without pictures the dataset's own findings say it
        draft.findings += [f if f.where else replace(f, where=places.get(f.code, "")) for f in findings]
    return steps, every


def _context(known: Known, steps: StepsPlan | None) -> Context:
    """What the rules between options look at."""
    prompts = known.settings.get("sample_prompts")
    return Context(
        options=known.settings,
        support=known.support,
        num_processes=known.recipe.launch.num_processes,
        total_steps=steps.total if steps else None,
        steps_per_epoch=steps.steps_per_epoch if steps else None,
        prompts_found=None if prompts is None else os.path.isfile(prompts),
        prompt_seeds=() if prompts is None else sample_seeds(Path(prompts)),
        places={arg.name: arg.source for arg in known.given},
    )


def _host(draft: Draft) -> HostFacts:
    room = draft.workspace
    return read_host((room.root, room.cache, room.datasets, room.runs, room.models), environ=draft.environ)


def _command(draft: Draft, known: Known, host: HostFacts | None) -> command.Command:
    checkout, python = draft.parts["checkout"], draft.parts["python"]
    offline = not isinstance(known.recipe.model, str)  # random weights: nothing is to be downloaded
    on_cpu = host is not None and not host.gpus
    env = child_env(draft.workspace, draft.environ, offline=offline) | (CPU_MEMORY if on_cpu else {})
    tokens, script, launch = arguments.tokens(known.given), known.support.script, known.recipe.launch
    if draft.request.practice:
        env |= {"KOHYA_PRACTICE_PROCESSES": str(launch.num_processes)} if launch.num_processes > 1 else {}
        return command.Command((sys.executable, "-m", "kohya_runner.run.practice", script, *tokens), Path.cwd(), env)
    root = checkout.root if checkout else (project_root() or Path.cwd()) / SUBMODULE
    interpreter = python.path if python else Path("python3")
    path = root / script if checkout else Path(script)  # relative to its own folder, wherever that will be
    argv = command.argv(interpreter, path, tokens, launch=launch, mixed_precision=known.precision)
    return command.Command(argv, root, env)


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
    output = room.runs / known.recipe.name / "output"
    items = space.disk_items(known.settings, known.support, steps=steps, layout=layout, output=output) if steps else []
    if not draft.request.practice:
        items += space.model_items(known.models, known.support, room, precision=known.precision, sizes=sizes)
    return items


def _machine(draft: Draft, known: Known, host: HostFacts) -> DiskPlan:
    """This machine's trainer, device, Hub and disk; a practice run needs the disk alone."""
    room, models, support = draft.workspace, known.models, known.support
    steps = draft.parts["steps"]
    steps = resumption.ahead(steps, draft.parts["series"]) if steps else None
    trains = not draft.request.practice
    sizes: Mapping[Path, int] = {}
    if trains:
        need = machine.needs(known.settings, support, args=known.given, recipe=known.recipe)
        trainer = (draft.parts["checkout"], draft.parts["python"])
        draft.findings += machine.examine(need, host, trainer, deep=draft.request.deep)
        cached = models.kind == "hub" and space.is_cached(models.base, support, room, known.precision)
        reach = machine.Reach(room, draft.environ, cached=cached, where=draft.loaded.where("model"),
                              tokenizers=known.settings.get("tokenizer_cache_dir"))  # fmt: skip
        faults, sizes = machine.hub_findings(models, support, reach)
        draft.findings += faults
        told = forecast(_subject(draft, known), steps, need=need, host=host, argv=draft.parts["command"].argv)
        draft.findings += told.findings
        draft.parts["forecast"] = told
    plan = disk_plan(_items(draft, known, sizes), host.filesystems)
    draft.findings += plan.findings
    return plan
