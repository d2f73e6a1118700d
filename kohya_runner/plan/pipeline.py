"""Read everything, decide everything, touch nothing: ``plan``, ``launch --dry-run`` and ``launch`` all begin here.

Each stage is a function from the results of those before it: opening, options, data, assembly, machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kohya_runner.engines.arguments import from_recipe
from kohya_runner.engines.table import ENGINES, options_for
from kohya_runner.findings import allow
from kohya_runner.plan.assembly import assemble
from kohya_runner.plan.data import read_data, read_without_options
from kohya_runner.plan.machine import ask_trainer, on_machine
from kohya_runner.plan.opening import meant_support, open_recipe
from kohya_runner.plan.options import given_options, option_findings
from kohya_runner.plan.value import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kohya_runner.engines.support import Support
    from kohya_runner.findings import Finding
    from kohya_runner.plan.assembly import Assembled
    from kohya_runner.plan.data import ReadData
    from kohya_runner.plan.machine import OnMachine
    from kohya_runner.plan.opening import Opened
    from kohya_runner.plan.options import GivenOptions
    from kohya_runner.plan.value import Request
    from kohya_runner.recipe.models import Recipe

    Progress = Callable[[str, int, int], None]


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
    return _salvaged(opened, opened.support or meant_support(opened.loaded), on_progress)


def _salvaged(opened: Opened, support: Support | None, on_progress: Progress | None) -> Plan:
    """What else is wrong with a recipe that is wrong already: its options and its data, as far as they can be read.

    ``support`` is the row that was most likely meant.
    """
    faults: tuple[Finding, ...] = ()
    if support is not None:
        options = options_for(support.script, None)
        faults = from_recipe(opened.loaded, ENGINES[support.engine], support, options)[1]
    data = read_without_options(opened, on_progress)
    return Plan(
        opened.request, opened.loaded, opened.workspace, _allowed(opened, (*faults, *data.findings)),
        opened.engine.INFO, opened.consequences, checkout=opened.checkout, python=opened.python, scans=data.scans,
    )  # fmt: skip


def _planned(opened: Opened, recipe: Recipe, support: Support, on_progress: Progress | None) -> Plan:
    """Options, data, then all that needs them: each from what came before it."""
    facts = ask_trainer(None if opened.request.practice else opened.python)
    given = given_options(opened, recipe, support)
    data = read_data(opened, given, support, on_progress)
    found = [*given.findings, *data.findings, *option_findings(opened, given)]
    if not given.usable or not opened.engine.can_arrange(given.parsed):
        return Plan(
            opened.request, opened.loaded, opened.workspace, _allowed(opened, found), opened.engine.INFO,
            opened.consequences, support, opened.checkout, opened.python, given.args, scans=data.scans,
            fetches=given.models.fetches, left_open=given.left_open,
        )  # fmt: skip
    run = assemble(opened, given, data, recipe, support)
    writable = not any(finding.code == "disk.unwritable" for finding in (*opened.findings, *found))
    machine = on_machine(opened, run, facts, usable=writable)
    return _plan(opened, given, data, run, machine, _allowed(opened, (*found, *run.findings, *machine.findings)))


def _plan(  # noqa: PLR0913, PLR0917 - the result of each stage
    opened: Opened,
    given: GivenOptions,
    data: ReadData,
    run: Assembled,
    machine: OnMachine,
    findings: tuple[Finding, ...],
) -> Plan:
    """The results of all stages as the one value that everything after a plan looks at."""
    return Plan(
        opened.request,
        opened.loaded,
        opened.workspace,
        findings,
        opened.engine.INFO,
        opened.consequences,
        support=run.resolved.support,
        checkout=opened.checkout,
        python=opened.python,
        args=run.resolved.args,
        command=machine.command,
        scans=data.scans,
        layout=run.arranged.layout,
        steps=run.steps,
        disk=machine.disk,
        fetches=given.models.fetches,
        left_open=given.left_open,
        run_dir=run.run_dir,
        gpus=machine.gpus,
        forecast=machine.forecast,
        stages=machine.stages,
        files=run.arranged.files,
        caches=run.arranged.caches,
        series=run.series,
        anew=run.begun,
        fingerprint=run.fingerprint,
    )


def _allowed(opened: Opened, found: Iterable[Finding]) -> tuple[Finding, ...]:
    """All findings once, with those that were asked to be warnings."""
    return allow(dict.fromkeys((*opened.findings, *found)), opened.request.allow)
