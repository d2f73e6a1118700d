"""Class images are painted by a real child process: only the missing ones, each whole, and again after it died."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import PIL.Image
import pytest

from kohya_runner.dataset.survey import ClassImages
from kohya_runner.engines.arguments import Command
from kohya_runner.engines.painting import ClassPainting
from kohya_runner.errors import TrainerError
from kohya_runner.run.class_painting import _paint

GENERATOR = """
import re, sys
from pathlib import Path
from PIL import Image
outdir, prompts, dies = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
for number, line in enumerate(prompts.read_text().splitlines()):
    name, seed = re.search(r"--f (.+)", line)[1], int(re.search(r"--d (\\d+)", line)[1])
    if number == dies:
        (outdir / name).write_bytes(b"\\x89PNG half of it")
        sys.exit(3)
    Image.new("RGB", (16, 8), (seed, 0, 0)).save(outdir / name)
"""


class Lines:
    """A screen that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def event(self, line: str, *, lasting: bool) -> None:
        assert lasting in (True, False)
        self.said.append(line)


def stage(root: Path, *, dies: int = -1, count: int = 5) -> ClassPainting:
    script = root / "it's a generator.py"
    script.write_text(GENERATOR, encoding="utf-8")
    images = ClassImages(root / "class images", "a dog", count, (16, 8))
    scratch = images.folder / ".painting"
    argv = (sys.executable, str(script), str(scratch), str(scratch / "prompts.txt"), str(dies))
    lines = [f"{images.prompt} --d {images.seed(name)} --f {name}\n" for name in images.missing()]
    file = scratch / "prompts.txt"
    return ClassPainting(images, images.missing(), scratch, Command(argv, root, {}), "gen_img.py", file, "".join(lines))


def painted(one: ClassPainting) -> list[str]:
    return sorted(path.name for path in one.images.folder.glob("*.png"))


def test_every_picture_is_in_its_place_and_nothing_else_is_left(tmp_path: Path):
    made = stage(tmp_path)
    _paint(made, Lines(), os.environ)
    assert painted(made) == list(made.images.names)
    assert not made.scratch.exists()
    with PIL.Image.open(made.images.folder / "class_000003.png") as picture:
        assert picture.getpixel((0, 0)) == (3, 0, 0)


def test_what_is_there_is_not_painted_again(tmp_path: Path):
    _paint(stage(tmp_path, count=2), Lines(), os.environ)
    first = (tmp_path / "class images" / "class_000001.png").stat().st_mtime_ns
    more, screen = stage(tmp_path, count=5), Lines()
    _paint(more, screen, os.environ)
    assert screen.said[0].startswith("painting 3 class images")
    assert (tmp_path / "class images" / "class_000001.png").stat().st_mtime_ns == first
    assert painted(more) == list(more.images.names)


def test_a_generator_that_dies_leaves_its_whole_pictures_and_no_half_one(tmp_path: Path):
    broken = stage(tmp_path, dies=3)
    with pytest.raises(TrainerError) as caught:
        _paint(broken, Lines(), os.environ)
    assert "ended with code 3 and left 2 class images out" in caught.value.message
    assert painted(broken) == list(broken.images.names[:3])
    _paint(stage(tmp_path), Lines(), os.environ)
    assert painted(broken) == list(broken.images.names)


def test_where_all_are_there_no_process_is_started(tmp_path: Path):
    _paint(stage(tmp_path), Lines(), os.environ)
    screen = Lines()
    _paint(stage(tmp_path, dies=0), screen, os.environ)
    assert screen.said == []
