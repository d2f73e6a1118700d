"""``prepare``: a new folder, the old one untouched, only what changed done again, and nothing lost by a kill."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import PIL.Image
import pytest
from sprites import RESAMPLING, as_jpeg, photo, sprite

from kohya_runner.dataset.prepare import manifest, reading
from kohya_runner.dataset.prepare.prepare import Prepared, is_current, prepare
from kohya_runner.dataset.prepare.reading import raw_pictures
from kohya_runner.dataset.prepare.shaping import PrepareSettings, bucket_rests, crop_box, settings_for, write_crops
from kohya_runner.errors import DatasetError, PreflightError, RunExistsError, UsageError

PHOTOS = PrepareSettings(settings_for(512))
ART = replace(PHOTOS, style="pixel_art")


def codes(done: Prepared) -> list[str]:
    return [one.code for one in done.findings]


def what(done: Prepared) -> dict[str, tuple[str, ...]]:
    return {one.file: one.what for one in done.version.pictures}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("[!.]*") if path.is_file()}


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def test_the_source_is_not_touched_and_captions_go_along(raw: Path, tmp_path: Path):
    photo(600, 600).save(raw / "a.webp", lossless=True)
    (raw / "a.txt").write_text("a thing")
    (raw / "a.json").write_text("{}")
    (raw / "other.txt").write_text("of nothing")
    before = state(raw)
    done = prepare(raw, tmp_path / "out", PHOTOS)
    assert state(raw) == before
    assert names(tmp_path / "out") == ["a.json", "a.png", "a.txt", "manifest.json"]
    assert (tmp_path / "out" / "a.txt").read_text() == "a thing"
    assert what(done) == {"a.png": ("600x600 to 512x512",)}
    assert done.version.pictures[0].source == str(raw / "a.webp")


def test_a_photograph_that_fits_is_the_very_same_file(raw: Path, tmp_path: Path):
    photo(512, 512).save(raw / "a.png")
    photo(512, 512, 1).save(raw / "b.jpg")
    prepare(raw, tmp_path / "out", PHOTOS)
    assert (tmp_path / "out" / "a.png").read_bytes() == (raw / "a.png").read_bytes()
    prepare(raw, tmp_path / "jpeg", replace(PHOTOS, format="jpeg"))
    assert (tmp_path / "jpeg" / "b.jpg").read_bytes() == (raw / "b.jpg").read_bytes()
    with PIL.Image.open(tmp_path / "jpeg" / "a.jpg") as made:
        assert made.format == "JPEG"


def test_a_photograph_becomes_as_large_as_its_bucket_needs_and_never_larger(raw: Path, tmp_path: Path):
    photo(1200, 800).save(raw / "large.png")
    photo(300, 200, 1).save(raw / "small.png")
    done = prepare(raw, tmp_path / "out", PHOTOS)
    sizes = {one.file: one.size for one in done.version.pictures}
    assert sizes == {"large.png": (640, 427), "small.png": (300, 200)}
    (finding,) = done.findings
    assert finding.code == "image.prepared"
    assert "small.png: smaller than their bucket" in finding.message


@pytest.mark.parametrize(("size", "bucket"), [((32, 32), (512, 512)), ((24, 32), (448, 576)), ((48, 16), (768, 320))])
def test_pixel_art_is_whole_times_as_large_and_fills_its_bucket(
    raw: Path, tmp_path: Path, size: tuple[int, int], bucket: tuple[int, int]
):
    small = sprite(*size)
    small.resize((size[0] * 7, size[1] * 7), RESAMPLING.NEAREST).save(raw / "a.png")
    done = prepare(raw, tmp_path / "out", replace(ART, background="#102030"))
    with PIL.Image.open(tmp_path / "out" / "a.png") as made:
        assert made.size[0] % 64 == made.size[1] % 64 == 0
        times = min(made.width // size[0], made.height // size[1])
        left, top = (made.width - size[0] * times) // 2, (made.height - size[1] * times) // 2
        inner = made.crop((left, top, left + size[0] * times, top + size[1] * times))
        assert inner.resize(size, RESAMPLING.NEAREST).tobytes() == small.tobytes()
        assert inner.tobytes() == small.resize(inner.size, RESAMPLING.NEAREST).tobytes()
        if left or top:
            assert made.getpixel((0, 0)) == (0x10, 0x20, 0x30)
            assert codes(done) == ["image.padded"]
        else:
            assert codes(done) == []


def test_pixel_art_whose_grid_is_not_known_is_kept_and_told(raw: Path, tmp_path: Path):
    photo(512, 512).save(raw / "a.png")
    done = prepare(raw, tmp_path / "out", ART)
    assert codes(done) == ["image.prepared"]
    assert "the pixel grid is not known" in done.findings[0].message
    assert (tmp_path / "out" / "a.png").read_bytes() == (raw / "a.png").read_bytes()


def test_each_bad_file_is_told_and_the_rest_is_prepared(raw: Path, tmp_path: Path):
    photo(512, 512).save(raw / "good.png")
    (raw / "bad.png").write_bytes(b"nothing")
    (raw / "empty.jpg").write_bytes(b"")
    (raw / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    secret = tmp_path / "secret.png"
    photo(64, 64).save(secret)
    (raw / "link.png").symlink_to(secret)
    done = prepare(raw, tmp_path / "out", PHOTOS)
    told = {Path(one.where).name: one.message for one in done.findings if one.code == "image.set_aside"}
    assert sorted(told) == ["bad.png", "empty.jpg", "link.png", "phone.heic"]
    assert "is empty" in told["empty.jpg"]
    assert names(tmp_path / "out") == ["good.png", "manifest.json"]
    listed = json.loads((tmp_path / "out" / "manifest.json").read_text())["set_aside"]
    assert sorted(Path(row["source"]).name for row in listed) == sorted(told)


def test_a_folder_without_pictures_makes_no_version(tmp_path: Path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.txt").write_text("a caption alone", encoding="utf-8")
    with pytest.raises(DatasetError, match="no pictures"):
        prepare(tmp_path / "raw", tmp_path / "out", PHOTOS)
    assert not (tmp_path / "out").exists()


def test_copies_are_set_aside_and_come_back_when_the_first_goes(raw: Path, tmp_path: Path):
    photo(512, 512).save(raw / "a.png")
    shutil.copy(raw / "a.png", raw / "b.png")
    as_jpeg(photo(512, 512), 90).save(raw / "c.jpg", quality=90)
    photo(512, 512, 1).save(raw / "d.png")
    done = prepare(raw, tmp_path / "out", PHOTOS)
    assert sorted(what(done)) == ["a.png", "d.png"]
    assert {Path(one.source).name: one.why for one in done.version.set_aside} == {
        "b.png": "is the same file as a.png",
        "c.jpg": "looks the same as a.png",
    }
    assert is_current(raw, tmp_path / "out", PHOTOS)
    kept = prepare(raw, tmp_path / "out", replace(PHOTOS, keep_near=True))
    assert sorted(what(kept)) == ["a.png", "c.png", "d.png"]
    (raw / "a.png").unlink()
    assert not is_current(raw, tmp_path / "out", PHOTOS)
    again = prepare(raw, tmp_path / "out", PHOTOS)
    assert sorted(what(again)) == ["b.png", "d.png"]
    assert names(tmp_path / "out") == ["b.png", "d.png", "manifest.json"]


def test_names_of_many_pictures_are_found_in_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Ten thousand names were two hundred million tries once."""
    for number in range(300):
        (tmp_path / f"{number}.png").touch()
    asked: list[int] = []
    monkeypatch.setattr(reading, "count", lambda first: (asked.append(n) or n for n in itertools.count(first)))
    assert len(raw_pictures(tmp_path, ".png")[0]) == 300
    assert asked == []
    for ending in ("gif", "jpg", "bmp"):
        (tmp_path / f"7.{ending}").touch()
    (tmp_path / "7_jpg.webp").touch()
    names = [raw.name for raw in raw_pictures(tmp_path, ".png")[0] if raw.path.name.startswith("7.")]
    assert names == ["7.png", "7_gif.png", "7_jpg.png", "7_png.png"]
    assert asked == []


def test_names_do_not_collide(raw: Path, tmp_path: Path):
    for index, name in enumerate(("a.png", "a.bmp", "A.gif", "b.tiff")):
        photo(512, 512, index).save(raw / name)
    (raw / "a.txt").write_text("both")
    done = prepare(raw, tmp_path / "out", PHOTOS)
    pictures = [one.file for one in done.version.pictures]
    assert len({name.casefold() for name in pictures}) == 4
    assert {Path(one.source).name: one.file for one in done.version.pictures}["b.tiff"] == "b.png"
    for one in done.version.pictures:
        if Path(one.source).stem == "a":
            assert (tmp_path / "out" / one.file).with_suffix(".txt").read_text() == "both"


def test_a_second_run_touches_only_what_changed(raw: Path, tmp_path: Path):
    for index in range(4):
        photo(600, 600, index).save(raw / f"{index}.png")
        (raw / f"{index}.txt").write_text(f"picture {index}")
    out = tmp_path / "out"
    assert prepare(raw, out, PHOTOS).made == 4
    first = state(out)
    assert prepare(raw, out, PHOTOS).made == 0
    assert state(out) == first
    os.utime(raw / "0.png")  # the same content at another time: looked at, not made
    photo(600, 600, 9).save(raw / "1.png")
    (raw / "2.txt").write_text("another caption")
    assert prepare(raw, out, PHOTOS).made == 3
    changed = {Path(path).name for path, value in state(out).items() if first.get(path) != value}
    assert changed == {"1.png", "2.txt", "manifest.json"}
    (raw / "3.png").unlink()
    prepare(raw, out, PHOTOS)
    assert "3.png" not in names(out)
    assert "3.txt" not in names(out)


def test_a_caption_that_a_person_changed_in_the_version_stays(raw: Path, tmp_path: Path):
    photo(600, 600).save(raw / "a.png")
    (raw / "a.txt").write_text("raw")
    out = tmp_path / "out"
    prepare(raw, out, PHOTOS)
    (out / "a.txt").write_text("by hand")
    (raw / "a.txt").write_text("raw, changed")
    prepare(raw, out, replace(PHOTOS, format="jpeg"))
    assert (out / "a.txt").read_text() == "by hand"
    (raw / "a.png").unlink()
    prepare(raw, out, replace(PHOTOS, format="jpeg"))
    assert (out / "a.txt").read_text() == "by hand"


def test_other_settings_make_everything_anew(raw: Path, tmp_path: Path):
    photo(600, 600).save(raw / "a.png")
    (raw / "a.txt").write_text("raw")
    out = tmp_path / "out"
    prepare(raw, out, PHOTOS)
    assert not is_current(raw, out, replace(PHOTOS, format="jpeg"))
    assert prepare(raw, out, replace(PHOTOS, format="jpeg")).made == 1
    assert names(out) == ["a.jpg", "a.txt", "manifest.json"]
    (raw / "a.txt").write_text("raw, changed")
    prepare(raw, out, replace(PHOTOS, format="jpeg"))
    assert (out / "a.txt").read_text() == "raw, changed"


def test_a_focus_decides_what_a_crop_keeps(raw: Path, tmp_path: Path):
    wide = PIL.Image.new("RGB", (1600, 512), "red")
    wide.paste("blue", (800, 0, 1600, 512))
    for number, name in enumerate(("left", "right", "middle", "wrong")):
        wide.putpixel((800, 0), (number, 0, 0))
        wide.save(raw / f"{name}.png")
    (raw / "left.focus").write_text("0 0.5")
    (raw / "right.focus").write_text("1.0, .5\n")
    (raw / "wrong.focus").write_text("left")
    done = prepare(raw, tmp_path / "out", replace(PHOTOS, crop=True, keep_near=True))
    edges = {}
    for one in done.version.pictures:
        assert one.size[0] % 64 == one.size[1] % 64 == 0
        with PIL.Image.open(tmp_path / "out" / one.file) as made:
            edges[one.file] = [made.getpixel((x, 9)) for x in (9, made.width - 9)]
    red, blue = (255, 0, 0), (0, 0, 255)
    assert edges["left.png"][0] == red
    assert edges["right.png"][1] == blue
    assert edges["wrong.png"] == edges["middle.png"] == [red, blue]
    told = [one.message for one in done.findings if "focus" in one.message]
    assert [one.partition(": the")[0] for one in told] == ["1 image: wrong.png"]


def test_a_new_focus_makes_the_picture_anew(raw: Path, tmp_path: Path):
    photo(1600, 512).save(raw / "a.png")
    first = prepare(raw, tmp_path / "out", replace(PHOTOS, crop=True)).version.pictures[0].what
    (raw / "a.focus").write_text("0 0")
    second = prepare(raw, tmp_path / "out", replace(PHOTOS, crop=True)).version.pictures[0].what
    assert first != second


@pytest.mark.parametrize(
    ("size", "bucket", "focus", "box"),
    [
        ((200, 100), (64, 64), (0.5, 0.5), (50, 0, 150, 100)),
        ((200, 100), (64, 64), (0, 0), (0, 0, 100, 100)),
        ((200, 100), (64, 64), (1, 1), (100, 0, 200, 100)),
        ((100, 200), (128, 64), (0.5, 0.1), (0, 0, 100, 50)),
    ],
)
def test_a_crop_stays_inside(size, bucket, focus, box):
    assert crop_box(size, bucket, focus) == box


def test_sheets_show_the_crops(raw: Path, tmp_path: Path):
    for index in range(27):
        PIL.Image.new("RGB", (500, 100), (index, 0, 200)).save(raw / f"{index:02d}.png")
    (raw / "bad.png").write_bytes(b"")
    sheets = write_crops(raw, tmp_path / "sheets", PHOTOS)
    assert [path.name for path in sheets] == ["crops-001.jpg", "crops-002.jpg"]
    with PIL.Image.open(sheets[0]) as sheet:
        kept, cut = sheet.getpixel((90, 40)), sheet.getpixel((8, 40))
        assert (kept[2] > 150, cut[2] < 100) == (True, True)


def test_what_fills_no_batch_is_told_with_the_repeats_that_would(raw: Path, tmp_path: Path):
    for index in range(6):
        photo(512, 512, index).save(raw / f"{index}.png")
    photo(768, 320, 7).save(raw / "wide.png")
    done = prepare(raw, tmp_path / "out", PHOTOS)
    told = list(bucket_rests(done.version, PHOTOS, 4))
    assert [one.message.partition(":")[0] for one in told] == [
        "bucket 512x512 has 6 images",
        "bucket 768x320 has 1 image",
    ]
    assert "repeats: 2 fills it" in told[0].hint
    assert "repeats: 4 fills it" in told[1].hint
    assert "wide.png" in told[1].message
    assert list(bucket_rests(done.version, PHOTOS, 1)) == []


def test_folders_that_cannot_be_used_are_refused(raw: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="no such folder"):
        prepare(tmp_path / "no", tmp_path / "out", PHOTOS)
    for inside in (raw, raw / "out", tmp_path):
        with pytest.raises(UsageError, match="is in the folder of the pictures"):
            prepare(raw, inside, PHOTOS)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.png").write_bytes(b"mine")
    with pytest.raises(UsageError, match="holds other files already"):
        prepare(raw, tmp_path / "full", PHOTOS)
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(UsageError, match="is no folder"):
        prepare(raw, tmp_path / "file", PHOTOS)
    assert names(tmp_path / "full") == ["mine.png"]


def test_a_full_disk_is_told_first(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    photo(512, 512).save(raw / "a.png")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(PreflightError, match="are needed"):
        prepare(raw, tmp_path / "out", PHOTOS)
    assert names(tmp_path / "out") == []


def test_two_at_once_are_refused(raw: Path, tmp_path: Path):
    photo(512, 512).save(raw / "a.png")
    with manifest.alone(tmp_path / "out"), pytest.raises(RunExistsError):
        prepare(raw, tmp_path / "out", PHOTOS)


@pytest.mark.parametrize("kill", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.daily)])
def test_a_run_that_is_killed_goes_on_where_it_was(raw: Path, tmp_path: Path, kill: signal.Signals):
    for index in range(20):
        photo(400, 400, index).save(raw / f"{index:02d}.png", compress_level=1)
    out = tmp_path / "out"
    command = [sys.executable, "-m", "kohya_runner", "dataset", "prepare", str(raw), "--output", str(out), "--size"]
    child = subprocess.Popen([*command, "256"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    journal, deadline = out / manifest.JOURNAL, time.monotonic() + 30
    while not (journal.is_file() and len(journal.read_bytes().splitlines()) > 2) and time.monotonic() < deadline:
        time.sleep(0.005)
    child.send_signal(kill)
    _, said = child.communicate(timeout=180)
    assert child.returncode != 0
    assert "Traceback" not in said
    assert not (out / manifest.NAME).exists()
    small = PrepareSettings(settings_for(256))
    done = prepare(raw, out, small)
    assert 0 < done.made < 20
    assert len(done.version.pictures) == 20
    assert not [path for path in out.iterdir() if path.name.endswith(".partial")]
    whole = prepare(raw, tmp_path / "whole", small)
    assert whole.version.pictures == done.version.pictures
    assert all((out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes() for name in what(done))


def test_the_command_says_what_it_did(raw: Path, tmp_path: Path):
    sprite(32, 32).resize((256, 256), RESAMPLING.BILINEAR).save(raw / "a.png")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "kohya_runner", "dataset", "prepare", str(raw), "--output", str(out)]
    options = ["--pixel-art", "--size", "512", "--preview", str(tmp_path / "sheets"), "--json"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert (told["pictures"], told["made"], told["set_aside"], len(told["previews"])) == (1, 1, 0, 1)
    wrong = subprocess.run([*command, "--photos", "--pixel-art"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    wrong = subprocess.run([*command, "--background", "nocolour"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, "no colour" in wrong.stderr) == (2, True)
