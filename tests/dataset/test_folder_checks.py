from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pictures import draw, pair, scanned

from kohya_runner.dataset.folder_checks import check_datasets, repeats_and_token
from kohya_runner.findings import Severity

if TYPE_CHECKING:
    from pathlib import Path

    from kohya_runner.dataset.facts import Scan
    from kohya_runner.findings import Finding

ERROR, WARNING, INFO = Severity.ERROR, Severity.WARNING, Severity.INFO
HERE = "recipe.yaml:12:5"


def codes(*scans: Scan) -> list[tuple[Severity, str]]:
    return [(finding.severity, finding.code) for finding in check_datasets(scans)]


def only(*scans: Scan) -> Finding:
    (finding,) = check_datasets(scans)
    return finding


def test_a_good_dataset_has_no_findings(odd_path: Path) -> None:
    pair(odd_path, "a")
    pair(odd_path, "b")
    assert codes(scanned(odd_path, expect=2)) == []


def test_a_missing_folder_is_an_error_at_its_place_in_the_recipe(odd_path: Path) -> None:
    finding = only(scanned(odd_path / "none", where=HERE))
    assert (finding.severity, finding.code, finding.where) == (ERROR, "dataset.missing", HERE)


def test_an_empty_folder_is_an_error(odd_path: Path) -> None:
    assert codes(scanned(odd_path)) == [(ERROR, "dataset.empty")]


def test_a_folder_of_repeat_folders_says_which_to_name(odd_path: Path) -> None:
    pair(odd_path / "10_bespoke_baby", "a")
    finding = only(scanned(odd_path))
    assert finding.code == "dataset.level"
    assert finding.hint == "write layout: kohya beside images: each N_concept folder is a dataset then"


def test_a_folder_of_other_folders_says_which_to_name(odd_path: Path) -> None:
    pair(odd_path / "bespoke_baby", "a")
    assert f"images: {odd_path / 'bespoke_baby'}" in only(scanned(odd_path)).hint


def test_a_wrong_count_names_both_numbers(odd_path: Path) -> None:
    pair(odd_path, "a")
    (odd_path / "b.txt").write_text("x", encoding="utf-8")
    found = {finding.code: finding for finding in check_datasets([scanned(odd_path, expect=2)])}
    assert found["dataset.count"].message == "expected 2 images and 2 captions, found 1 and 2"
    assert found["caption.orphan"].severity is WARNING


def test_of_regularization_images_only_the_images_count(odd_path: Path) -> None:
    draw(odd_path / "set" / "a.png")
    pair(odd_path / "train", "b")
    reg = scanned(odd_path / "set", expect=1, regularization=True)
    assert codes(scanned(odd_path / "train"), reg) == [(INFO, "caption.missing")]


def test_regularization_images_alone_are_an_error(odd_path: Path) -> None:
    pair(odd_path, "a")
    assert codes(scanned(odd_path, regularization=True)) == [(ERROR, "dataset.empty")]


def test_strays_are_told(odd_path: Path) -> None:
    pair(odd_path, "a")
    (odd_path / "Thumbs.db").write_bytes(b"")
    (odd_path / "manifest.json").write_bytes(b"{}")
    (odd_path / "a.focus").write_bytes(b"0.5 0.5")
    finding = only(scanned(odd_path))
    assert (finding.severity, finding.code, finding.where) == (INFO, "dataset.strays", str(odd_path / "Thumbs.db"))


def test_images_in_subfolders_are_not_used(odd_path: Path) -> None:
    pair(odd_path, "a")
    draw(odd_path / "more" / "b.png")
    assert codes(scanned(odd_path)) == [(WARNING, "dataset.subfolders")]


def test_a_mixed_case_extension_is_told(odd_path: Path) -> None:
    pair(odd_path, "a").rename(odd_path / "a.Png")
    assert codes(scanned(odd_path)) == [(INFO, "dataset.extension")]


def test_two_images_of_one_name_share_a_caption(odd_path: Path) -> None:
    pair(odd_path, "a")
    draw(odd_path / "a.jpg")
    finding = only(scanned(odd_path))
    assert (finding.severity, finding.code) == (WARNING, "dataset.stem_twice")
    assert "a.jpg, a.png" in finding.message


def test_a_concept_that_begins_with_repeats_is_explained(odd_path: Path) -> None:
    pair(odd_path, "a")
    finding = only(scanned(odd_path, concept="10_cat"))
    assert (finding.severity, finding.code) == (WARNING, "dataset.concept")
    assert "concept: cat and repeats: 10" in finding.hint


def test_unreadable_images_are_one_finding_for_each_reason(odd_path: Path) -> None:
    for n in range(8):
        pair(odd_path, f"{n}").write_bytes(b"")
    pair(odd_path, "web").write_bytes(b"<html>")
    found = [finding for finding in check_datasets([scanned(odd_path)]) if finding.code == "image.unreadable"]
    assert [finding.message for finding in found] == [
        "8 images cannot be used: 0.png, 1.png, 2.png, 3.png, 4.png and 3 more: is empty",
        "1 image cannot be used: web.png: is not an image in a format the trainer reads",
    ]


def test_other_content_than_the_name_says_is_mentioned(odd_path: Path) -> None:
    pair(odd_path, "a")
    draw(odd_path / "a.png", kind="GIF")
    assert codes(scanned(odd_path)) == [(INFO, "image.format")]


def test_the_same_folder_twice_is_a_warning(odd_path: Path) -> None:
    pair(odd_path / "set", "a")
    (odd_path / "link").symlink_to(odd_path / "set")
    assert codes(scanned(odd_path / "set"), scanned(odd_path / "link")) == [(WARNING, "dataset.same_folder")]


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("10_cat", (10, "cat")),
        ("10", (10, "")),
        ("1_0_x", (1, "0_x")),
        ("+3_x", (3, "x")),
        ("0_x", (None, "")),
        ("3-a", (None, "")),
        ("cat", (None, "")),
    ],
)
def test_a_folder_name_means_what_the_trainer_makes_of_it(name: str, meaning: tuple[int | None, str]) -> None:
    assert repeats_and_token(name) == meaning


def test_pictures_of_kinds_that_the_trainer_does_not_read_are_a_warning(odd_path: Path) -> None:
    pair(odd_path, "a")
    draw(odd_path / "b.gif", kind="GIF")
    draw(odd_path / "c.TIF", kind="TIFF")
    (odd_path / "notes.md").touch()
    found = scanned(odd_path)
    assert codes(found) == [(WARNING, "dataset.other_pictures"), (INFO, "dataset.strays")]
    assert next(f.message for f in check_datasets([found])).endswith("b.gif, c.TIF")
