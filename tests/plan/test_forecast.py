from __future__ import annotations

import pytest

from kohya_runner.engines.arguments import as_parsed
from kohya_runner.engines.protocol import ResolvedRecipe
from kohya_runner.engines.table import options_for
from kohya_runner.machine.host import Gpu, HostFacts
from kohya_runner.plan import machine
from kohya_runner.plan.assembly import find_models
from kohya_runner.plan.forecast import ForecastInput, forecast
from kohya_runner.recipe.finish import Budget
from kohya_runner.record import record

GIB = 2**30
L4 = HostFacts(ram_bytes=64 * GIB, gpus=(Gpu("NVIDIA L4", 24 * GIB, 0, (8, 9), "570"),))
SMALL = HostFacts(ram_bytes=64 * GIB, gpus=(Gpu("NVIDIA RTX", 8 * GIB, 0, (8, 9), "570"),))
OFFLINE = {"HF_HUB_OFFLINE": "1"}


@pytest.fixture
def told(planned, pictures):
    """The forecast of a recipe with three pictures, on a machine."""

    def make(recipe: str, host: HostFacts | None, *overrides: str, **limits: float):
        plan = planned(recipe, f"datasets.0.images={pictures(3)}", "datasets.0.expect=null", *overrides)
        options = options_for(plan.support.script, None, plan.workspace.cache, write_cache=False)
        settings = as_parsed(options, plan.args)
        models = find_models(plan.loaded, plan.support, plan.workspace, look=False)
        subject = ForecastInput(plan.loaded, plan.support, settings, models, plan.workspace, OFFLINE, Budget(**limits))
        recipe = plan.loaded.recipe
        need = machine.needs(ResolvedRecipe(plan.loaded, recipe, plan.support, settings, models, plan.args, ()))
        found = forecast(subject, plan.steps, need=need, host=host, argv=plan.command.argv)
        return found, plan

    return make


def test_the_screen_gets_a_row_for_memory_and_one_for_time(told):
    found, _ = told("flux_lora.yaml", L4)
    assert [label for label, _ in found.rows()] == ["memory", "time"]
    assert found.findings == ()


def test_a_small_gpu_is_told_with_the_place_in_the_recipe(told):
    found, _ = told("bespoke_baby_sdxl.yaml", SMALL)
    assert [finding.code for finding in found.findings] == ["memory.vram"]
    assert "bespoke_baby_sdxl.yaml:" in found.findings[0].where


def test_for_another_machine_there_are_estimates_alone(told):
    found, _ = told("flux_lora.yaml", None)
    described = found.as_json()
    assert (described["models"], described["memory"]["vram"]["gpu_bytes"], found.findings) == ([], None, ())
    assert described["memory"]["vram"]["needed_bytes"] > 15 * GIB


def test_an_earlier_run_on_this_gpu_tells_the_time_and_the_budget_refuses(told):
    _, plan = told("flux_lora.yaml", L4)
    folder = plan.workspace.runs / plan.name / "001"
    folder.mkdir(parents=True)
    times = record.Timings(queued=1.0, started=0.0, first_step=100.0, ended=600.0)
    record.write(folder, record.Record(
        state="succeeded", run_id="001", name=plan.name, argv=plan.command.argv, cwd="/", final="x", timings=times,
        steps_seen=101, gpus=({"name": "NVIDIA L4"},),
    ))  # fmt: skip
    found, plan = told("flux_lora.yaml", L4, price_per_hour=0.5, max_cost=0.1)
    assert plan.steps.total == 300
    assert found.as_json()["time"]["seconds"] == 100.0 + 300 * 5.0
    assert [finding.code for finding in found.findings] == ["budget.cost"]
