from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
from edits import edit_dataset, looked, noise, row, write
from PIL import Image

from kohya_runner.dataset.edit_layout import edit_folders, with_edits
from kohya_runner.dataset.layout import Layout, plan_layout
from kohya_runner.dataset.tree_build import build, is_intact, prune
from kohya_runner.dataset.written_files import LINK_METHODS
from kohya_runner.errors import DatasetError


def laid_out(root: Path, *metadata: Path, repeats: tuple[int, ...] = (1,), settings: str = "s", fit: bool = True):
    surveys = [looked(path, repeats=repeats[n % len(repeats)]) for n, path in enumerate(metadata)]
    layout = plan_layout([survey.scan for survey in surveys], root / "ws" / "my edits", settings)
    return with_edits(layout, [survey.edit for survey in surveys], fit=fit)


def tree(layout: Layout) -> list[str]:
    return sorted(str(path.relative_to(layout.tree)) for path in layout.tree.rglob("*") if path.is_file())


def content(folder: Path) -> dict[str, str]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_target_and_control_have_one_stem_without_underscores(odd_path):
    metadata = edit_dataset(odd_path / "my_data_of_the_year", 2, row(1), row(2, instruction=" make\nit\t blue "))
    layout = laid_out(odd_path, metadata)
    assert build(layout).created
    assert tree(layout) == [
        "1_pairs/control/000001.png", "1_pairs/control/000002.png",
        "1_pairs/target/000001.png", "1_pairs/target/000001.txt",
        "1_pairs/target/000002.png", "1_pairs/target/000002.txt",
        "manifest.json",
    ]  # fmt: skip
    assert (layout.train_dir, layout.conditioning_dir) == (
        layout.tree / "1_pairs" / "target",
        layout.tree / "1_pairs" / "control",
    )
    assert (layout.train_dir / "000002.txt").read_bytes() == b"make it blue\n"
    assert (layout.train_dir / "000001.png").resolve() == (odd_path / "my_data_of_the_year/outputs/001.png").resolve()
    assert (layout.conditioning_dir / "000001.png").resolve().parent.name == "inputs"


def test_an_input_of_another_size_is_written_in_the_size_of_its_output(odd_path):
    metadata = edit_dataset(odd_path / "data", 3, size=(96, 64))
    noise(odd_path / "data" / "inputs" / "001.png", (192, 128))
    noise(odd_path / "data" / "inputs" / "002.png", (200, 200))  # another shape, where it was allowed
    before = content(odd_path / "data")
    layout = laid_out(odd_path, metadata)
    build(layout)
    for stem in ("000001", "000002", "000003"):
        with Image.open(layout.conditioning_dir / f"{stem}.png") as control:
            assert (control.size, control.mode) == ((96, 64), "RGB")
    assert [(layout.conditioning_dir / f"00000{n}.png").is_symlink() for n in (1, 2, 3)] == [False, False, True]
    assert content(odd_path / "data") == before


def test_another_shape_is_cut_and_not_stretched(odd_path):
    metadata = edit_dataset(odd_path / "data", 1, size=(64, 64))
    wide = Image.new("RGB", (192, 64), (255, 0, 0))
    wide.paste((0, 255, 0), (64, 0, 128, 64))
    wide.save(odd_path / "data" / "inputs" / "001.png")
    layout = laid_out(odd_path, metadata)
    build(layout)
    with Image.open(layout.conditioning_dir / "000001.png") as control:
        assert control.getcolors() == [(64 * 64, (0, 255, 0))]


def test_without_fitting_every_input_keeps_its_size(odd_path):
    metadata = edit_dataset(odd_path / "data", 1)
    noise(odd_path / "data" / "inputs" / "001.png", (128, 128))
    kept, fitted = laid_out(odd_path, metadata, fit=False), laid_out(odd_path, metadata)
    build(kept)
    assert kept.key != fitted.key
    assert (kept.conditioning_dir / "000001.png").is_symlink()


def test_the_second_time_nothing_happens(odd_path):
    metadata = edit_dataset(odd_path / "data", 2)
    noise(odd_path / "data" / "inputs" / "001.png", (128, 128))
    layout = laid_out(odd_path, metadata)
    assert build(layout).created
    before = {path: path.lstat().st_mtime_ns for path in layout.tree.rglob("*")}
    again = laid_out(odd_path, metadata)
    assert again == layout
    assert not build(again).created
    assert {path: path.lstat().st_mtime_ns for path in layout.tree.rglob("*")} == before


@pytest.mark.parametrize("name", ["target/000001.txt", "control/000001.png", "control/000002.png"])
def test_a_file_that_is_gone_or_cut_is_laid_out_anew(odd_path, name):
    metadata = edit_dataset(odd_path / "data", 2)
    noise(odd_path / "data" / "inputs" / "001.png", (128, 128))
    layout = laid_out(odd_path, metadata)
    build(layout)
    broken = layout.tree / "1_pairs" / name
    broken.unlink()
    assert not is_intact(layout)
    broken.write_bytes(b"x")
    assert not is_intact(layout)
    assert build(layout).created
    assert is_intact(layout)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: write(folder, row(1, instruction="make it red"), row(2)),
        lambda folder: write(folder, row(2), row(1)),
        lambda folder: noise(folder / "inputs" / "001.png", seed=9),
        lambda folder: noise(folder / "outputs" / "002.png", seed=9),
    ],
    ids=["instruction", "order", "input", "output"],
)
def test_whatever_changes_in_the_data_makes_another_tree(odd_path, change):
    metadata = edit_dataset(odd_path / "data", 2)
    before = laid_out(odd_path, metadata)
    change(odd_path / "data")
    assert laid_out(odd_path, metadata).key != before.key


def test_one_input_may_lead_to_many_outputs_and_one_output_come_from_many(odd_path):
    rows = (row(1), row(1, output_image="outputs/002.png"), row(1, input_image="inputs/002.png"))
    layout = laid_out(odd_path, edit_dataset(odd_path / "data", 2, *rows))
    build(layout)
    assert len(list(layout.train_dir.glob("*.png"))) == len(list(layout.conditioning_dir.glob("*.png"))) == 3


def test_broken_rows_are_left_out(odd_path):
    metadata = edit_dataset(odd_path / "data", 2, row(1), "no json", row(3), row(2))
    layout = laid_out(odd_path, metadata)
    assert [entry.image.path.name for entry in layout.folders[0].entries] == ["001.png", "002.png"]
    assert [entry.name for entry in layout.conditions[0].entries] == ["000001.png", "000002.png"]


def test_datasets_with_other_repeats_get_folders_of_their_own_and_no_stem_twice(odd_path):
    first, second = (edit_dataset(odd_path / name, 2) for name in ("one", "two"))
    layout = laid_out(odd_path, first, second, repeats=(5, 2))
    build(layout)
    found = edit_folders(layout)
    assert [(folder.repeats, folder.target.parent.name) for folder in found] == [(2, "2_pairs"), (5, "5_pairs")]
    assert [sorted(path.name for path in folder.target.glob("*.png")) for folder in found] == [
        ["000003.png", "000004.png"],
        ["000001.png", "000002.png"],
    ]
    assert all((folder.control / control.name).is_file() for folder in found for _, control in folder.pairs)


def test_latents_beside_the_targets_belong_there_and_are_carried_over(odd_path):
    metadata = edit_dataset(odd_path / "data", 2)
    layout = laid_out(odd_path, metadata)
    build(layout)
    for name in ("000001_0064x0064_sd.npz", "000002_0064x0064_sd.npz", "000002_te_outputs.npz"):
        with zipfile.ZipFile(layout.train_dir / name, "w") as cache:
            cache.writestr("latents", name)
    assert is_intact(layout)
    assert not build(layout).created
    write(odd_path / "data", row(2), row(1, instruction="make it red"))
    turned = laid_out(odd_path, metadata)
    assert build(turned).carried == 3
    assert zipfile.ZipFile(turned.train_dir / "000001_0064x0064_sd.npz").read("latents") == b"000002_0064x0064_sd.npz"
    assert (turned.train_dir / "000001_te_outputs.npz").is_file()
    assert not (turned.train_dir / "000002_te_outputs.npz").exists()
    prune(turned.root, {turned.key})
    assert not layout.tree.exists()


def test_a_stray_file_does_not_stay_in_the_tree(odd_path):
    layout = laid_out(odd_path, edit_dataset(odd_path / "data", 1))
    build(layout)
    noise(layout.conditioning_dir / "000002.png")
    assert not is_intact(layout)
    assert [path.name.partition("-")[2] for path in build(layout).set_aside] == ["000002.png"]
    assert is_intact(layout)


def test_where_nothing_can_be_linked_the_pairs_are_copied(odd_path):
    layout = laid_out(odd_path, edit_dataset(odd_path / "data", 1))
    assert build(layout, ways=(LINK_METHODS[-1],)).way == "copy"
    assert not (layout.train_dir / "000001.png").is_symlink()
    assert is_intact(layout)


def test_an_input_that_changed_since_it_was_read_is_not_laid_out(odd_path):
    metadata = edit_dataset(odd_path / "data", 1)
    noise(odd_path / "data" / "inputs" / "001.png", (128, 128))
    layout = laid_out(odd_path, metadata)
    noise(odd_path / "data" / "inputs" / "001.png", (32, 32))
    with pytest.raises(DatasetError, match="has changed since it was read"):
        build(layout)
    assert not layout.tree.exists()
    assert list(layout.root.iterdir()) == []
