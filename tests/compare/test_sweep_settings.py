from __future__ import annotations

import pytest

from kohya_runner.compare.cells import Grid, grid_of
from kohya_runner.compare.comparison import Head
from kohya_runner.compare.settings import SweepOptions, SweepSettings, settings_from
from kohya_runner.compare.subject import options_of, stated_values
from kohya_runner.compare.sweep import painter_of
from kohya_runner.engines import table
from kohya_runner.engines.painting import Base, Painter, PaintJob
from kohya_runner.errors import UsageError


def find(family: str) -> Painter:
    return painter_of(Base(family, ""))


def test_the_command_line_comes_before_the_recipe():
    recipe = {"prompts": ["a cat"], "seeds": [1, 2], "steps": 20, "guidance": 0.0}
    made = settings_from(SweepOptions(seeds="9", steps=5), recipe, painter=find("sdxl"), size=None)
    assert (made.prompts, made.seeds, made.steps, made.guidance) == (("a cat",), (9,), 5, 0.0)


def test_sampler_and_samplers_are_one_list_with_each_name_once():
    recipe = {"sampler": "lms", "samplers": ["heun", "lms"]}
    made = settings_from(SweepOptions(prompts=("x",)), recipe, painter=find("sd2"), size=None)
    assert made.samplers == ("lms", "heun")
    assert settings_from(SweepOptions(prompts=("x",)), recipe, painter=find("sd3"), size=None).samplers == ("",)


def test_the_training_s_size_is_cut_to_what_the_script_takes_and_a_stated_one_is_refused():
    anima = find("anima")
    made = settings_from(SweepOptions(prompts=("x",)), {}, painter=anima, size="1000x520")
    assert (made.width, made.height) == (992, 512)
    with pytest.raises(UsageError, match="height 520: anima takes multiples of 32"):
        settings_from(SweepOptions(prompts=("x",), size="992x520"), {}, painter=anima, size=None)


def test_zero_is_a_value():
    assert settings_from(
        SweepOptions(prompts=("x",), seeds="0", guidance=0.0), {}, painter=find("sd15"), size=None
    ).seeds == (0,)


def test_flux_has_a_guidance_of_its_own():
    assert settings_from(SweepOptions(prompts=("x",)), {}, painter=find("flux"), size=None).guidance == 3.5


def test_the_four_prompts_of_a_file_are_read_without_its_comments(odd_path):
    file = odd_path / "my prompts.txt"
    file.write_text("\ufeff# four\na cat\n\n  a dog, 'quoted'  \n", encoding="utf-8")
    assert settings_from(SweepOptions(prompts_file=file), {}, painter=find("sdxl"), size=None).prompts == (
        "a cat",
        "a dog, 'quoted'",
    )


def test_options_in_a_prompt_are_refused_with_their_line(odd_path):
    file = odd_path / "prompts.txt"
    file.write_text("a cat\na dog --f /etc/passwd\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"prompts\.txt:2:1: '--'"):
        settings_from(SweepOptions(prompts_file=file), {}, painter=find("sdxl"), size=None)


def test_everything_that_is_wrong_is_said_at_once(odd_path):
    given = SweepOptions(prompts=("a --f x",), seeds="1,x", steps=0, size="64", strengths="99", sampler="magic")
    with pytest.raises(UsageError) as caught:
        settings_from(given, {}, painter=find("sdxl"), size=None)
    said = caught.value.message
    for part in ("--seeds 1,x", "steps 0", "--size 64", "strength 99", "sampler magic", "'--' begins an option"):
        assert part in said


@pytest.mark.parametrize("file", ["gone.txt", "empty.txt", "latin.txt"])
def test_a_prompt_file_that_cannot_be_used_is_named(odd_path, file):
    (odd_path / "empty.txt").write_text("# nothing\n")
    (odd_path / "latin.txt").write_bytes(b"\xe4\xff")
    with pytest.raises(UsageError, match=file):
        settings_from(SweepOptions(prompts_file=odd_path / file), {}, painter=find("sdxl"), size=None)


def test_no_prompt_at_all_is_an_error():
    with pytest.raises(UsageError, match="there is no prompt"):
        settings_from(SweepOptions(), {}, painter=find("sdxl"), size=None)


def test_every_family_that_can_be_trained_can_be_compared():
    assert {row.family for row in table.FAMILIES} <= {row.family for row in table.painters()}


def test_an_unknown_family_is_told_the_known_ones():
    with pytest.raises(UsageError, match="cannot be compared"):
        find("dalle")


def job(tmp_path):
    return PaintJob(tmp_path / "jobs.json", tmp_path / "out", tmp_path / "a.safetensors", 0.8, "euler_a")


def test_gen_img_gets_the_family_because_it_would_guess_it_by_size(tmp_path):
    options = {"mixed_precision": "fp16", "v_parameterization": True, "tokenizer_cache_dir": "/t", "clip_skip": "2"}
    argv = find("sd2").arguments(Base("sd2", "/m.safetensors", options), job(tmp_path))
    assert argv[:5] == ("--v2", "--v_parameterization", "--fp16", "--sdpa", "--ckpt=/m.safetensors")
    assert "--sampler=euler_a" in argv
    assert "--tokenizer_cache_dir=/t" in argv
    assert find("sdxl").arguments(Base("sdxl", "x"), job(tmp_path))[:2] == ("--sdxl", "--no_half_vae")


def test_a_model_that_was_held_in_eight_bit_is_painted_in_eight_bit(tmp_path):
    argv = find("flux").arguments(Base("flux", "/m", {"fp8_base": True, "mixed_precision": "bf16"}), job(tmp_path))
    assert "--flux_dtype=fp8" in argv
    assert "--dtype=bf16" in argv
    assert "--offload" not in argv


def test_a_merged_lora_has_its_strength_at_load_and_the_base_has_none(tmp_path):
    with_lora = find("anima").arguments(Base("anima", "/m", {"qwen3": "/q"}), job(tmp_path))
    assert with_lora[with_lora.index("--lora_multiplier") + 1] == "0.8"
    base = PaintJob(tmp_path, tmp_path, tmp_path / "a", 0.0, "ddim")
    assert "--lora_weight" not in find("anima").arguments(Base("anima", "/m", {"qwen3": "/q"}), base)


def one_cell_grid(prompt: str) -> Grid:
    settings = SweepSettings(prompts=(prompt,), negative="blurry", width=64, height=48, steps=2)
    return grid_of((Head("base", base=True, strength=0.0),), settings, {})


def test_braces_would_be_variants_and_are_refused():
    with pytest.raises(UsageError, match="choice of several prompts"):
        settings_from(SweepOptions(prompts=("a {red|blue} cat",)), {}, painter=find("sdxl"), size=None)


def test_gen_img_gets_one_line_that_says_all():
    grid = one_cell_grid("a (red:1.2) cat")
    line = find("sdxl").line(grid.request(grid.cells[0]))
    assert line == (
        f"a (red:1.2) cat --w 64 --h 48 --s 2 --l 7.500000 --d 42 --am 0.000000 --f {grid.cells[0].key}.png --n blurry"
    )


def test_the_minimal_scripts_get_their_own_words():
    grid = one_cell_grid("a cat")
    assert find("flux").line(grid.request(grid.cells[0])) == (
        "a cat --w 64 --h 48 --s 2 --g 7.5 --d 42 --m 0.000000 --n blurry"
    )


def test_chroma_is_guided_by_the_negative_prompt_and_has_no_distilled_guidance(tmp_path):
    base = Base("flux", "/m", {"model_type": "chroma", "t5xxl": "/t", "ae": "/a"})
    painter = painter_of(base)
    assert {"--model_type=chroma", "--apply_t5_attn_mask"} <= set(painter.arguments(base, job(tmp_path)))
    grid = one_cell_grid("a cat")
    assert painter.line(grid.request(grid.cells[0])) == (
        "a cat --w 64 --h 48 --s 2 --g 0 --c 7.5 --d 42 --m 0.000000 --n blurry"
    )
    assert painter_of(Base("flux", "/m")) is find("flux")


def test_anima_reads_escape_sequences_so_a_prompt_is_written_with_them():
    grid = one_cell_grid("a caf\u00e9 \\n 'x'")
    line = find("anima").line(grid.request(grid.cells[0]))
    prompt = line.split(" --")[0]
    assert prompt == "a caf\\xe9 \\\\n 'x'"
    assert prompt.encode().decode("unicode_escape") == "a caf\u00e9 \\n 'x'"


def test_hunyuan_is_held_in_memory_as_its_training_was(tmp_path):
    options = {"text_encoder": "/t", "byt5": "/b", "vae": "/v", "fp8_scaled": True, "blocks_to_swap": "28"}
    argv = find("hunyuan_image").arguments(Base("hunyuan_image", "/m", options), job(tmp_path))
    assert {"--fp8_scaled", "--blocks_to_swap=28", "--text_encoder=/t"} <= set(argv)


def test_a_key_changes_with_everything_a_picture_depends_on():
    def key(how=None, **changes):
        settings = SweepSettings(**{"prompts": ("a",), **changes})
        return grid_of((Head("base", base=True, strength=0.0),), settings, how or {}).cells[0].key

    keys = [
        key(),
        key(steps=2),
        key(width=8),
        key(samplers=("lms",)),
        key(seeds=(1,)),
        key(negative="x"),
        key({"trainer": "y"}),
    ]
    assert len(set(keys)) == len(keys)
    assert key(strengths=(0.5,), base=False, triggers=("x",)) == keys[0]


def test_a_recorded_recipe_is_read_without_its_defaults():
    tree = {"compare": {"seeds": {"0": {"value": 1, "source": "a:1:1"}}, "steps": {"value": 30, "source": "default"}}}
    assert stated_values(tree) == {"compare": {"seeds": [1]}}


def test_options_of_a_recorded_command():
    argv = ("python", "x.py", "--a=1=2", "--sdpa", "--b=")
    assert options_of(argv) == {"a": "1=2", "sdpa": True, "b": ""}
