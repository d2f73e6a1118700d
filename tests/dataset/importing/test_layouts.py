"""Every layout that is imported: what becomes of its pictures and captions, and the recipe that names them."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kohya_runner.dataset.importing.new_version import ImportedDataset, ImportRequest, import_dataset
from kohya_runner.dataset.prepare import manifest
from kohya_runner.errors import DatasetError, UsageError
from kohya_runner.recipe.load import load


def draw(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", (8, 8), (number % 256, number // 256, 9)).save(path)
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def imported(room: Path, *sources: Path, output: str = "out", **more: object) -> ImportedDataset:
    target = room / output
    return import_dataset(ImportRequest(sources, room / "prepared", target.name, target, **more))  # type: ignore[arg-type]


def captions(made: ImportedDataset) -> dict[str, str]:
    paths = made.folder.rglob("*.txt")
    return {str(p.relative_to(made.folder).with_suffix("")): p.read_text(encoding="utf-8") for p in paths}


def files(made: ImportedDataset) -> list[str]:
    return sorted(one.file for one in made.pictures)


def codes(made: ImportedDataset) -> list[str]:
    return sorted(f"{finding.code} {finding.severity.value}" for finding in made.findings)


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes() if p.is_file() else b"") for p in sorted(folder.rglob("*"))}


@pytest.fixture
def two(odd_path: Path) -> Path:
    folder = odd_path / "two"
    draw(folder / "a.png", 1)
    draw(folder / "b.png", 2)
    return folder


WHAT = {"a.png": "a red, cat", "b.png": 'a "blue"\ndog'}


def as_csv(delimiter: str, header: tuple[str, ...] = ("file_name", "text")) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter).writerows([*([header] if header else []), *WHAT.items()])
    return buffer.getvalue()


ROWS = [{"file_name": name, "text": text} for name, text in WHAT.items()]
LISTS = {
    "metadata.jsonl": "\n".join(map(json.dumps, ROWS)),
    "metadata.json": json.dumps(ROWS),
    "meta_cap.json": json.dumps({name.removesuffix(".png"): {"caption": text} for name, text in WHAT.items()}),
    "meta_full.json": json.dumps({f"/gone/train/{name}": {"caption": text} for name, text in WHAT.items()}),
    "meta_win.json": json.dumps({f"C:\\train\\{name}": {"caption": text} for name, text in WHAT.items()}),
    "captions.json": json.dumps(WHAT),
    "metadata.csv": as_csv(","),
    "Metadata.CSV": "\ufeff" + as_csv(";", ("Filename", "Caption")),
    "captions.tsv": as_csv("\t", ()),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_in_the_folder_gives_the_captions(odd_path, two, name):
    write(two / name, LISTS[name])
    before = everything(two)
    made = imported(odd_path, two)
    assert captions(made) == {"a": WHAT["a.png"], "b": WHAT["b.png"]}
    assert files(made) == ["a.png", "b.png"]
    assert codes(made) == []
    assert everything(two) == before


@pytest.mark.parametrize("name", LISTS)
def test_a_list_that_is_named_itself_gives_only_its_pictures(odd_path, two, name):
    draw(two / "c.png", 3)
    elsewhere = write(odd_path / "lists" / f"any{Path(name).suffix.lower()}", LISTS[name])
    made = imported(odd_path, elsewhere, images=two)
    assert captions(made) == {"a": WHAT["a.png"], "b": WHAT["b.png"]}
    assert files(made) == ["a.png", "b.png"]


def test_tags_stand_behind_the_caption(odd_path, two):
    rows = {"a": {"caption": "a cat", "tags": "red, small"}, "b": {"tags": ["x", "y"]}}
    write(two / "meta_lat.json", json.dumps(rows))
    assert captions(imported(odd_path, two)) == {"a": "a cat, red, small", "b": "x, y"}


def test_a_caption_file_is_taken_as_it_is_and_a_list_goes_before_it(odd_path, two):
    (two / "a.txt").write_bytes(b"first\r\n\xff\n")
    write(two / "b.caption", "beside")
    made = imported(odd_path, two)
    assert (made.folder / "a.txt").read_bytes() == b"first\r\n\xff\n"
    assert (made.folder / "b.txt").read_text() == "beside"
    write(two / "metadata.jsonl", LISTS["metadata.jsonl"])
    assert captions(imported(odd_path, two, output="again"))["b"] == WHAT["b.png"]


def test_an_imagefolder_with_splits_and_classes_is_split_by_its_folders(odd_path):
    folder = odd_path / "hub"
    for number, name in enumerate(("train/cat/0001.png", "train/cat/0002.png", "train/dog/0001.png")):
        draw(folder / name, number)
    write(folder / "train" / "metadata.csv", "file_name,text\ncat/0001.png,a cat\ndog/0001.png,a dog\n")
    made = imported(odd_path, folder, split_by="label")
    assert files(made) == ["1_cat/0001.png", "1_cat/0002.png", "1_dog/0001.png"]
    assert captions(made) == {"1_cat/0001": "a cat", "1_dog/0001": "a dog"}
    assert files(imported(odd_path, folder, output="flat")) == ["0001.png", "0001_2.png", "0002.png"]


def test_a_column_splits(odd_path, two):
    rows = [{**row, "concept": concept} for row, concept in zip(ROWS, ("cat", "../dog"), strict=True)]
    write(two / "metadata.json", json.dumps(rows))
    made = imported(odd_path, two, split_by="concept")
    assert files(made) == ["1_cat/a.png", "1_out/b.png"]


def kohya(root: Path) -> Path:
    for number, name in enumerate(
        ("img/10_ohwx photo/a.png", "img/10_ohwx photo/b.png", "img/3_style/a.png", "reg/1_photo/r.png")
    ):
        draw(root / name, number)
    write(root / "img/10_ohwx photo/a.txt", "ohwx")
    write(root / "log/events", "x")
    return root


def test_a_kohya_tree_becomes_the_entries_of_a_recipe(odd_path):
    made = imported(odd_path, kohya(odd_path / "lora"))
    assert files(made) == ["10_ohwx photo/a.png", "10_ohwx photo/b.png", "3_style/a.png", "reg/1_photo/r.png"]
    assert (made.folder / "datasets.yaml").read_text() == made.entries
    assert codes(made) == ["dataset.strays info"]
    recipe = write(odd_path / "r.yaml", f"name: r\nfamily: sd15\nmodel: {{random: sd15}}\n{made.entries}")
    loaded = load(recipe)
    assert loaded.recipe is not None, loaded.findings
    rows = [(Path(d.images).name, d.concept, d.repeats, d.regularization) for d in loaded.recipe.datasets]
    assert rows == [
        ("10_ohwx photo", "ohwx photo", 10, False), ("3_style", "style", 3, False), ("1_photo", "photo", 1, True)
    ]  # fmt: skip
    assert [d.captions.optional for d in loaded.recipe.datasets] == [False, True, True]


def test_several_sources_are_an_entry_each_or_merged(odd_path, two):
    other = draw(odd_path / "other" / "a.png", 7).parent
    write(other / "a.txt", "the other")
    made = imported(odd_path, two, other)
    assert files(made) == ["1_other/a.png", "1_two/a.png", "1_two/b.png"]
    assert made.entries.count("images:") == 2
    merged = imported(odd_path, two, other, output="merged", merge=True)
    assert files(merged) == ["a.png", "a_2.png", "b.png"]
    assert captions(merged) == {"a_2": "the other"}


def test_two_pictures_never_share_a_caption_or_a_name(odd_path):
    folder = odd_path / "x"
    for number, name in enumerate(("a.png", "a.JPG", "A.webp", "sub/a.png", "a_2.png")):
        draw(folder / name, number)
        write((folder / name).with_name(f"{number}.txt"), "")
    made = imported(odd_path, folder)
    assert len({Path(name).stem.casefold() for name in files(made)}) == 5
    assert all(name == name.lower() or name.startswith("A") for name in files(made))


def test_names_that_nobody_can_see_or_write_are_made_plain(odd_path):
    folder = odd_path / "x"
    for number, name in enumerate(("a\n\x1b[2J.png", f"{'ä' * 120}.png")):
        draw(folder / name, number)
    draw(folder / "y.png").rename(folder / os.fsdecode(b"\xff.png"))
    made = imported(odd_path, folder)
    assert files(made)[0] == "_.png"
    assert all(name.isprintable() and len(name.encode()) < 200 for name in files(made))
    assert manifest.read(made.folder) is not None


FAULTS = {
    "a row of no picture": ("metadata.jsonl", '{"text": "x"}', "names no picture", 1),
    "a picture that is gone": ("metadata.jsonl", '{"file_name": "z.png"}', "not there", 1),
    "a way out": ("metadata.jsonl", '{"file_name": "../secret.png"}', "not there", 1),
    "a root": ("metadata.jsonl", '{"file_name": "/etc/secret.png"}', "not there", 1),
    "twice": ("metadata.jsonl", '{"file_name": "a.png"}\n{"file_name": "a.png"}', "again", 2),
    "a number": ("metadata.jsonl", '{"file_name": "a.png", "text": 7}', "not text", 1),
    "half a sign": ("metadata.jsonl", r'{"file_name": "a.png", "text": "\ud83d"}', "half a sign", 1),
    "not JSON": ("metadata.jsonl", '{"file_name": "a.png"}\n{', "no key", 2),
    "no list": ("metadata.json", "7", "not a list", 1),
    "no captions": ("metadata.json", '{\n"a": 7}', "neither a caption", 2),
    "a comma too many": ("metadata.csv", "file_name,text\na.png,a,b", "3 columns and not 2", 2),
    "an open quote": ("metadata.csv", 'file_name,text\na.png,"a', "is not CSV", 2),
    "not a picture's name": ("metadata.csv", "caption\nx", "not there", 2),
    "Parquet": ("metadata.parquet", "PAR1", "Parquet", 1),
    "edits": ("metadata.jsonl", '{"input_image": "a.png", "output_image": "b.png"}', "lists edits", 1),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_wrong_row_is_told_with_its_line_and_the_pictures_come_nevertheless(odd_path, two, case):
    name, text, what, line = FAULTS[case]
    draw(odd_path / "secret.png")
    write(two / name, text)
    made = imported(odd_path, two)
    found = [f for f in made.findings if f.code == "dataset.row"]
    assert len(found) >= 1
    assert what in found[-1].message
    assert f"{name}:{line}:" in found[-1].where
    assert files(made) == ["a.png", "b.png"]


def test_a_file_that_is_not_utf8_is_told(odd_path, two):
    (two / "metadata.csv").write_bytes("file_name,text\na.png,ä".encode("latin-1"))
    assert "not UTF-8" in imported(odd_path, two).findings[0].message


def test_links_out_are_set_aside(odd_path, two):
    secret = draw(odd_path / "home" / "secret.png")
    (two / "c.png").symlink_to(secret)
    (two / "d.png").symlink_to("/proc/self/mem")
    (two / "e.png").symlink_to("gone")
    os.mkfifo(two / "f.png")
    (two / "folder").symlink_to(secret.parent)
    made = imported(odd_path, two)
    assert files(made) == ["a.png", "b.png"]
    assert {*codes(made)} == {"dataset.set_aside warning"}
    version = manifest.read(made.folder)
    assert version is not None
    assert sorted(Path(one.source).name for one in version.set_aside) == ["c.png", "d.png", "e.png", "f.png"]


def test_nothing_to_import_makes_nothing(odd_path):
    (odd_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="no picture"):
        imported(odd_path, odd_path / "empty")
    with pytest.raises(UsageError, match="no such folder"):
        imported(odd_path, odd_path / "gone")
    assert not (odd_path / "out").exists()


def test_an_output_with_something_else_and_the_source_itself_are_refused(odd_path, two):
    draw(odd_path / "full" / "mine.png")
    for output in ("full", "two", "two/below", "."):
        with pytest.raises(UsageError, match=r"other files already|in the folder of the pictures"):
            imported(odd_path, two, output=output)
    assert sorted(p.name for p in two.iterdir()) == ["a.png", "b.png"]


def test_a_second_run_copies_only_what_changed_and_keeps_a_persons_caption(odd_path, two):
    write(two / "a.txt", "one")
    write(two / "b.txt", "two")
    first = imported(odd_path, two)
    assert first.copied == 2
    inode = (first.folder / "a.png").stat().st_ino
    assert imported(odd_path, two).copied == 0
    draw(two / "b.png", 77)
    os.utime(two / "b.png", ns=(1, 1))
    write(two / "b.txt", "changed there")
    write(first.folder / "a.txt", "mine")
    draw(two / "c.png", 5)
    second = imported(odd_path, two)
    assert second.copied == 2
    assert (first.folder / "a.png").stat().st_ino == inode
    assert captions(second) == {"a": "mine", "b": "changed there"}
    (two / "b.png").unlink()
    (two / "a.png").unlink()
    third = imported(odd_path, two)
    assert files(third) == ["c.png"]
    assert captions(third) == {"a": "mine"}


def test_a_run_that_is_killed_goes_on_and_two_at_once_are_refused(odd_path):
    folder = odd_path / "many"
    for number in range(300):
        draw(folder / f"{number:03d}.png", number)
        write(folder / f"{number:03d}.txt", str(number))
    words = ("-m", "kohya_runner", "dataset", "import", str(folder), "--output", str(odd_path / "out"))
    slow = f"""
import sys, runpy, kohya_runner.dataset.importing.new_version as n
put = n.write_bytes
def slow(path, data, **more):
    if path.name == "150.png":
        print("here", flush=True)
        sys.stdin.read()
    return put(path, data, **more)
n.write_bytes = slow
sys.argv = {["kohya-runner", *words[2:]]!r}
runpy.run_module("kohya_runner", run_name="__main__")
"""
    first = subprocess.Popen((sys.executable, "-c", slow), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdin is not None
    assert first.stdout.readline() == b"here\n"
    other = subprocess.run((sys.executable, *words), capture_output=True, text=True, check=False)
    assert (other.returncode, "another process" in other.stderr) == (7, True)
    first.kill()
    first.wait()
    first.stdin.close()
    first.stdout.close()
    assert manifest.read(odd_path / "out") is None
    made = imported(odd_path, folder)
    assert made.copied == 150
    assert {name: hashlib.sha256((made.folder / name).read_bytes()).digest() for name in files(made)} == {
        path.name: hashlib.sha256(path.read_bytes()).digest() for path in folder.glob("*.png")
    }
    assert [p.name for p in made.folder.iterdir() if p.name.endswith(".partial")] == []
    assert len(captions(made)) == 300


def test_a_name_in_the_workspace_gets_versions(odd_path, two):
    request = ImportRequest((two,), odd_path / "prepared", "cats")
    assert import_dataset(request).folder == odd_path / "prepared" / "cats" / "001"
    assert import_dataset(request).folder.name == "001"
    assert import_dataset(ImportRequest((two,), odd_path / "prepared", "cats", merge=True)).folder.name == "002"


def test_another_way_to_import_lays_the_same_folder_out_anew(odd_path):
    folder = kohya(odd_path / "lora")
    first = imported(odd_path, folder)
    write(first.folder / "10_ohwx photo" / "a.txt", "mine")
    second = imported(odd_path, folder, split_by="set")
    assert files(second) == ["10_ohwx photo/a.png", "10_ohwx photo/b.png", "3_style/a.png", "reg/1_photo/r.png"]
    assert second.copied == 0
    (folder / "img" / "3_style").rename(folder / "img" / "dogs")
    third = imported(odd_path, folder, split_by="set")
    assert "1_dogs/a.png" in files(third)
    assert not (third.folder / "3_style" / "a.png").exists()
    assert captions(third) == {"10_ohwx photo/a": "mine"}


def test_a_version_that_is_a_source_is_never_written_into(odd_path, two):
    unfinished = odd_path / "prepared" / "cats" / "001"
    draw(unfinished / "x.png")
    before = everything(unfinished)
    made = import_dataset(ImportRequest((unfinished,), odd_path / "prepared", "cats"))
    assert made.folder.name == "002"
    assert everything(unfinished) == before


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=40)
NAMES = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\:"), min_size=1, max_size=20
).filter(lambda name: not name.startswith(".") and not name.isspace())


@settings(deadline=None, max_examples=25)
@given(st.dictionaries(NAMES, TEXT, min_size=1, max_size=5), st.sampled_from(("jsonl", "json", "keyed", "csv")))
def test_a_list_is_read_as_it_was_written(tmp_path_factory, told: dict[str, str], form: str):
    room = tmp_path_factory.mktemp("round")
    stems = {unicodedata.normalize("NFC", name).casefold(): name for name in told}.values()
    told = {name: told[name] for name in stems}
    for number, name in enumerate(told):
        draw(room / "in" / f"{name}.png", number)
    rows = [{"file_name": f"{name}.png", "text": text} for name, text in told.items()]
    if form == "csv":
        told = {name: text for name, text in told.items() if text}
        buffer = io.StringIO(newline="")
        out = csv.DictWriter(buffer, ("file_name", "text"))
        out.writeheader()
        out.writerows(rows)
        (room / "in" / "metadata.csv").write_bytes(buffer.getvalue().encode())
    elif form == "keyed":
        write(room / "in" / "metadata.json", json.dumps({f"{name}.png": {"caption": t} for name, t in told.items()}))
    elif form == "json":
        write(room / "in" / "metadata.json", json.dumps(rows, ensure_ascii=False))
    else:
        write(room / "in" / "metadata.jsonl", "\n".join(map(json.dumps, rows)))
    made = imported(room, room / "in")
    assert [f for f in made.findings if f.severity.value == "error"] == []
    by_source = {Path(one.source).stem: one.file for one in made.pictures}
    assert len(by_source) == len(rows)
    for name, text in told.items():
        assert (made.folder / by_source[name]).with_suffix(".txt").read_bytes().decode() == text


def test_a_folder_that_was_imported_is_checked_without_a_word_about_our_files(odd_path, two):
    for name in ("a", "b"):
        write(two / f"{name}.txt", "a cat")
    made = imported(odd_path, two)
    words = ("dataset", "check", str(made.folder), "--json", "--workspace", str(odd_path / "room"))
    done = subprocess.run((sys.executable, "-m", "kohya_runner", *words), capture_output=True, text=True, check=False)
    assert "dataset.strays" not in done.stdout
    assert json.loads(done.stdout)["version"] == 1
