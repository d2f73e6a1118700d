from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.dataset.token_count import Encoder, Merges, alike, count, read_merges
from kohya_runner.engines import table
from kohya_runner.engines.text_encoders import encoders

MERGES = "#version: 0.2\nc a\nca t</w>\np i\npi x\n"


def merges(folder: Path) -> Merges:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "merges.txt").write_text(MERGES, encoding="utf-8")
    found = read_merges(folder)
    assert found is not None
    return found


def clip(odd_path: Path, limit: int = 75) -> Encoder:
    return Encoder("CLIP-L", limit, "clip", merges(odd_path / "tokenizer"))


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("cat", 1), ("Cat CAT", 2), ("cats", 3), ("pix", 2), ("24", 2), ("a cat, a cat", 5), ("", 0), ("cat's", 3)],
)
def test_plain_text_is_counted_by_the_merges(odd_path: Path, text: str, tokens: int):
    found = count(clip(odd_path), text)
    assert found.exact
    assert found.most == tokens


def test_text_that_ftfy_may_change_is_an_estimate(odd_path: Path):
    found = count(clip(odd_path), "cat café")
    assert (found.fewest, found.most, found.exact) == (2, 6, False)
    assert "estimate" in found.shown


def test_without_files_no_number_is_too_small(odd_path: Path):
    found = count(Encoder("CLIP-L", 75), "a cat, sitting")
    assert (found.fewest, found.most) == (4, 12)


def test_the_cut_is_where_the_first_token_does_not_fit(odd_path: Path):
    text = "cat cat cats cat"
    found = count(clip(odd_path, limit=4), text)
    assert found.cut is not None
    assert text[: found.cut] == "cat cat "


def test_what_fits_exactly_is_not_cut(odd_path: Path):
    assert count(clip(odd_path, limit=3), "cat cat cat").cut is None


def test_t5_is_never_counted_as_too_few():
    found = count(Encoder("T5-XXL", 511, "t5"), "two words…")
    assert (found.fewest, found.most) == (2, 13)


def test_a_file_that_is_no_text_is_no_tokenizer(odd_path: Path):
    (odd_path / "merges.txt").write_bytes(b"\xff\xfe\x00")
    assert read_merges(odd_path) is None


def test_merges_are_found_in_the_options_folder_and_in_the_hub_cache(odd_path: Path):
    merges(odd_path / "own" / "openai_clip-vit-large-patch14")
    merges(odd_path / "hub" / "models--openai--clip-vit-large-patch14" / "snapshots" / "abc")
    support = table.find("sdxl", "lora")
    assert support is not None
    for places in ((odd_path / "own",), (odd_path / "hub",), (odd_path / "own", odd_path / "hub")):
        clip_l, clip_g = encoders(support, {}.get, places=places)
        assert clip_l.merges is not None
        assert clip_g.merges is None


@pytest.mark.parametrize(
    ("family", "options", "model", "limits"),
    [
        ("sd15", {}, "", (75,)),
        ("sd15", {"max_token_length": 225}, "", (225,)),
        ("sdxl", {"max_token_length": 150}, "", (150, 150)),
        ("flux", {"max_token_length": 225}, "FLUX.1-dev", (75, 511)),
        ("flux", {}, "flux1-schnell", (75, 255)),
        ("flux", {"t5xxl_max_token_length": 128}, "flux1-schnell", (75, 127)),
    ],
)
def test_each_family_has_its_limits(family: str, options: dict[str, int], model: str, limits: tuple[int, ...]):
    support = table.find(family, "lora")
    assert support is not None
    assert tuple(one.limit for one in encoders(support, options.get, model=model)) == limits


def test_encoders_that_count_the_same_are_named_together():
    support = table.find("sdxl", "lora")
    assert support is not None
    assert alike(encoders(support, {}.get)) == ((0, "CLIP-L and CLIP-G"),)
