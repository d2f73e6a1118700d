"""What the table of families makes of a recipe: options that are added, components that are needed."""

from __future__ import annotations

import json

from kohya_runner.findings import Severity


def errors(plan) -> dict[str, str]:
    return {f.code: f.message for f in plan.findings if f.severity is Severity.ERROR}


def images(pictures) -> str:
    return f"datasets.0.images={json.dumps(str(pictures(4)))}"


def test_sd2_is_trained_with_v2_without_a_word_in_the_recipe(planned, pictures):
    plan = planned("sd2_lora.yaml", images(pictures))
    assert errors(plan) == {}
    assert "--v2" in plan.command.argv
    assert next(arg.source for arg in plan.args if arg.name == "v2") == "runner: train_network.py"


def test_sd2_without_v2_is_refused(planned, pictures):
    assert "args.v2_missing" in errors(planned("sd2_lora.yaml", images(pictures), "args.v2=false"))


def test_chroma_needs_no_clip_l_and_flux_does(planned, pictures):
    assert errors(planned("chroma_lora.yaml", images(pictures))) == {}
    found = errors(planned("chroma_lora.yaml", images(pictures), "args.model_type=flux"))
    assert "components.clip_l is missing" in found["recipe.component"]


def test_an_autoencoder_of_sd3_is_a_component_that_may_be_left_out(planned, pictures):
    plan = planned("sd3_lora.yaml", images(pictures), "args.vae=mine.safetensors")
    assert "components.vae" in next(f.hint for f in plan.findings if f.code == "args.owned")
    assert errors(planned("sd3_lora.yaml", images(pictures))) == {}


def test_the_turbo_recipe_has_the_800_steps_and_the_rank_it_is_known_for(planned, pictures):
    plan = planned("sd35_large_turbo_lora.yaml", images(pictures))
    assert errors(plan) == {}
    wanted = {"--network_dim=32", "--network_alpha=64", "--max_train_steps=800", "--learning_rate=0.0001"}
    assert wanted <= set(plan.command.argv)
    assert plan.steps.total == 800


def test_a_seed_of_0_among_the_sample_prompts_of_lumina_is_found(planned, pictures, odd_path):
    prompts = odd_path / "prompts.txt"
    prompts.write_text("a lad --d 0\n", encoding="utf-8")
    options = ("args.sample_every_n_epochs=1", f"args.sample_prompts={json.dumps(str(prompts))}")
    assert "args.sample_seed" in errors(planned("lumina_lora.yaml", images(pictures), *options))
    prompts.write_text("a lad --d 1\n", encoding="utf-8")
    assert errors(planned("lumina_lora.yaml", images(pictures), *options)) == {}
