"""What ``new`` makes of six folders: a recipe that plans as it stands and says why."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from kohya_runner.commands.cli import main
from kohya_runner.dataset.first_look import common_start, sprite
from kohya_runner.findings import Severity
from kohya_runner.plan.pipeline import make_plan
from kohya_runner.plan.value import Plan, Request
from kohya_runner.recipe.load import load

SAID = "a quiet harbour at dawn with boats and gulls over grey water while an old man mends nets"
WORDS = SAID.split()


def drawn(side: int, seed: int, times: int = 1) -> Image.Image:
    """A sprite of a few colours on a plain ground."""
    chance = random.Random(seed)
    colours = [tuple(chance.randrange(256) for _ in range(3)) for _ in range(5)]
    picture = Image.new("RGB", (side, side), (20, 20, 60))
    for x in range(2, side - 2):
        for y in range(2, side - 2):
            picture.putpixel((x, y), chance.choice(colours))
    return picture.resize((side * times, side * times), Image.Resampling.NEAREST)


def photograph(width: int, height: int, seed: int) -> Image.Image:
    """Soft noise: no two columns are alike, no two pictures near."""
    chance = random.Random(seed)
    small = Image.frombytes("RGB", (16, 12), chance.randbytes(16 * 12 * 3))
    return small.resize((width, height), Image.Resampling.BICUBIC)


class Room:
    """A folder to draw in, and what ``new`` and ``plan`` say about it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.pictures = folder, folder / "pictures"
        self.pictures.mkdir()
        monkeypatch.chdir(folder)
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.setenv("KOHYA_WORKSPACE", str(folder / "ws"))

    def add(self, picture: Image.Image, name: str, caption: str = "") -> None:
        path = self.pictures / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)
        if caption:
            path.with_suffix(".txt").write_text(caption + "\n", encoding="utf-8")

    def new(self, family: str) -> tuple[str, dict, Plan]:
        """The recipe's text and options, and the plan of it as it stands."""
        (self.folder / "mine.yaml").unlink(missing_ok=True)
        done = CliRunner().invoke(main, ["new", "mine", "--family", family, "--images", "pictures"])
        assert done.exit_code == 0, done.output
        recipe = load(Path("mine.yaml")).recipe
        environ = {"HOME": str(self.folder), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}
        plan = make_plan(Request(Path("mine.yaml"), workspace=str(self.folder / "ws"), elsewhere=True), environ=environ)
        assert [str(one) for one in plan.findings if one.severity is not Severity.INFO] == []
        text = Path("mine.yaml").read_text(encoding="utf-8")
        return text, {key: value for key, value in recipe.args.items() if value is not None}, plan


@pytest.fixture
def room(tmp_path: Path, monkeypatch) -> Room:
    return Room(tmp_path, monkeypatch)


def why(text: str, key: str) -> str:
    """The reason that stands behind a key."""
    return re.search(rf"^ +(?:- )?{key}: .*?  # (.+)$", text, re.MULTILINE)[1]


def steps_told(text: str) -> int:
    return int(re.search(r"about (\d+) steps", why(text, "max_train_epochs"))[1])


def test_sprites_of_24_pixels(room: Room):
    for n in range(30):
        words = ", ".join(random.Random(n).choices(WORDS, k=40))
        room.add(drawn(24, n), f"lad{n}.png", f"pixel art, 24x24, {words}")
    text, args, plan = room.new("sdxl")
    assert (args["resolution"], args["resize_interpolation"], args["enable_bucket"]) == (960, "nearest", False)
    assert why(text, "resolution").startswith("24 x 40: a whole multiple")
    assert args["max_token_length"] == 150
    assert why(text, "max_token_length").startswith("the longest caption has about ")
    assert 'captions: {starts_with: "pixel art, 24x24"}' in text
    assert why(text, "captions") == "as all 30 do"
    assert plan.loaded.recipe.datasets[0].repeats == 7
    assert why(text, "repeats") == "rule of thumb: 200 pictures an epoch; 30 x 7 = 210"
    assert plan.steps.total == steps_told(text) == 1050


def test_sprites_that_were_enlarged(room: Room):
    for n in range(20):
        room.add(drawn(32, n, 8), f"hero{n}.png", f"hero sprite, pose {n}")
    text, args, plan = room.new("sdxl")
    assert (args["resolution"], args["resize_interpolation"]) == (1024, "nearest")
    assert why(text, "resize_interpolation") == "32x32 sprites, enlarged 8 times: any other filter blurs them"
    assert "max_token_length" not in args
    assert "the usual 75 do" in why(text, "max_token_length")
    assert "24 x 40" not in text
    assert plan.steps.total == steps_told(text)
    text, args, _ = room.new("sd15")
    assert (args["resolution"], args["resize_interpolation"]) == (512, "nearest")


def test_photographs_without_captions(room: Room):
    for n in range(16):
        room.add(photograph(*[(1500, 1000), (1000, 1500), (1200, 900), (600, 500)][n % 4], n), f"IMG_{n:04d}.jpg")
    text, args, plan = room.new("flux")
    assert (args["resolution"], args["bucket_no_upscale"]) == (1024, True)
    assert why(text, "resolution") == "the family's own; the pictures have 600x500 to 1500x1000"
    assert why(text, "bucket_no_upscale") == "4 pictures smaller than 1024: trained as they are"
    assert "resize_interpolation" not in text
    assert plan.loaded.recipe.datasets[0].captions.optional
    assert why(text, "concept") == "the pictures do not tell: write the word that you will prompt with"
    assert plan.steps.total == steps_told(text) == 1920


def test_a_style_with_long_captions(room: Room):
    for n in range(20):
        words = " ".join(random.Random(n).choices(WORDS, k=140))
        room.add(photograph(1152, 896, n), f"{n}.jpg", f"inkwash style, {words}")
    text, args, plan = room.new("sdxl")
    assert args["max_token_length"] == 225
    assert 'captions: {starts_with: "inkwash style"}' in text
    assert (plan.loaded.recipe.datasets[0].repeats, plan.steps.total) == (20, 500)
    assert steps_told(text) == 500
    (room.pictures / "7.txt").write_text("a harbour\n", encoding="utf-8")
    Path("mine.yaml").unlink()
    assert CliRunner().invoke(main, ["new", "mine", "--family", "flux", "--images", "pictures"]).exit_code == 0
    text = Path("mine.yaml").read_text(encoding="utf-8")
    assert "# 19 of 20 captions begin so: correct the others" in text
    assert 'captions: {starts_with: "inkwash style"}' in text  # in the comment, to be pasted
    assert load(Path("mine.yaml")).recipe.datasets[0].captions.starts_with is None
    assert "t5xxl_max_token_length: 512" in text


def test_a_tree_as_kohyas_scripts_take_it(room: Room):
    for folder, count in (("img/10_ohwx photo", 8), ("img/12_ohwx portrait", 6), ("reg/1_photo", 5)):
        for n in range(count):
            caption = f"ohwx, number {n}" if folder.startswith("img") else ""
            room.add(photograph(1040, 1040, len(folder) * 100 + n), f"{folder}/{n}.jpg", caption)
    text, args, plan = room.new("sdxl")
    assert [(one.concept, one.repeats, one.regularization) for one in plan.loaded.recipe.datasets] == [
        ("ohwx photo", 10, False), ("ohwx portrait", 12, False), ("photo", 1, True),
    ]  # fmt: skip
    assert why(text, "repeats") == "the folder is called 10_ohwx photo"
    assert args["max_train_epochs"] == 20
    assert plan.steps.total == steps_told(text)


@pytest.mark.parametrize("listed", [True, False], ids=["metadata", "control folder"])
def test_edit_pairs(listed, room: Room):
    rows = []
    for n in range(12):
        picture = photograph(1024, 768, n)
        before, after = ("before", "after") if listed else ("control", "target")
        said = f"invert the colours of number {n}"
        room.add(picture, f"{before}/{n}.jpg")
        room.add(Image.eval(picture, lambda v: 255 - v), f"{after}/{n}.jpg", "" if listed else said)
        rows.append({"input_image": f"before/{n}.jpg", "instruction": said, "output_image": f"after/{n}.jpg"})
    if listed:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (room.pictures / "metadata.jsonl").write_text(text, encoding="utf-8")
    text, _, plan = room.new("flux_kontext")
    (entry,) = plan.loaded.recipe.datasets
    assert entry.options == {"resolution": 1024, "batch_size": 1, "enable_bucket": True}
    assert (entry.images, entry.conditioning) == (
        ("pictures/metadata.jsonl", None) if listed else ("pictures/target", "pictures/control")
    )
    assert entry.captions.starts_with is None
    assert plan.steps.total == steps_told(text) == 2040
    if listed:
        refused = CliRunner().invoke(main, ["new", "other", "--family", "sdxl", "--images", "pictures"])
        assert refused.exit_code == 2
        assert "holds edits" in refused.stderr
        assert "--family flux_kontext" in refused.stderr


def test_folders_of_folders_become_an_entry_each(room: Room):
    for folder in ("anna", "ben"):
        for n in range(5):
            room.add(photograph(1100, 1100, len(folder) * 10 + n), f"{folder}/{n}.jpg", f"a portrait, number {n}")
    text, _, plan = room.new("sdxl")
    assert [(one.images, one.concept) for one in plan.loaded.recipe.datasets] == [
        ("pictures/anna", "anna"), ("pictures/ben", "ben"),
    ]  # fmt: skip
    assert why(text, "concept") == "the folder's name"


@pytest.mark.parametrize(
    ("captions", "start"),
    [
        (["ohwx, a", "ohwx, b"], ("ohwx", 2)),
        (["pixel art, 24x24, red", "pixel art, 24x24, rose"], ("pixel art, 24x24", 2)),
        (["ohwx man sits", "ohwx man runs"], ("ohwx man", 2)),
        (["a photo of a cat", "a photo of a dog"], ("", 0)),
        (["red", "blue"], ("", 0)),
        (["one"], ("", 0)),
        ([*(f"ohwx, {n}" for n in range(19)), "none"], ("ohwx", 19)),
        ([*(f"ohwx, {n}" for n in range(9)), "none", "none"], ("", 0)),
    ],
)
def test_what_captions_have_in_common(captions, start):
    assert common_start(captions) == start


def test_sprites_are_told_by_their_blocks(tmp_path: Path):
    made = {
        "plain": (drawn(24, 1), ((24, 24), 1)),
        "enlarged": (drawn(24, 1, 20), ((24, 24), 20)),
        "smooth": (drawn(24, 1).resize((480, 480), Image.Resampling.BICUBIC), None),
        "photograph": (photograph(300, 200, 1), None),
        "one colour": (Image.new("RGB", (512, 512)), None),
    }
    for name, (picture, says) in made.items():
        picture.save(tmp_path / f"{name}.png")
        assert sprite([tmp_path / f"{name}.png"]) == says, name
    (tmp_path / "broken.png").write_bytes(b"no picture")
    assert sprite([tmp_path / "broken.png"]) is None
    drawn(16, 1).save(tmp_path / "16.png")
    assert sprite([tmp_path / "plain.png", tmp_path / "16.png"]) is None


def test_a_process_writes_it_and_another_plans_it(room: Room):
    for n in range(8):
        room.add(drawn(16, n), f"{n}.png", f"sprite, number {n}")
    environ = {**os.environ, "HF_HUB_OFFLINE": "1"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        words = (sys.executable, "-m", "kohya_runner", *words)
        return subprocess.run(
            words, cwd=room.folder, env=environ, capture_output=True, text=True, check=False, timeout=180
        )

    assert run("new", "mine", "--family", "sdxl", "--images", "pictures").returncode == 0
    assert run("plan", "mine.yaml", "--elsewhere").returncode == 0


@pytest.mark.parametrize(("name", "hint"), [("", "name the folder"), ("a.gif", "dataset prepare pictures --output")])
def test_a_folder_without_pictures_gets_no_recipe(room: Room, name: str, hint: str):
    if name:
        room.add(drawn(24, 3), name)
    done = CliRunner().invoke(main, ["new", "mine", "--family", "sd15", "--images", "pictures"])
    assert done.exit_code == 2
    assert "no picture (.png, .jpg" in done.output
    assert hint in done.output
    assert not Path("mine.yaml").exists()
