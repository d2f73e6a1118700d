"""A plan for another machine: what can be looked at here is, and what cannot is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_headers import small

from kohya_runner.findings import Severity
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.report import plan_json, rows
from kohya_runner.plan.value import Request

ROOT = Path(__file__).parents[2]


@pytest.fixture
def elsewhere(odd_path, pictures, hub):
    """Plans the SDXL pixel art recipe for another machine, with the local Hub."""

    def plan(*overrides: str, **env: str):
        images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
        request = Request(
            ROOT / "recipes" / "pixel_art_sdxl.yaml",
            (images, "datasets.0.expect=3", *overrides),
            workspace=str(odd_path / "ws"),
            elsewhere=True,
        )
        environ = {"HOME": str(odd_path / "home"), "PATH": "/usr/bin", "HF_ENDPOINT": f"http://127.0.0.1:{hub.port}"}
        return make_plan(request, environ=environ | env)

    return plan


def said(plan, code: str):
    return next((finding for finding in plan.findings if finding.code == code), None)


def test_a_repository_that_is_not_on_the_hub_is_an_error(elsewhere):
    found = said(elsewhere("model=nobody/nothing", HF_TOKEN="good"), "hub.missing")
    assert found.severity is Severity.ERROR


def test_a_file_that_the_repository_lacks_is_an_error_with_its_nearest(elsewhere, make_repo):
    make_repo("org/repo")
    found = said(elsewhere("model=hf://org/repo/modell.safetensors"), "hub.missing")
    assert found.message == "org/repo has no file modell.safetensors"
    assert found.hint == "did you mean 'model.safetensors'?"


def test_what_is_gated_here_may_be_open_there(elsewhere, make_repo):
    make_repo("org/repo", gated=True)
    assert said(elsewhere("model=org/repo", HF_TOKEN="good"), "hub.gated").severity is Severity.WARNING


def test_a_file_that_is_not_here_is_named_and_no_error(elsewhere):
    plan = elsewhere("model=/there/sdxl.safetensors")
    assert plan.ok
    assert "/there/sdxl.safetensors: is not on this machine" in plan.not_checked
    assert plan_json(plan)["not_checked"] == list(plan.not_checked)
    assert "is not on this machine" in dict(rows(plan))["unchecked"]


def test_a_file_that_is_here_is_read(elsewhere, odd_path):
    path = odd_path / "lora.safetensors"
    path.write_bytes(small({"a.lora_down.weight": [4, 4]}))
    assert said(elsewhere(f"model={json.dumps(str(path))}"), "model.family").severity is Severity.ERROR


def test_a_hub_that_does_not_answer_is_named_and_no_error(elsewhere):
    plan = elsewhere(HF_HUB_OFFLINE="1")
    assert plan.ok
    assert any(text.startswith("models on the Hub: ") for text in plan.not_checked)


@pytest.mark.parametrize(("prompt", "code"), [
    ("a cat --w 1000 --h 1024", "args.sample_rounded"), ("a cat --w 32 --h 1024", None),
    ("a cat --w 992 --h 1024 --d 1", None),
])  # fmt: skip
def test_what_the_recipe_s_own_sample_prompts_ask_for_is_judged(elsewhere, prompt, code):
    plan = elsewhere(f"samples={{prompts: [{json.dumps(prompt)}], every_n_epochs: 1}}", HF_HUB_OFFLINE="1")
    found = [finding.code for finding in plan.findings if finding.code.startswith("args.sample")]
    assert code in found if code else not found


def test_tokens_that_are_not_counted_are_named(elsewhere):
    assert any("the tokenizer of CLIP-L, CLIP-G is not here yet" in text for text in elsewhere().not_checked)


@pytest.mark.parametrize("name", ["model=hf://org/repo/flux.gguf", "model=/there/flux.GGUF"])
def test_a_gguf_file_is_refused(elsewhere, make_repo, odd_path, name):
    make_repo("org/repo", {"flux.gguf": b"GGUF"})
    path = odd_path / "flux.gguf"
    path.write_bytes(b"GGUF" + b"\0" * 600)
    plan = elsewhere(name.replace("/there/flux.GGUF", str(path)))
    assert "GGUF" in said(plan, "model.format").message
