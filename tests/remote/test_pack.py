from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from kohya_runner.errors import RecipeError
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Request
from kohya_runner.remote.pack import options_there, pack, secrets


@pytest.fixture
def packed(odd_path: Path):
    """Packs a recipe of these lines; the folder of the pack, and the plan."""

    def make(lines: str, **choices):
        file = odd_path / "recipes" / "mine.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(lines, encoding="utf-8")
        env = {"HOME": str(odd_path / "home"), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HF_USER": "ann"}
        plan = make_plan(Request(file, workspace=str(odd_path / "ws"), elsewhere=True, **choices), environ=env)
        folder = odd_path / "pack"
        size = pack(plan, folder, "mine/001")
        return folder, plan, size

    return make


def planned_there(folder: Path):
    """What the other machine makes of it: it has the pack alone, links replaced by files."""
    there = shutil.copytree(folder, folder.parent / "sent", symlinks=False)
    return make_plan(
        Request(there / "recipe.yaml", workspace=str(folder / "there"), elsewhere=True),
        environ={"HOME": str(folder), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"},
    )


def data(folder: Path, concept: str = "cat") -> str:
    return f"datasets: [{json.dumps({'images': str(folder), 'concept': concept})}]\n"


BASE = "name: mine\nfamily: sd15\nmodel: {random: sd15}\nargs: {max_train_epochs: 1, resolution: 64}\n"


def test_one_recipe_with_what_it_extends_and_its_pictures_beside_it(packed, pictures, odd_path):
    folder = pictures(2, (64, 64))
    (folder / ".hidden").write_text("x")
    (odd_path / "recipes").mkdir()
    (odd_path / "recipes" / "base.yaml").write_text(BASE + data(folder))
    lines = (
        "extends: base.yaml\nname: '{{ env.HF_USER }}'\nworkspace: /workspace\n"
        "args: {network_dim: 4}\nlaunch: {python: /opt/p}\nfinish: {stop_pod: true}\n"
    )
    made, plan, size = packed(lines, trust=("launch.python", "finish.stop_pod"))
    there = planned_there(made)
    assert [f for f in there.findings if f.severity.value == "error"] == []
    assert there.name == "ann"
    assert there.steps == plan.steps
    recipe = there.loaded.recipe
    assert (recipe.workspace, recipe.launch.python, recipe.finish.stop_pod, recipe.extends) == (None, None, False, ())
    files = [path for path in (made / "files").rglob("*") if path.is_file()]
    assert len(files) == 4
    assert size == sum(path.stat().st_size for path in files)
    assert all(path.is_symlink() for path in files)


def test_model_files_and_states_go_along_and_paths_of_the_other_machine_stay(packed, pictures, odd_path):
    folder = pictures(2, (64, 64))
    (odd_path / "vae.safetensors").write_bytes(b"vae")
    lines = (
        "name: mine\nfamily: sd15\nmodel: /workspace/models/base.safetensors\n"
        "args: {max_train_epochs: 1, resolution: 64, vae: ../vae.safetensors}\n"
    )
    made, _, _ = packed(lines + data(folder))
    recipe = planned_there(made).loaded.recipe
    assert recipe.model == "/workspace/models/base.safetensors"
    assert (made / recipe.args["vae"]).read_bytes() == b"vae"


def test_a_link_that_leads_out_of_a_dataset_is_not_sent(packed, pictures, odd_path):
    folder = pictures(2, (64, 64))
    (odd_path / "private.txt").write_text("private")
    (folder / "notes.md").symlink_to(odd_path / "private.txt")
    (folder / "loop").symlink_to(folder)
    made, _, _ = packed(BASE + data(folder))
    assert not [path for path in made.rglob("*") if path.name in ("notes.md", "loop")]


def test_a_metadata_file_goes_with_the_pictures_that_it_names(packed, odd_path):
    folder = odd_path / "listed"
    folder.mkdir()
    Image.new("RGB", (64, 64)).save(folder / "a.png")
    (folder / "metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "text": "a cat"}) + "\n")
    made, plan, _ = packed(BASE + data(folder / "metadata.jsonl"))
    assert planned_there(made).steps == plan.steps is not None


def test_a_secret_in_a_recipe_is_not_sent(packed, pictures):
    lines = BASE + data(pictures(1), "hf_abcdefghijklmnopqrstuvw")
    with pytest.raises(RecipeError) as caught:
        packed(lines)
    assert "datasets.0.concept: holds a secret" in str(caught.value.findings[0])


def test_what_was_allowed_here_is_allowed_there_and_only_needed_secrets_are_named(packed, pictures, odd_path):
    lines = BASE + data(pictures(1)) + "finish: {notify: {env: MY_HOOK}}\n"
    _, plan, _ = packed(lines, trust=("finish.notify",), allow=("image.upscaled",), practice=True)
    assert options_there(plan) == ("--trust=finish.notify", "--allow=image.upscaled", "--practice")
    assert secrets(plan) == ("MY_HOOK",)
    from_hub = replace(plan.loaded, recipe=plan.loaded.recipe.model_copy(update={"model": "someone/model"}))
    assert secrets(replace(plan, loaded=from_hub)) == ("MY_HOOK", "HF_TOKEN")
