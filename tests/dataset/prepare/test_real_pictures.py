"""Pictures of others: icons and tiles of Debian's packages, and what scikit-image ships. Fetched, never committed."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import PIL.Image
import pytest
from sprites import RESAMPLING, as_jpeg

from kohya_runner.dataset.prepare.pixel_grid import find_grid
from kohya_runner.dataset.prepare.prepare import prepare
from kohya_runner.dataset.prepare.shaping import PrepareSettings, settings_for

pytestmark = pytest.mark.daily

PACKAGES = ("tango-icon-theme", "gnome-icon-theme", "crawl-tiles-data")
SIZES = ("16x16", "22x22", "24x24", "32x32", "48x48")
TILES = ("wall", "icons", "player", "main", "floor", "feat", "gui")
EACH = 3


def _ran(folder: Path, *argv: str) -> None:
    try:
        ended = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as fault:
        pytest.skip(f"NOT TESTED: real pictures could not be fetched: {argv[0]}: {fault}")
    if ended.returncode:
        pytest.skip(f"NOT TESTED: real pictures could not be fetched: {argv}: {ended.stderr[-300:]}")


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("debian")
    for name in PACKAGES:
        _ran(folder, "apt-get", "download", name)
    for package in folder.glob("*.deb"):
        _ran(folder, "dpkg", "-x", str(package), str(folder))
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    _ran(folder, sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "scikit-image")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        wheel.extractall(folder, [name for name in wheel.namelist() if name.endswith((".png", ".jpg"))])
    return folder / "skimage" / "data"


def test_real_heic_and_avif_come_out_upright(tmp_path: Path):
    """Written by the plugin itself, which a child process has on its path and this one has not."""
    _ran(tmp_path, sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", "plugin", "pillow-heif")
    code = (
        "import pillow_heif, PIL.Image; pillow_heif.register_heif_opener(); exif = PIL.Image.Exif(); exif[274] = 6;"
        "picture = PIL.Image.new('RGB', (300, 200), 'red'); picture.paste('blue', (0, 0, 150, 200));"
        "picture.save('raw/a.heic', quality=95, exif=exif.tobytes());"
        "'AVIF' in PIL.Image.SAVE and picture.save('raw/b.avif', quality=95)"
    )
    (tmp_path / "raw").mkdir()
    root = Path(__file__).parents[3]
    env = {"PYTHONPATH": f"{tmp_path / 'plugin'}:{root}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    subprocess.run((sys.executable, "-c", code), cwd=tmp_path, env=env, check=True)
    words = ("-m", "kohya_runner", "dataset", "prepare", "raw", "--output", "made", "--size", "128")
    subprocess.run((sys.executable, *words), cwd=tmp_path, env=env, check=True, capture_output=True)
    with PIL.Image.open(tmp_path / "made" / "a.png") as upright:
        assert upright.size == (128, 192)
        above, below = upright.getpixel((64, 20)), upright.getpixel((64, 170))
    assert above[2] > 200 > above[0]
    assert below[0] > 200 > below[2]
    assert (tmp_path / "made" / "b.png").exists() == (tmp_path / "raw" / "b.avif").exists()


def _opaque(path: Path) -> PIL.Image.Image:
    with PIL.Image.open(path) as opened:
        picture = opened.convert("RGBA")
    white = PIL.Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return white.convert("RGB")


def _sprites(debian: Path) -> list[PIL.Image.Image]:
    """A few of each size of each theme, and tiles of a game, of one and of four."""
    dice, found = random.Random(5), []
    for theme in ("Tango", "gnome"):
        for size in SIZES:
            icons = sorted((debian / "usr/share/icons" / theme / size).rglob("*.png"))
            found += [_opaque(path) for path in dice.sample(icons, min(EACH, len(icons)))]
    for name in TILES:
        sheet = _opaque(debian / "usr/share/crawl/dat/tiles" / f"{name}.png")
        for _ in range(EACH):
            x, y = (dice.randrange(max(1, side // 32 - 1)) * 32 for side in sheet.size)
            found += [sheet.crop((x, y, x + side, y + side)) for side in (32, 64)]
    return [one for one in found if len(one.getcolors(1 << 16) or ()) > 3]


@pytest.mark.parametrize("quality", [None, 90, 75])
@pytest.mark.parametrize("way", [RESAMPLING.NEAREST, RESAMPLING.BILINEAR, RESAMPLING.BICUBIC], ids=lambda way: way.name)
def test_the_true_grids_are_found_and_none_is_wrong(
    debian: Path, way: RESAMPLING, quality: int | None, record_property
):
    dice, told = random.Random(7), Counter[str]()
    for sprite in _sprites(debian):
        times = dice.choice((6, 8, 10, 16, 21))
        large = sprite.resize((sprite.width * times, sprite.height * times), way)
        grid = find_grid(large if quality is None else as_jpeg(large, quality))
        told["not known" if grid is None else "found" if grid.size == sprite.size else "wrong"] += 1
        if grid is not None and way is RESAMPLING.NEAREST and quality is None:
            assert grid.reduced(large).tobytes() == sprite.tobytes()
    sys.stdout.write(f"{way.name}, JPEG {quality}: {dict(told)}\n")  # pytest -s shows the figures
    assert told["wrong"] == 0
    assert told.total() >= 50
    assert told["found"] >= 0.85 * told.total()


def test_photographs_and_large_icons_have_no_grid(debian: Path, photographs: Path):
    icons = sorted((debian / "usr/share/icons/gnome/256x256").rglob("*.png"))
    pictures = sorted(path for path in photographs.iterdir() if path.suffix in (".png", ".jpg"))
    found = {path.name for path in (*pictures, *random.Random(5).sample(icons, 40)) if find_grid(_opaque(path))}
    assert found <= {"chessboard_RGB.png", "chessboard_GRAY.png"}  # which are eight fields wide


def test_the_colours_of_photographs_stay(photographs: Path, tmp_path: Path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for path in photographs.iterdir():
        if path.suffix in (".png", ".jpg"):
            shutil.copy(path, raw / path.name)
    before = {path: path.read_bytes() for path in raw.iterdir()}
    done = prepare(raw, tmp_path / "out", PrepareSettings(settings_for(512), keep_near=True))
    assert {path: path.read_bytes() for path in raw.iterdir()} == before
    assert len(done.version.pictures) >= 20
    assert sum("profile to sRGB" in one.what for one in done.version.pictures) < 5
    for one in done.version.pictures:
        source, made = _opaque(Path(one.source)), _opaque(tmp_path / "out" / one.file)
        if (
            "profile to sRGB" in one.what
        ):  # Adobe RGB, a screen's, a printer's: here the numbers change so that colours stay
            continue
        if source.size == made.size:
            assert made.tobytes() == source.tobytes(), one
        else:
            assert made.width < source.width or made.height < source.height
            means = [picture.resize((1, 1), RESAMPLING.BOX).getpixel((0, 0)) for picture in (source, made)]
            assert max(abs(a - b) for a, b in zip(*means, strict=True)) <= 1, one
