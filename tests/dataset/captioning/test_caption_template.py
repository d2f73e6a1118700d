"""Templates of captions: what they can name, what is measured, and what they may not do."""

from __future__ import annotations

import re
from pathlib import Path

import PIL.Image
import pytest

from kohya_runner.dataset.captioning.caption_text import NAMES, CaptionJob, Failure, read_template
from kohya_runner.errors import UsageError

DOCS = Path(__file__).parents[3] / "docs" / "caption.md"


@pytest.fixture
def sprite(odd_path: Path) -> CaptionJob:
    """24x24 enlarged four times: two thirds background, a dark square, a small light one."""
    image = PIL.Image.new("RGB", (24, 24), (0xA0, 0xB1, 0xA6))
    image.paste((0x4F, 0x25, 0x26), (6, 6, 18, 18))
    image.paste((0x94, 0x58, 0x4B), (10, 10, 14, 14))
    path = odd_path / "lady_001_carbon-grey.png"
    image.resize((96, 96), PIL.Image.Resampling.NEAREST).save(path)
    return CaptionJob(path, "10_bespoke punk", "by hand")


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (
            "pixel art, 24x24, {{ folder }} {{ parts[0] }}, {{ background }} background, palette: {{ palette }}, sharp",
            "pixel art, 24x24, bespoke punk lady, #a0b1a6 background, palette: #a0b1a6, #4f2526, #94584b, sharp",
        ),
        ("{{ words }}", "lady carbon grey"),
        ("{{ stem|replace('_', ' ')|title }}", "Lady 001 Carbon-Grey"),
        ("{{ palette(2) }} of {{ palette|length }}", "#a0b1a6, #4f2526 of 3"),
        ("{{ palette[1] }} {{ palette[1:]|join('/') }}", "#4f2526 #4f2526/#94584b"),
        ("{{ width }}x{{ height }}", "96x96"),
        ("{% if 'lady' in parts %}a lady{% else %}a lad{% endif %}", "a lady"),
        ("{{ 'a lady' if parts[0] == 'lady' else 'a lad' }}, {{ caption }}", "a lady, by hand"),
        ("{{ parts[9]|default('none') }}", "none"),
    ],
)
def test_a_template_is_filled_in(sprite: CaptionJob, template: str, text: str):
    assert read_template(template).of(sprite) == text


def test_what_can_be_seen_is_measured_and_nothing_else(odd_path: Path):
    image = PIL.Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.paste((0, 0, 255, 255), (2, 2, 6, 6))
    image.save(odd_path / "a.png")
    template = read_template("{{ palette }} {{ background }}")
    assert template.of(CaptionJob(odd_path / "a.png", "")) == "#0000ff transparent"


def test_a_photograph_gets_its_commonest_colours(odd_path: Path):
    noise = PIL.Image.effect_noise((300, 300), 60)
    PIL.Image.merge("RGB", (noise, noise.rotate(90), noise.rotate(180))).save(odd_path / "a.jpg")
    text = read_template("{{ palette }}").of(CaptionJob(odd_path / "a.jpg", ""))
    assert re.fullmatch(r"(#[0-9a-f]{6}(, |$)){5}", str(text))


@pytest.mark.parametrize(
    "template",
    [
        "{{ part }}", "{{ env.HF_TOKEN }}", "{{ stem.__class__ }}", "{{ parts.append(1) }}", "{{ 'a' * 9999999999 }}",
        "{% for a in parts %}{{ a }}{% endfor %}", "{% set a = 1 %}", "{{ 2 ** 99 }}", "{{ range(9) }}", "{{ stem|e }}",
        "{{ 'x'|center(999999999) }}", "{% include '/etc/passwd' %}", "{{ '%999999999d' % 1 }}", "{{ stem",
        "{{ palette.count }}",
    ],
)  # fmt: skip
def test_what_a_template_may_not_do_is_told_before_anything_is_read(template: str):
    with pytest.raises(UsageError, match="--template"):
        read_template(template)


@pytest.mark.parametrize(
    "template",
    ["{{ parts[9] }}", "{{ stem|replace('', 'x')|replace('', 'xxxxxxxxxxxxxxx' )|replace('', stem) }}" + "x" * 9990],
)
def test_what_one_picture_does_not_have_is_its_own_failure(sprite: CaptionJob, template: str):
    assert isinstance(read_template(template).of(sprite), Failure)


def test_a_broken_picture_is_a_failure_where_its_colours_are_asked_for(odd_path: Path):
    (odd_path / "a.png").write_bytes(b"no picture")
    broken = CaptionJob(odd_path / "a.png", "cat")
    assert isinstance(read_template("{{ palette }}").of(broken), Failure)
    assert read_template("{{ folder }}").of(broken) == "cat"


def test_the_page_names_what_a_template_can_name():
    page = DOCS.read_text(encoding="utf-8")
    assert [name for name in NAMES if f"`{name}`" not in page] == []
