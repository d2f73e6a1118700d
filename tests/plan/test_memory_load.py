from __future__ import annotations

import pytest

from kohya_runner.engines.arguments import as_parsed
from kohya_runner.plan.space import load_of
from kohya_runner.plan.value import Plan

IN_MEMORY = ("args.cache_latents_to_disk=false", "args.cache_text_encoder_outputs_to_disk=false")


@pytest.fixture
def load(planned, pictures):
    """What a recipe asks of memory, with three pictures of 24x24."""

    def make(recipe: str, *overrides: str):
        plan: Plan = planned(recipe, f"datasets.0.images={pictures(3)}", "datasets.0.expect=null", *overrides)
        assert plan.steps is not None
        assert plan.support is not None
        from kohya_runner.engines.table import options_for

        options = options_for(plan.support.script, None, plan.workspace.cache, write_cache=False)
        return load_of(as_parsed(options, plan.args), plan.support, steps=plan.steps)

    return make


def test_the_lora_and_the_largest_bucket_come_from_the_plan(load):
    found = load("bespoke_baby_sdxl.yaml")
    assert (found.lora.family, found.lora.dim, found.lora.text_encoder, found.pixels) == (
        "sdxl",
        128,
        True,
        1024 * 1024,
    )


def test_caches_on_the_disk_take_no_memory(load):
    assert load("flux_lora.yaml").cached == 0


def test_caches_in_memory_are_counted_with_every_text_token(load):
    """1.05 MB of latents and 8.4 MB of T5's 512 tokens for each picture."""
    assert load("flux_lora.yaml", *IN_MEMORY).cached == pytest.approx(3 * (1.05e6 + 8.4e6), rel=0.01)
