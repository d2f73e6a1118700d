"""Read everything, decide everything, touch nothing: ``plan``, ``launch --dry-run`` and ``launch`` all begin here.

Each stage is a function from the results of those before it: opening, options, data, assembly, machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kohya_runner import workspace as workspaces
from kohya_runner.engines import table
from kohya_runner.engines.arguments import from_recipe
from kohya_runner.engines.protocol import Engine
from kohya_runner.engines.support import Support
from kohya_runner.engines.table import ENGINES, all_scripts, options_for, user_settings
from kohya_runner.errors import RecipeError, TrainerError, UsageError
from kohya_runner.findings import Finding, Severity, allow, error, not_allowable, warning
from kohya_runner.machine.rendezvous import ALONE, Rendezvous, rendezvous
from kohya_runner.options.script_options import NAMES
from kohya_runner.plan.assembly import assemble
from kohya_runner.plan.consent import Consents, Consequence, check_keys, consequences
from kohya_runner.plan.data import Progress, ReadData, read_data, read_without_options
from kohya_runner.plan.machine import ask_trainer, on_machine, packages_of
from kohya_runner.plan.options import advice, given_options, meant_support, option_findings, sample_file, unjudged
from kohya_runner.plan.value import Plan, Request
from kohya_runner.recipe.load import Loaded, load
from kohya_runner.recipe.models import Recipe
from kohya_runner.record.run_paths import RECIPE
from kohya_runner.text import did_you_mean
from kohya_runner.workspace import Workspace

if TYPE_CHECKING:
    from kohya_runner.install.checkout import Checkout, TrainerPython


@dataclass(frozen=True, slots=True)
class Opened:
    """What was asked for, the recipe as it was read, and the trainer that it needs.

    ``engine`` is the default one where ``support`` is not known.
    """

    request: Request
    environ: Mapping[str, str]
    loaded: Loaded
    workspace: Workspace
    engine: Engine
    support: Support | None
    checkout: Checkout | None
    python: TrainerPython | None
    consequences: tuple[Consequence, ...]
    findings: tuple[Finding, ...]
    place: Rendezvous = ALONE


def open_recipe(request: Request, environ: Mapping[str, str] | None = None) -> Opened:
    """The recipe of a request, read.

    Raises:
        UsageError: there is no such recipe, or the settings file is wrong.
    """
    env = dict(os.environ if environ is None else environ)
    refused = not_allowable(request.allow)
    if refused:
        raise UsageError(f"--allow {refused}")
    settings = user_settings(env)
    loaded = load(request.recipe, request.overrides, environ=env, readable=settings.env, advice=advice)
    fallback = str(settings.workspace) if settings.workspace else None
    stated = (
        loaded.recipe.workspace if loaded.recipe else None
    )  # relative to its file, the option and the variable to here
    named = str(loaded.path_from(stated, "workspace")) if stated else fallback
    room = workspaces.choose(request.workspace, named, env, Path.cwd())
    keys = (*request.trust, *settings.trust)
    check_keys(keys)
    told = tuple(consequences(loaded, room, Consents(keys, settings.workspace)))
    if any(one.key == "workspace" and not one.allowed for one in told):
        room = workspaces.choose(None, fallback, env, Path.cwd())
    loaded, place, apart = _on_machines(loaded, request, env)
    support, unknown = find_support(loaded)
    engine = ENGINES[support.engine if support else table.DEFAULT.name]
    found: list[Finding] = [*loaded.findings, *(finding for one in told if (finding := one.finding()))]
    checkout, python = None, None
    if not request.elsewhere:
        from kohya_runner.install.checkout import find_trainer

        try:
            option, named = request.sd_scripts, _named_python(loaded, told)
            checkout, python = find_trainer(env, settings, sd_scripts=option, python=named, engine=engine.INFO)
        except TrainerError as fault:
            found.append(error("trainer.missing", fault.message, hint=fault.hint))
    found += (*apart, *unknown)
    return Opened(request, env, loaded, room, engine, support, checkout, python, told, tuple(found), place)


def _on_machines(
    loaded: Loaded, request: Request, environ: Mapping[str, str]
) -> tuple[Loaded, Rendezvous, tuple[Finding, ...]]:
    """The recipe with as many machines as the launch was started on, where it does not say how many there must be."""
    recipe = loaded.recipe
    if request.elsewhere or recipe is None:
        return loaded, ALONE, ()
    place, found = rendezvous(environ)
    stated, processes, where = recipe.launch.nodes, recipe.launch.num_processes, loaded.where("launch", "nodes")
    if not found and stated not in (None, place.machines):
        text = f"launch.nodes is {stated}, and {place.source or 'this environment'} says {place.machines} machine(s)"
        hint = f"write launch.nodes: {place.machines}, or start one launch on each machine; to look only: --elsewhere"
        found = (error("device.rendezvous", text, where=where, hint=hint),)
    if place.processes not in (None, processes):
        where, told = loaded.where("launch", "num_processes"), f"{place.source} says {place.processes} on each machine"
        kind = error if (place.processes or 0) < processes else warning
        text = f"launch.num_processes is {processes}, and {told}"
        found = (*found, kind("device.rendezvous", text, where=where, hint=f"write num_processes: {place.processes}"))
    launch = recipe.launch.model_copy(update={"nodes": place.machines if place.machines > 1 else stated})
    return replace(loaded, recipe=recipe.model_copy(update={"launch": launch})), place, found


def recipe_packages(recipe: Path, overrides: tuple[str, ...], trust: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The trainer of a recipe, and its launch.packages.

    Raises:
        RecipeError: it cannot be read, or asks for a package that nobody has allowed.
    """
    opened = open_recipe(Request(recipe, overrides, elsewhere=True, trust=trust))
    refused = [one.finding() for one in opened.consequences if one.key == "launch.packages"]
    faults = (*opened.loaded.findings, *filter(None, refused))
    if opened.loaded.recipe is None or any(refused):
        raise RecipeError(f"{recipe}: its packages are not installed", findings=faults)
    return opened.engine.INFO.name, opened.loaded.recipe.launch.packages


def _named_python(loaded: Loaded, told: tuple[Consequence, ...]) -> str | None:
    """The Python that the recipe names, where that is allowed."""
    launch = loaded.recipe.launch.python if loaded.recipe else None
    refused = any(one.key == "launch.python" and not one.allowed for one in told)
    return str(loaded.path_from(launch, "launch", "python")) if launch and not refused else None


def find_support(loaded: Loaded) -> tuple[Support | None, tuple[Finding, ...]]:
    """The row, or a finding that says which there are; a missing family is the recipe's own finding."""
    family, method = _family(loaded), _method(loaded)
    row = table.find(family, method)
    if row is not None or not family:
        return row, ()
    known = table.methods(family)
    word, value, choices = ("method", method, known) if known else ("family", family, table.families())
    message = f"{word}: {value} is not supported" + (f" for family {family}" if known else "")
    why = table.ABSENT.get((family, method), "")
    from kohya_runner.engines.catalogue import refusal

    reason, instead = refusal(family, method, table.FAMILIES)
    if known and reason:
        return None, (error("recipe.method", f"{message}: {reason}", where=loaded.where(word), hint=instead),)
    if not known and (other := table.other_family(value)):
        hint = f"families with a recipe: {', '.join(choices)}"
        return None, (
            error("recipe.family", f"family: {value} is {other[0]}, {other[1]}", where=loaded.where(word), hint=hint),
        )
    said = NAMES["families" if word == "family" else "methods"].get(value.lower().replace("-", "").replace("_", ""))
    told = f"write {said}" if said else did_you_mean(value, choices, f"{word}: ")
    hint = f"{why}; write {word}: {', '.join(choices)}" if why else told
    return None, (error(f"recipe.{word}", message, where=loaded.where(word), hint=hint),)


def _family(loaded: Loaded) -> str:
    return loaded.recipe.family if loaded.recipe else loaded.word("family")


def _method(loaded: Loaded) -> str:
    return loaded.recipe.method if loaded.recipe else loaded.word("method", "lora")


def make_plan(
    request: Request, *, on_progress: Progress | None = None, environ: Mapping[str, str] | None = None
) -> Plan:
    """Everything a launch would do, and everything that stands against it. Nothing is written.

    Raises:
        UsageError: there is no such recipe, or the settings file is wrong.
    """
    opened = open_recipe(request, environ)
    if opened.support is not None and opened.loaded.recipe is not None:
        return _planned(opened, opened.loaded.recipe, opened.support, on_progress)
    return _salvaged(
        opened, opened.support or meant_support(_family(opened.loaded), _method(opened.loaded)), on_progress
    )


def _salvaged(opened: Opened, support: Support | None, on_progress: Progress | None) -> Plan:
    """What else is wrong with a recipe that is wrong already: its options and its data, as far as they can be read.

    ``support`` is the row that was most likely meant. Where it is a guess, an option of any script counts as right.
    """
    faults: tuple[Finding, ...] = ()
    if support is not None:
        options = options_for(support.script, None)
        faults = from_recipe(opened.loaded, ENGINES[support.engine], support, options)[1]
        if opened.support is None:
            real = {f"args.{name}" for script in all_scripts() for name in options_for(script, None)}
            faults = tuple(fault for fault in faults if fault.message.partition(":")[0] not in real)
    data = read_without_options(opened, on_progress)
    return _read(opened, opened.support, data, (*faults, *data.findings))


def _planned(opened: Opened, recipe: Recipe, support: Support, on_progress: Progress | None) -> Plan:
    """Options, data, then all that needs them: each from what came before it."""
    facts = ask_trainer(None if opened.request.practice else opened.python, opened.loaded.args, recipe.launch)
    given = given_options(opened, recipe, support)
    data = read_data(opened, given, support, on_progress)
    given = given.with_packages(packages_of(facts))
    found = [*given.findings, *data.findings, *option_findings(opened, given)]
    plan = replace(
        _read(opened, support, data, found), args=given.args, fetches=given.models.fetches, left_open=given.left_open
    )
    unprepared = any(finding.code == "dataset.unprepared" for finding in data.findings)
    if unprepared or not given.usable or not opened.engine.can_arrange(opened.loaded, given.parsed):
        return plan
    run = assemble(opened, given, data, recipe, support)
    prompts = sample_file(opened.loaded, opened.workspace)
    writable = not any(finding.code == "disk.unwritable" for finding in (*opened.findings, *found))
    found += run.findings

    def failed(more: Iterable[Finding]) -> bool:
        return any(one.severity is Severity.ERROR for one in _allowed(opened, (*found, *more)))

    machine = on_machine(opened, run, facts, usable=writable, failed=failed, on_progress=on_progress)
    found += machine.findings
    if opened.request.recipe.name == RECIPE:  # as a run keeps it
        from kohya_runner.plan.replay import replay_findings

        found += replay_findings(opened, run, machine.gpus, facts)
    return replace(
        plan, findings=_allowed(opened, found), support=run.resolved.support, args=run.resolved.args,
        command=machine.command, layout=run.arranged.layout, steps=run.steps, disk=machine.disk, run_dir=run.run_dir,
        gpus=machine.gpus, forecast=machine.forecast, stages=machine.stages, caches=run.arranged.caches,
        files=(*run.arranged.files, *([prompts] if prompts else [])), series=run.series, anew=run.begun,
        not_checked=(*machine.not_checked, *data.not_checked, *unjudged(given)), fingerprint=run.fingerprint,
    )  # fmt: skip


def _read(opened: Opened, support: Support | None, data: ReadData, found: Iterable[Finding]) -> Plan:
    """What is known of a run before anything is decided."""
    return Plan(
        opened.request, opened.loaded, opened.workspace, _allowed(opened, found), opened.engine.INFO,
        opened.consequences, support, opened.checkout, opened.python, scans=data.scans, not_checked=data.not_checked,
    )  # fmt: skip


def _allowed(opened: Opened, found: Iterable[Finding]) -> tuple[Finding, ...]:
    """All findings once, with those that were asked to be warnings."""
    every = tuple(dict.fromkeys((*opened.findings, *found)))
    owned = {one.where for one in every if one.code == "args.owned"}  # what it would do needs no word then
    guessed = ("args.unknown", "args.owned") if any(one.code == "model.family" for one in every) else ()
    told = (one for one in every if one.code not in guessed and (one.code != "recipe.trust" or one.where not in owned))
    return allow(told, opened.request.allow)
