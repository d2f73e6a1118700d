from __future__ import annotations

import json

from safetensors_bytes import safetensors

from kohya_runner.findings import Severity


def codes(plan) -> list[str]:
    return [f.code for f in plan.findings if f.severity is Severity.ERROR and f.code.startswith("model.p")]


def all_codes(plan) -> set[str]:
    return {f.code for f in plan.findings if f.severity is Severity.ERROR}


def test_a_practice_file_is_refused_as_weights_but_not_by_practice(planned, pictures, odd_path):
    weights = odd_path / "practice.safetensors"
    weights.write_bytes(safetensors({"practice": "not a trained model"}))
    choices = (f"datasets.0.images={json.dumps(str(pictures(3)))}", f"args.network_weights={json.dumps(str(weights))}")
    refused = planned("sd15_lora.yaml", *choices, elsewhere=False, practice=False)
    assert codes(refused) == ["model.practice"]
    allowed = planned("sd15_lora.yaml", *choices, elsewhere=False, practice=True)
    assert codes(allowed) == []


def test_missing_and_broken_weights_are_named(planned, pictures, odd_path):
    cut = odd_path / "cut.safetensors"
    cut.write_bytes(safetensors({})[:-1])
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
    listed = json.dumps([str(cut), str(odd_path / "no.safetensors")])
    plan = planned("sd15_lora.yaml", images, f"args.base_weights={listed}", elsewhere=False, practice=True)
    assert {"model.broken", "model.missing"} <= all_codes(plan)


def test_a_state_to_resume_from_must_be_a_folder_of_the_real_trainer(planned, pictures, odd_path):
    images = f"datasets.0.images={json.dumps(str(pictures(3)))}"
    missing = planned("sd15_lora.yaml", images, "args.resume=/no/such/state", elsewhere=False, practice=True)
    assert "model.missing" in all_codes(missing)
    state = odd_path / "x-000001-state"
    state.mkdir()
    (state / "model.safetensors").write_bytes(safetensors({"practice": "x"}))
    plan = planned("sd15_lora.yaml", images, f"args.resume={json.dumps(str(state))}", elsewhere=False)
    assert codes(plan) == ["model.practice"]
