from __future__ import annotations

import json
from pathlib import Path

import pytest

from kohya_runner.artefact.model_inspection import Inspected, precision_findings
from kohya_runner.engines import table
from kohya_runner.hub import Access
from kohya_runner.plan.assembly import find_models
from kohya_runner.plan.forecast import inspect_models
from kohya_runner.recipe.load import load
from kohya_runner.workspace import Workspace

ROOT = Path(__file__).parents[2]
DEAD = Access("http://127.0.0.1:9")


def _flux(path: Path) -> Path:
    rows = {"img_in.weight": [3072, 64], "double_blocks.0.img_attn.qkv.weight": [9216, 3072]}
    end, header = 0, {}
    for name, shape in rows.items():
        size = shape[0] * shape[1]
        header[name] = {"dtype": "F8_E4M3", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path


@pytest.fixture
def inspected(odd_path: Path):
    """The model files of a recipe in a workspace of its own."""

    def make(*overrides: str, reach: Access | None = None, recipe: str = "flux_lora.yaml"):
        loaded = load(ROOT / "recipes" / recipe, overrides, environ={})
        row = table.find(loaded.recipe.family, "lora")
        models = find_models(loaded, row, Workspace(odd_path / "ws"), look=True)
        return inspect_models(loaded, models, reach=reach)

    return make


def test_local_files_are_known_by_slot_with_their_places(inspected, odd_path):
    path = _flux(odd_path / "flux.safetensors")
    (model, ae) = inspected(f"model={path}", f"components.ae={path}")
    assert (model.slot, model.identity.key, model.dtype, model.where) == ("model", "flux", "F8_E4M3", "--set model")
    assert (ae.slot, ae.where) == ("ae", "--set components.ae")


def test_a_file_that_was_fetched_before_is_read_here(inspected, odd_path):
    _flux(odd_path / "ws" / "models" / "black-forest-labs" / "FLUX.1-dev" / "flux1-dev.safetensors")
    assert [seen.slot for seen in inspected(reach=None)] == ["model"]


def test_where_the_hub_does_not_answer_nothing_is_said(inspected):
    assert inspected(reach=DEAD) == ()


def test_a_hub_id_is_no_file(inspected):
    assert inspected(recipe="bespoke_baby_sdxl.yaml", reach=DEAD) == ()


@pytest.mark.parametrize(
    ("family", "switch", "dtype", "refused"),
    [
        ("flux", "fp8_base", "F8_E5M2", True),
        ("flux", "fp8_base", "F8_E4M3", False),
        ("flux", "", "F8_E5M2", False),
        ("flux2", "fp8_scaled", "F8_E4M3", True),
        ("flux2", "fp8_scaled", "BF16", False),
    ],
)
def test_a_model_in_fp8_that_the_script_does_not_take(family, switch, dtype, refused):
    files = (Inspected("model", "a.safetensors", dtype=dtype), Inspected("t5xxl", "b.safetensors", dtype=dtype))
    assert bool(list(precision_findings(files, family, lambda name: name == switch))) is refused
