"""What ``dataset check`` says: real files, one odd thing each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from click.testing import CliRunner
from pictures import draw, pair

from kohya_runner.commands.dataset import dataset
from kohya_runner.errors import RecipeError, UsageError
from kohya_runner.findings import Finding, Severity
from kohya_runner.plan.inspection import Inspection, codes_by_image, inspect, inspection_json
from kohya_runner.plan.inspection_target import InspectionRequest, find_target
from kohya_runner.show.dataset_page import report_html

SIZE = (512, 512)


def look(folder: Path, **choices: Any) -> Inspection:
    room = str(folder.parent / "room")
    return inspect(find_target(InspectionRequest(folder, workspace=room, **{"resolution": "512", **choices}), {}))


def about(folder: Path, code: str, **choices: Any) -> Finding:
    """The one finding of a code."""
    found = [finding for finding in look(folder, **choices).findings if finding.code == code]
    assert len(found) == 1
    return found[0]


def photo(path: Path, size: tuple[int, int] = SIZE, caption: str = "a cat", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.linear_gradient("L").resize(size).convert("RGB").save(path, **options)
    path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


@pytest.fixture
def folder(odd_path: Path) -> Path:
    return odd_path / "cat"


def test_a_good_dataset_has_no_findings(folder: Path):
    photo(folder / "a.png")
    assert look(folder).page_findings == ()


def test_an_ignored_rotation_is_a_warning(folder: Path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    photo(folder / "a.jpg", exif=exif)
    photo(folder / "b.jpg", (511, 511))
    found = about(folder, "image.exif_rotation")
    assert found.severity is Severity.WARNING
    assert found.where.endswith("a.jpg")


def test_dropped_transparency_is_a_warning_with_the_number_of_pixels(folder: Path):
    pair(folder, "b")
    PIL.Image.new("RGBA", SIZE, (1, 2, 3, 0)).save(folder / "b.png")
    assert f"{512 * 512} transparent pixels" in about(folder, "image.alpha").message


def test_small_art_through_lanczos_names_nearest_and_whole_factors(folder: Path):
    pair(folder, "a")
    found = about(folder, "image.blurred", resolution="1024")
    assert "42.7 times with lanczos" in found.message
    assert "resize_interpolation: nearest" in found.hint
    assert "42 times makes 1008x1008" in found.hint


def recipe(folder: Path, args: str, **keys: str) -> Path:
    path = folder.parent / "recipe's.yaml"
    more = "".join(f"\n    {key}: {value}" for key, value in keys.items())
    path.write_text(
        f"name: r\nfamily: sdxl\nmodel: org/name\ndatasets:\n  - images: {folder.name}\n    concept: cat{more}\n"
        f"args: {{resolution: 512, cache_latents: true, {args}}}\n",
        encoding="utf-8",
    )
    return path


def test_a_recipe_with_nearest_is_not_told_to_write_it(folder: Path):
    pair(folder, "a")
    codes = {f.code for f in look(recipe(folder, "resize_interpolation: nearest"), resolution=None).findings}
    assert "image.blurred" not in codes
    assert "image.uneven" in codes


def test_a_recipe_with_alpha_mask_is_not_warned_of_alpha(folder: Path):
    pair(folder, "b")
    PIL.Image.new("RGBA", SIZE, (1, 2, 3, 0)).save(folder / "b.png")
    codes = {f.code for f in look(recipe(folder, "alpha_mask: true"), resolution=None).findings}
    assert "image.alpha" not in codes


def test_the_prompt_has_prefix_and_suffix_unless_text_encoder_outputs_are_cached(folder: Path):
    photo(folder / "a.png")
    words = "caption_prefix: 'art,', caption_suffix: end"
    prompts = [
        look(recipe(folder, words + more), resolution=None).views[0].caption
        for more in ("", ", cache_text_encoder_outputs: true")
    ]
    assert prompts == ["art, a cat end", "a cat"]


def test_grey_of_16_bits_is_an_error(folder: Path):
    pair(folder, "a")
    PIL.Image.new("I;16", SIZE, 30000).save(folder / "a.png")
    assert about(folder, "image.depth").severity is Severity.ERROR


def test_an_animation_and_cmyk_are_warnings(folder: Path):
    photo(folder / "a.webp", save_all=True, append_images=[PIL.Image.new("RGB", SIZE)])
    photo(folder / "b.jpg")
    PIL.Image.new("CMYK", SIZE, (9, 9, 9, 9)).save(folder / "b.jpg")
    assert {"image.animated", "image.cmyk"} <= {f.code for f in look(folder).findings}


def test_a_webp_that_is_taken_for_smaller_is_told_where_it_costs_a_bucket(folder: Path):
    photo(folder / "a.webp", exif=PIL.Image.Exif().tobytes() + b"x")
    args = "enable_bucket: true, bucket_no_upscale: true"
    found = look(recipe(folder, args), resolution=None)
    assert found.views[0].bucket == (448, 448)
    assert "image.webp_size" in {f.code for f in found.findings}


def test_a_panorama_is_extreme_and_loses_pixels(folder: Path):
    photo(folder / "a.png", (2400, 240))
    found = look(folder)
    assert {"image.aspect", "image.cropped"} <= {f.code for f in found.findings}
    assert 0 < found.views[0].lost_pixels < 2400 * 240


def test_copies_and_near_copies_are_told_apart(folder: Path):
    first = photo(folder / "a.png")
    (folder / "b.png").write_bytes(first.read_bytes())
    (folder / "b.txt").write_text("a cat", encoding="utf-8")
    photo(folder / "c.jpg", (1024, 1024), quality=80)
    PIL.Image.radial_gradient("L").resize(SIZE).convert("RGB").save(folder / "d.png")
    (folder / "d.txt").write_text("a cat", encoding="utf-8")
    assert "a.png = b.png" in about(folder, "image.duplicate").message
    assert "a.png = c.jpg" in about(folder, "image.near_duplicate").message


def test_a_misspelt_trigger_is_shown_with_what_was_meant(folder: Path):
    for index in range(5):
        photo(folder / f"{index}.png", (500 + 20 * index, 512), caption="a bespoke punk")
    photo(folder / "9.png", (900, 512), caption="a bespok punk")
    rules = recipe(folder, "", captions="{contains_any: [bespoke punk, bespoke baby]}")
    found = [f for f in look(rules, resolution=None).findings if f.code == "caption.misspelt"]
    assert "'bespok punk' where 'bespoke punk' was meant" in found[0].message


def test_a_missing_trigger_is_one_that_most_captions_have(folder: Path):
    for index in range(4):
        photo(folder / f"{index}.png", (500 + 30 * index, 512), caption="my cat" if index else "a picture")
    assert "'cat'" in about(folder, "caption.trigger").message


def test_words_that_few_captions_have_are_no_trigger(folder: Path):
    for index in range(4):
        photo(folder / f"{index}.png", (500 + 30 * index, 512), caption="my cat" if index == 0 else "a picture")
    assert "caption.trigger" not in {f.code for f in look(folder).findings}


def test_a_caption_that_is_too_long_for_certain_is_a_warning_with_its_end(folder: Path):
    photo(folder / "a.png", caption="a cat, " + "very fluffy " * 90)
    found = about(folder, "caption.truncated")
    assert "CLIP-L and CLIP-G" in found.message
    assert found.hint == "shorten to 225 tokens and write args.max_token_length: 225"


def test_beside_t5_a_caption_too_long_for_clip_is_usual(folder: Path):
    photo(folder / "a.png", caption="a cat, " + "very fluffy " * 50)
    assert about(folder, "caption.truncated", family="flux").severity is Severity.INFO


def test_concepts_that_share_an_epoch_unequally_are_a_warning(folder: Path):
    for concept, number in (("10_cat", 2), ("1_dog", 3)):
        for index in range(number):
            photo(folder / concept / f"{index}.png", (500 + 20 * index + number, 512))
    found = about(folder, "dataset.balance")
    assert found.severity is Severity.WARNING
    assert "cat 87%, dog 13%" in found.message


def test_the_class_token_stands_in_for_a_missing_caption(folder: Path):
    draw(folder / "a.png", SIZE)
    seen = look(folder).views[0]
    assert (seen.caption, seen.from_file) == ("cat", False)


def test_every_image_knows_its_codes(folder: Path):
    photo(folder / "a.png")
    draw(folder / "b.png", SIZE, colour=9)
    (folder / "c.png").write_bytes(b"")
    codes = {path.name: found for path, found in codes_by_image(look(folder)).items()}
    assert codes["b.png"] == ("caption.missing",)
    assert "image.unreadable" in codes["c.png"]
    assert "a.png" not in codes


def test_json_says_what_is_seen_of_each_image(folder: Path):
    photo(folder / "a.png", (600, 512))
    (image,) = json.loads(json.dumps(inspection_json(look(folder))))["images"]
    assert (image["bucket"], image["resized"], image["interpolation"]) == ([576, 448], [576, 492], "area")
    assert image["lost_pixels"] == round((1 - 448 / 492) * 600 * 512)


def test_neither_folder_nor_recipe_is_a_usage_error(odd_path: Path):
    with pytest.raises(UsageError):
        find_target(InspectionRequest(odd_path / "none"), {})


def test_a_recipe_that_cannot_be_read_says_why(odd_path: Path):
    (odd_path / "r.yaml").write_text("name: [", encoding="utf-8")
    with pytest.raises(RecipeError) as told:
        find_target(InspectionRequest(odd_path / "r.yaml"), {})
    assert told.value.findings


def strange(folder: Path) -> Path:
    photo(folder / "<script>alert(1)<'script>.png", caption='<script>alert(2)</script> "q" & more')
    return folder


def test_nothing_of_a_stranger_becomes_markup(folder: Path):
    page = report_html(look(strange(folder)))
    assert page.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;script&gt;alert(2)" in page


def test_the_page_asks_nothing_of_the_network(folder: Path):
    photo(folder / "a.png")
    page = report_html(look(folder))
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page
    assert page.count("data:image/jpeg;base64,") == 1


def test_tiny_art_is_drawn_pixel_for_pixel(folder: Path):
    pair(folder, "a")
    page = report_html(look(folder))
    assert "data:image/png;base64," in page
    assert 'class="tiny"' in page


def test_thumbnails_can_be_limited_and_broken_files_have_none(folder: Path):
    for index in range(3):
        photo(folder / f"{index}.png", (500 + 20 * index, 512))
    (folder / "broken.png").write_bytes(b"")
    page = report_html(look(folder), pictures=1)
    assert page.count("data:image/") == 1
    assert "2 images are shown without a picture" in page


def command(*words: object) -> Any:
    return CliRunner().invoke(dataset, [str(word) for word in words], standalone_mode=False)


def test_check_ends_with_the_exit_code_of_the_dataset(folder: Path):
    photo(folder / "a.png")
    good = command("check", folder, "--workspace", folder.parent / "room", "--resolution", 512)
    assert (good.exit_code, good.exception) == (0, None)
    assert "no errors: you can train" in good.stdout
    (folder / "b.png").write_bytes(b"")
    bad = command("check", folder, "--workspace", folder.parent / "room", "--resolution", 512)
    assert bad.exit_code == 6
    assert "b.png" in bad.stdout


def test_an_error_can_be_allowed_by_name(folder: Path):
    draw(folder / "a.png", SIZE)
    words = ("check", folder, "--workspace", folder.parent / "room", "--resolution", 512)
    assert command(*words).exit_code == 6
    assert command(*words, "--allow", "caption.missing").exit_code == 0


def test_report_writes_the_page_and_prints_json(folder: Path):
    photo(folder / "a.png")
    page = folder.parent / "it's a page.html"
    words = ("report", folder, "--workspace", folder.parent / "room", "--output", page, "--json")
    done = command(*words)
    assert done.exception is None
    assert json.loads(done.stdout)["images"][0]["caption"] == "a cat"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_the_length_that_fits_is_advised(folder: Path):
    photo(folder / "a.png", caption="a b " * 50)
    assert about(folder, "caption.truncated").hint == "shorten, or write args.max_token_length: 150"


def test_a_first_tag_that_nearly_all_captions_have(folder: Path):
    for index in range(12):
        start = "pixel art, " if index != 3 else ""
        photo(folder / f"{index}.png", (500 + 30 * index, 512), caption=f"{start}a cat, number {index}")
    found = about(folder, "caption.prefix")
    assert "3.png; 11 others have it" in found.message


def test_sentences_have_no_first_tag(folder: Path):
    for index in range(12):
        photo(folder / f"{index}.png", (500 + 30 * index, 512), caption=f"a cat of number {index}, on a table")
    assert "caption.prefix" not in {f.code for f in look(folder).findings}
