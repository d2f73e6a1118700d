from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from pictures import draw, pair, scanned

import kohya_runner
from kohya_runner.dataset.layout import Layout, plan_layout
from kohya_runner.dataset.tree_build import build, prune
from kohya_runner.dataset.written_files import LINK_METHODS, LinkMethod
from kohya_runner.errors import DatasetError, PreflightError

LATENTS = "_0024x0024_sdxl.npz"
OUTPUTS = "_te_outputs.npz"


def archive() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("latents.npy", b"x")
    return data.getvalue()


def refused(_source: Path, _target: Path) -> None:
    raise PermissionError(1, "Operation not permitted")


@pytest.fixture
def sources(odd_path: Path) -> Path:
    """A folder of two pairs."""
    pair(odd_path / "set [1]", "a", "first", colour=1)
    pair(odd_path / "set [1]", "b", "second", colour=2)
    return odd_path / "set [1]"


@pytest.fixture
def root(odd_path: Path) -> Path:
    return odd_path / "ws" / "datasets" / "x"


def layout(sources: Path, root: Path, settings: str = "s") -> Layout:
    return plan_layout([scanned(sources, concept="cat", repeats=10)], root, settings)


def only_folder(found: Layout) -> Path:
    return found.folder_path(found.folders[0])


def add_caches(found: Layout) -> None:
    for entry in found.folders[0].entries:
        for ending in (LATENTS, OUTPUTS):
            (only_folder(found) / entry.name.replace(".png", ending)).write_bytes(archive())


def caches(found: Layout) -> list[str]:
    """Which images of a built tree have which caches: ``a_te_outputs.npz``."""
    return sorted(path.name.partition("-")[2] for path in only_folder(found).glob("*.npz"))


def test_links_lead_to_the_sources(sources: Path, root: Path) -> None:
    found = layout(sources, root)
    built = build(found)
    assert (built.created, built.way) == (True, "symlink")
    folder = only_folder(found)
    assert folder == root / found.key / "train" / "10_cat"
    assert sorted(path.readlink() for path in folder.iterdir()) == sorted(sources.iterdir())


def test_the_manifest_maps_names_to_sources(sources: Path, root: Path) -> None:
    found = layout(sources, root)
    build(found)
    manifest = json.loads((found.tree / "manifest.json").read_text(encoding="utf-8"))
    entry = found.folders[0].entries[0]
    assert (manifest["version"], manifest["key"], manifest["settings_key"]) == (1, found.key, "s")
    facts = manifest["folders"][0]["files"][entry.name]
    assert (facts["source"], facts["sha256"], facts["width"]) == (str(entry.image.path), entry.image.sha256, 24)


def test_a_second_build_does_nothing(sources: Path, root: Path) -> None:
    build(layout(sources, root))
    before = {path: path.lstat().st_mtime_ns for path in root.rglob("*")}
    assert not build(layout(sources, root)).created
    assert {path: path.lstat().st_mtime_ns for path in root.rglob("*")} == before


def test_nothing_is_left_but_the_tree(sources: Path, root: Path) -> None:
    found = layout(sources, root)
    build(found)
    assert [path.name for path in root.iterdir()] == [found.key]


@pytest.mark.parametrize("forbidden", [1, 2], ids=["hard link", "copy"])
def test_where_a_link_is_forbidden_the_next_way_is_taken(sources: Path, root: Path, forbidden: int) -> None:
    ways = (*(LinkMethod(way.name, refused) for way in LINK_METHODS[:forbidden]), *LINK_METHODS[forbidden:])
    found = layout(sources, root)
    assert build(found, ways=ways).way == LINK_METHODS[forbidden].name
    assert not build(found).created
    assert all(not path.is_symlink() for path in only_folder(found).iterdir())


def test_where_no_way_works_it_says_so(sources: Path, root: Path) -> None:
    with pytest.raises(PreflightError, match="Operation not permitted"):
        build(layout(sources, root), ways=(LinkMethod("none", refused),))
    assert list(root.iterdir()) == []


def test_a_source_that_changed_since_it_was_read_is_an_error(sources: Path, root: Path) -> None:
    found = layout(sources, root)
    (sources / "a.txt").write_text("another caption", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"a\.txt has changed"):
        build(found)
    assert list(root.iterdir()) == []


def test_the_sources_stay_as_they_are(sources: Path, root: Path) -> None:
    before = {path: (path.read_bytes(), path.lstat().st_mtime_ns) for path in sources.iterdir()}
    build(layout(sources, root))
    assert {path: (path.read_bytes(), path.lstat().st_mtime_ns) for path in sources.iterdir()} == before


def test_a_changed_recipe_gets_another_tree_and_the_old_one_stays(sources: Path, root: Path) -> None:
    old = layout(sources, root)
    build(old)
    pair(sources, "c", "third", colour=3)
    new = layout(sources, root)
    build(new)
    assert len(list(only_folder(old).iterdir())) == 4
    assert len(list(only_folder(new).iterdir())) == 6


def test_caches_of_unchanged_images_are_carried_over(sources: Path, root: Path) -> None:
    old = layout(sources, root)
    build(old)
    add_caches(old)
    pair(sources, "c", "third", colour=3)
    new = layout(sources, root)
    assert build(new).carried == 4
    assert caches(new) == [f"a{LATENTS}", f"a{OUTPUTS}", f"b{LATENTS}", f"b{OUTPUTS}"]


def test_a_changed_image_loses_its_caches(sources: Path, root: Path) -> None:
    build(layout(sources, root))
    add_caches(layout(sources, root))
    draw(sources / "a.png", colour=99)
    build(new := layout(sources, root))
    assert caches(new) == [f"b{LATENTS}", f"b{OUTPUTS}"]


def test_a_changed_caption_loses_only_the_text_encoder_s_cache(sources: Path, root: Path) -> None:
    build(layout(sources, root))
    add_caches(layout(sources, root))
    (sources / "a.txt").write_text("a new one", encoding="utf-8")
    build(new := layout(sources, root))
    assert caches(new) == [f"a{LATENTS}", f"b{LATENTS}", f"b{OUTPUTS}"]


def test_another_concept_loses_the_class_token_s_cache(odd_path: Path, root: Path) -> None:
    draw(odd_path / "set" / "a.png")
    old = plan_layout([scanned(odd_path / "set", concept="cat")], root, "s")
    build(old)
    add_caches(old)
    new = plan_layout([scanned(odd_path / "set", concept="dog")], root, "s")
    build(new)
    assert caches(new) == [f"a{LATENTS}"]


def test_other_settings_carry_nothing_over_and_take_nothing_away(sources: Path, root: Path) -> None:
    old = layout(sources, root)
    build(old)
    add_caches(old)
    new = layout(sources, root, "another resolution")
    assert build(new).carried == 0
    assert (len(caches(old)), len(caches(new))) == (4, 0)


def test_a_half_written_cache_is_not_carried_over(sources: Path, root: Path) -> None:
    old = layout(sources, root)
    build(old)
    entry = old.folders[0].entries[0]
    (only_folder(old) / entry.name.replace(".png", LATENTS)).write_bytes(archive()[:-5])
    pair(sources, "c", colour=3)
    assert build(layout(sources, root)).carried == 0


def test_a_half_written_cache_that_nobody_writes_any_more_is_removed(sources: Path, root: Path) -> None:
    found = layout(sources, root)
    build(found)
    for entry, age in zip(found.folders[0].entries, (60, 0), strict=True):
        path = only_folder(found) / entry.name.replace(".png", LATENTS)
        path.write_bytes(archive()[:-5])
        os.utime(path, (time.time() - age, time.time() - age))
    assert len(build(found).dropped) == 1
    assert len(caches(found)) == 1


@pytest.mark.parametrize(
    "place", ["train/10_cat/stray.png", "train/5_dog/a.png", "reg/1_dog/a.png", "train/notes.txt", "more/a.txt"]
)
def test_what_somebody_put_into_the_tree_is_never_trained_and_not_lost(sources: Path, root: Path, place: str) -> None:
    found = layout(sources, root)
    build(found)
    add_caches(found)
    stray = found.tree / place
    stray.parent.mkdir(parents=True, exist_ok=True)
    stray.write_bytes(b"mine")
    built = build(found)
    assert not stray.exists()
    assert [path for path in (root / "set-aside").rglob("*") if path.is_file() and path.read_bytes() == b"mine"]
    assert (built.created, built.carried, len(built.set_aside)) == (True, 4, 1)
    assert not build(found).created


def test_a_link_that_is_gone_is_laid_out_anew(sources: Path, root: Path) -> None:
    found = layout(sources, root)
    build(found)
    victim = only_folder(found) / found.folders[0].entries[0].name
    victim.unlink()
    assert build(found).created
    assert victim.exists()


def test_a_link_that_leads_elsewhere_is_laid_out_anew(sources: Path, root: Path) -> None:
    found = layout(sources, root)
    build(found)
    entry = found.folders[0].entries[0]
    (only_folder(found) / entry.name).unlink()
    (only_folder(found) / entry.name).symlink_to(sources / "b.txt")
    assert build(found).created
    assert (only_folder(found) / entry.name).readlink() == entry.image.path


def test_the_cache_of_no_image_is_not_kept(sources: Path, root: Path) -> None:
    found = layout(sources, root)
    build(found)
    (only_folder(found) / "12345678-gone_0024x0024_sdxl.npz").write_bytes(archive())
    assert build(found).created
    assert caches(found) == []


def test_the_trainer_s_own_cache_of_sizes_may_stay(sources: Path, root: Path) -> None:
    found = layout(sources, root)
    build(found)
    (only_folder(found) / "metadata_cache.json").write_text("{}", encoding="utf-8")
    assert not build(found).created


def test_several_processes_may_build_the_same_tree_at_once(sources: Path, root: Path) -> None:
    found = layout(sources, root)
    code = "import pickle, sys; from kohya_runner.dataset.tree_build import build; build(pickle.load(sys.stdin.buffer))"
    home = str(Path(kohya_runner.__file__).parents[1])
    children = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, env={**os.environ, "PYTHONPATH": home})
        for _ in range(4)
    ]
    for child in children:
        child.communicate(pickle.dumps(found))
    assert [child.returncode for child in children] == [0] * 4
    assert [path.name for path in root.iterdir()] == [found.key]
    assert not build(found).created


def test_trees_that_nobody_keeps_are_removed(sources: Path, root: Path) -> None:
    old, new = layout(sources, root), layout(sources, root, "t")
    build(old)
    build(new)
    (root / "set-aside").mkdir()
    assert prune(root, {new.key}) == (old.tree,)
    assert sorted(path.name for path in root.iterdir()) == sorted([new.key, "set-aside"])
    assert len(list(sources.iterdir())) == 4


def test_only_long_abandoned_halves_are_removed(root: Path) -> None:
    fresh, old = root / ".0123456789ab.partial-1", root / ".0123456789ab.partial-2"
    for path in (fresh, old):
        path.mkdir(parents=True)
    os.utime(old, (1, 1))
    assert prune(root, set()) == (old,)
    assert fresh.is_dir()


def test_pruning_a_recipe_that_never_ran_does_nothing(root: Path) -> None:
    assert prune(root, set()) == ()
