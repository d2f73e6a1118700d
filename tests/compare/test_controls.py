from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from kohya_runner.compare.cells import STOOD_IN, grid_of, stated_controls, with_controls
from kohya_runner.compare.comparison import Head
from kohya_runner.compare.settings import SweepOptions, SweepSettings
from kohya_runner.compare.subject import Named, find_subject, options_of
from kohya_runner.compare.sweep import choose_settings, painter_of
from kohya_runner.compare.training_data import captions_of, resolution_of, trained_pairs, trained_size, training_files
from kohya_runner.engines.painting import Base, PaintJob
from kohya_runner.errors import UsageError

KONTEXT, FLUX2, FLUX = (painter_of(Base(family, "")) for family in ("flux_kontext", "flux2", "flux"))
SETTINGS = SweepSettings(prompts=("make it red", "make it blue"), width=32, height=16, guidance=2.5)


def draw(path: Path, colour: str = "red", size: tuple[int, int] = (40, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def trained(tmp_path: Path) -> Base:
    """A base whose training had two pairs in folders."""
    for number, colour in enumerate(("red", "blue")):
        draw(tmp_path / "it's" / "target" / f"{number}.png", colour)
        draw(tmp_path / "it's" / "control" / f"{number}.png", f"dark{colour}")
        (tmp_path / "it's" / "target" / f"{number}.txt").write_text(f"make it {colour} --w 9", encoding="utf-8")
    dataset = {"image_directory": str(tmp_path / "it's" / "target"), "caption_extension": ".txt",
               "control_directory": str(tmp_path / "it's" / "control"), "resolution": [64, 48]}  # fmt: skip
    file = tmp_path / "dataset.json"
    file.write_text(json.dumps({"datasets": [dataset]}), encoding="utf-8")
    return Base("flux_kontext", "/m", {"dataset_config": str(file)})


def test_the_pairs_of_the_training_are_found_in_its_dataset_file(trained):
    assert [(p.instruction, p.control.name, p.target.name) for p in trained_pairs(trained)] == [
        ("make it red --w 9", "0.png", "0.png"),
        ("make it blue --w 9", "1.png", "1.png"),
    ]
    assert trained_size(trained) == resolution_of(trained) == "64x48"
    assert captions_of(trained) == ("make it red -w 9", "make it blue -w 9")
    assert [path.name for path in training_files(trained)] == ["0.png", "1.png"]


def test_rows_of_a_jsonl_file_are_pairs_too(tmp_path):
    target, control = draw(tmp_path / "a.png"), draw(tmp_path / "b.png")
    rows = [{"image_path": str(target), "control_path_0": str(control), "caption": "x"},
            {"image_path": str(target), "caption": "no control"}]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    told = {"general": {"resolution": 512}, "datasets": [{"image_jsonl_file": str(tmp_path / "rows.jsonl")}]}
    (tmp_path / "d.json").write_text(json.dumps(told), encoding="utf-8")
    base = Base("flux2", "/m", {"dataset_config": str(tmp_path / "d.json")})
    assert [pair.control for pair in trained_pairs(base)] == [control, None]
    assert trained_size(base) == "512x512"


@pytest.mark.parametrize("text", ["", "{", "[]"], ids=["empty", "cut", "list"])
def test_a_dataset_file_that_tells_nothing_has_no_pairs(tmp_path, text):
    (tmp_path / "d.json").write_text(text, encoding="utf-8")
    assert trained_pairs(Base("flux2", "/m", {"dataset_config": str(tmp_path / "d.json")})) == ()


def test_a_control_picture_is_brought_to_the_painted_size(tmp_path):
    stated = [draw(tmp_path / "one 'a'.png", "red", (100, 50)), draw(tmp_path / "two.png", "blue", (7, 90))]
    settings, notes = with_controls(SETTINGS, KONTEXT, Base("flux_kontext", "/m"), stated, tmp_path / "out")
    assert [Image.open(path).size for path in settings.controls] == [(32, 16)] * 2
    assert Image.open(settings.controls[1]).getpixel((0, 0)) == (0, 0, 255)
    assert notes == ()


def test_one_control_picture_serves_every_prompt(tmp_path):
    stated = [draw(tmp_path / "one.png")]
    settings, _ = with_controls(SETTINGS, KONTEXT, Base("flux_kontext", "/m"), stated, tmp_path)
    assert len(settings.controls) == 2
    assert len(set(settings.controls)) == 1


def test_an_instruction_is_painted_on_its_own_pairs_input(trained, tmp_path):
    settings = SweepSettings(prompts=("make it blue --w 9", "another"), width=16, height=16)
    settings, notes = with_controls(settings, KONTEXT, trained, (), tmp_path)
    pixels = [Image.open(path).getpixel((0, 0)) for path in settings.controls]
    assert pixels == [(0, 0, 139), (0, 0, 139)]
    assert notes == (STOOD_IN,)


def test_flux2_may_paint_without_a_control_picture_and_kontext_may_not(tmp_path):
    settings, notes = with_controls(SETTINGS, FLUX2, Base("flux2", "/m"), (), tmp_path)
    assert (settings, notes) == (SETTINGS, ())
    with pytest.raises(UsageError, match="edits pictures"):
        with_controls(SETTINGS, KONTEXT, Base("flux_kontext", "/m"), (), tmp_path)


def test_a_script_that_takes_none_says_so(tmp_path):
    settings, (note,) = with_controls(SETTINGS, FLUX, Base("flux", "/m"), [tmp_path / "a.png"], tmp_path)
    assert settings == SETTINGS
    assert "takes no control pictures" in note


def test_every_picture_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "text.png").write_text("no picture", encoding="utf-8")
    stated = [tmp_path / "gone.png", tmp_path / "text.png"]
    with pytest.raises(UsageError) as caught:
        with_controls(SETTINGS, KONTEXT, Base("flux_kontext", "/m"), stated, tmp_path)
    assert "gone.png: there is no such" in str(caught.value)
    assert "text.png: cannot be read as a picture" in str(caught.value)


def test_three_pictures_for_two_prompts_are_refused(tmp_path):
    with pytest.raises(UsageError, match="3 control pictures for 2 prompts"):
        with_controls(SETTINGS, KONTEXT, Base("flux_kontext", "/m"), [tmp_path / "a"] * 3, tmp_path)


def test_a_relative_control_is_looked_for_beside_the_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "recipes" / "a.png")
    found = stated_controls(SweepOptions(), {"controls": ["a.png", "b.png"]}, tmp_path / "recipes")
    assert found == (tmp_path / "recipes" / "a.png", tmp_path / "b.png")
    assert stated_controls(SweepOptions(controls=(Path("c.png"),)), {"controls": ["a.png"]}, None) == (
        tmp_path / "c.png",
    )


def test_another_control_picture_is_another_cell():
    keys = {
        grid_of((Head("base", base=True, strength=0.0),), SweepSettings(prompts=("a",), controls=controls), {})
        .cells[0]
        .key
        for controls in ((), ("/x/aaa.png",), ("/y/bbb.png",))
    }
    assert len(keys) == 3
    moved = SweepSettings(prompts=("a",), controls=("/elsewhere/aaa.png",))
    assert grid_of((Head("base", base=True, strength=0.0),), moved, {}).cells[0].key in keys


def job(tmp_path: Path, strength: float) -> PaintJob:
    return PaintJob(tmp_path / "jobs.json", tmp_path / "out", tmp_path / "a b.safetensors", strength, "", guidance=2.5)


def test_kontext_gets_its_parts_its_guidance_and_a_multiplier_with_every_lora(tmp_path):
    options = options_of(["--vae=/v", "--text_encoder1=/t5", "--text_encoder2=/clip", "--blocks_to_swap=20", "--sdpa"])
    argv = KONTEXT.arguments(Base("flux_kontext", "/m", options), job(tmp_path, 0.8))
    assert argv == (
        "--dit=/m", "--vae=/v", "--text_encoder1=/t5", "--text_encoder2=/clip", "--blocks_to_swap=20",
        "--lora_weight", str(tmp_path / "a b.safetensors"), "--lora_multiplier", "0.8", "--attn_mode=torch",
        f"--save_path={tmp_path / 'out'}", "--interactive", "--no_resize_control", "--embedded_cfg_scale=2.5",
    )  # fmt: skip


def test_flux2_gets_its_variant_and_the_base_column_no_lora(tmp_path):
    options = options_of(["--vae=/v", "--text_encoder=/q", "--model_version=klein-base-4b", "--fp8_scaled"])
    argv = FLUX2.arguments(Base("flux2", "/m", options), job(tmp_path, 0.0))
    assert argv[:2] == ("--model_version=klein-base-4b", "--dit=/m")
    assert {"--fp8_scaled", "--text_encoder=/q", "--guidance_scale=2.5", "--embedded_cfg_scale=2.5"} <= set(argv)
    assert "--lora_weight" not in argv
    assert "--from_file" not in " ".join(argv)


def test_each_new_family_gets_what_its_script_takes(tmp_path):
    options = options_of(["--vae=/v", "--text_encoder=/q", "--model_version=edit-2509", "--fp8_vl", "--fp8_scaled"])
    tail = ("--lora_weight", str(tmp_path / "a b.safetensors"), "--lora_multiplier", "1", "--attn_mode=torch",
            f"--save_path={tmp_path / 'out'}", "--interactive")  # fmt: skip
    edit = painter_of(Base("qwen_image_edit", ""))
    assert edit.arguments(Base("qwen_image_edit", "/m", options), job(tmp_path, 1.0)) == (
        "--model_version=edit-2509", "--dit=/m", "--vae=/v", "--text_encoder=/q", "--fp8_scaled", *tail, "--fp8_vl",
        "--guidance_scale=2.5", "--negative_prompt= ",
    )  # fmt: skip
    krea2 = painter_of(Base("krea2", ""))
    parts = options_of(["--vae=/v", "--text_encoder=/q"])
    assert krea2.arguments(Base("krea2", "/m", parts), job(tmp_path, 1.0)) == (
        "--dit=/m", "--vae=/v", "--text_encoder=/q", *tail, "--guidance_scale=2.5",
    )  # fmt: skip
    assert (edit.controls, krea2.controls, krea2.each, painter_of(Base("z_image", "")).networks) == (
        "needed",
        "",
        True,
        True,
    )


def test_a_line_says_the_prompt_its_size_seed_and_control():
    settings = SweepSettings(prompts=("make it red",), negative="blur", width=64, height=48, steps=2)
    settings = replace(settings, controls=("/a b/c.png",))
    grid = grid_of((Head("base", base=True, strength=0.0),), settings, {})
    said = KONTEXT.line(grid.request(grid.cells[0]))
    assert said == "make it red --w 64 --h 48 --s 2 --d 42 --n blur --ci /a b/c.png"


def test_a_lora_of_these_families_is_named_like_one_of_flux(tmp_path):
    from kohya_runner.artefact.lora import Shape

    assert Shape(mark="flux").for_family("flux_kontext")
    assert Shape(mark="flux").for_family("flux2")
    assert not Shape(mark="sdxl").for_family("flux2")


def test_the_base_model_of_files_is_what_was_named(tmp_path):
    (tmp_path / "a.safetensors").write_bytes(b"")
    subject = find_subject(Named(targets=(str(tmp_path / "a.safetensors"),), family="flux2", model="/dit"))
    settings, _ = choose_settings(subject, SweepOptions(prompts=("x",), size="64x64"), FLUX2)
    assert (subject.base.model, settings.guidance) == ("/dit", 4.0)
