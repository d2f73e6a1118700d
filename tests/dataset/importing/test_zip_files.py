"""Zip files of strangers: nothing leaves them, nothing fills the disk, and what is good comes out."""

from __future__ import annotations

import io
import os
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kohya_runner.dataset.importing.new_version import ImportedDataset, ImportRequest, import_dataset
from kohya_runner.dataset.prepare import manifest
from kohya_runner.errors import DatasetError, PreflightError

BUFFER = io.BytesIO()
PIL.Image.new("RGB", (8, 8), (9, 9, 9)).save(BUFFER, "PNG")
PNG = BUFFER.getvalue()


def packed(path: Path, members: Mapping[str, bytes], **more: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            for key, value in more.items():
                setattr(info, key, value)
            file.writestr(info, data)
    return path


def imported(room: Path, *sources: Path, output: str = "out", **more: object) -> ImportedDataset:
    return import_dataset(ImportRequest(sources, room / "prepared", output, room / output, **more))  # type: ignore[arg-type]


def files(made: ImportedDataset) -> list[str]:
    return sorted(one.file for one in made.pictures)


def aside(made: ImportedDataset) -> dict[str, str]:
    version = manifest.read(made.folder)
    assert version is not None
    return {one.source.partition("!")[2]: one.why for one in version.set_aside}


def test_pictures_captions_and_lists_come_out(odd_path):
    members = {"./set/a.PNG": PNG, "set/a.txt": b"a cat", "set/b.png": PNG, "set/metadata.csv": b"image,text\nb.png,b",
               "__MACOSX/set/._a.png": b"x", "set/.DS_Store": b"x", "set/": b""}  # fmt: skip
    file = packed(odd_path / "it's.zip", members)
    made = imported(odd_path, file)
    assert files(made) == ["a.png", "b.png"]
    assert {p.stem: p.read_text() for p in made.folder.glob("*.txt")} == {"a": "a cat", "b": "b"}
    assert made.findings == ()
    assert made.pictures[0].source == f"{file}!set/a.PNG"
    assert imported(odd_path, file).copied == 0


def test_a_kohya_tree_in_a_zip_file(odd_path):
    made = imported(odd_path, packed(odd_path / "k.zip", {"k/img/10_ohwx/a.png": PNG, "k/reg/1_man/a.png": PNG}))
    assert files(made) == ["10_ohwx/a.png", "reg/1_man/a.png"]
    assert "regularization: true" in made.entries


WAYS_OUT = ["../up.png", "a/../../up.png", "/etc/up.png", "..\\up.png", "C:\\up.png", "c:up.png", "\\\\host\\up.png"]


@pytest.mark.parametrize("name", WAYS_OUT)
def test_a_member_that_leads_out_is_told_and_the_others_come(odd_path, name):
    made = imported(odd_path, packed(odd_path / "evil.zip", {name: PNG, "good.png": PNG, "more/a..b.png": PNG}))
    assert files(made) == ["a..b.png", "good.png"]
    assert [f.code for f in made.findings] == ["dataset.archive"]
    assert set(aside(made).values()) == {"has a path that leads out of the zip file"}
    assert list(odd_path.rglob("up*")) == []


def test_links_devices_and_doubles_are_told(odd_path):
    file = odd_path / "links.zip"
    with zipfile.ZipFile(file, "w") as made:
        for name, kind in (("link.png", stat.S_IFLNK), ("pipe.png", stat.S_IFIFO), ("plain.png", stat.S_IFREG)):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (kind | 0o777) << 16
            made.writestr(info, "/etc/passwd" if name == "link.png" else PNG)
        with pytest.warns(UserWarning, match="Duplicate"):
            made.writestr("plain.png", b"other")
    done = imported(odd_path, file)
    assert files(done) == ["plain.png"]
    assert (done.folder / "plain.png").read_bytes() == PNG
    assert sorted(aside(done)) == ["link.png", "pipe.png", "plain.png (again)"]


def test_encrypted_members_are_told(odd_path):
    file = packed(odd_path / "e.zip", {"a.png": PNG, "b.png": PNG})
    data = bytearray(file.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        where = data.index(mark)
        struct.pack_into("<H", data, where + at, 1)
    file.write_bytes(data)
    made = imported(odd_path, file)
    assert (files(made), aside(made)) == (["b.png"], {"a.png": "is encrypted"})


def test_a_damaged_member_is_set_aside_and_a_cut_file_is_refused(odd_path):
    file = packed(odd_path / "d.zip", {"a.png": os.urandom(5000), "b.png": PNG})
    data = bytearray(file.read_bytes())
    data[2000:2010] = b"0123456789"
    file.write_bytes(data)
    made = imported(odd_path, file)
    assert files(made) == ["b.png"]
    assert "CRC" in aside(made)["a.png"]
    assert [f.code for f in made.findings] == ["dataset.set_aside"]
    (odd_path / "cut.zip").write_bytes(data[:3000])
    for name in ("cut.zip", "none.zip"):
        (odd_path / name).touch()
        with pytest.raises(DatasetError, match="not a whole zip file"):
            imported(odd_path, odd_path / name, output="other")
    assert not (odd_path / "other").exists()


def test_a_bomb_is_refused_before_anything_is_written(odd_path):
    file = odd_path / "bomb.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made, made.open("a.png", "w", force_zip64=True) as member:
        member.write(b"\0" * (1 << 20))
    data = bytearray(file.read_bytes())
    at = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, at + 24, 0x7FFFFFFF)  # says two gigabytes
    file.write_bytes(data)
    with pytest.raises(DatasetError, match=r"that become 2\.0 GiB"):
        imported(odd_path, file)
    assert not (odd_path / "out").exists()


def test_a_member_that_holds_more_than_it_says_is_not_unpacked(odd_path):
    file = packed(odd_path / "liar.zip", {"a.png": b"\0" * 100_000, "b.png": PNG})
    data = bytearray(file.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 10)
    file.write_bytes(data)
    made = imported(odd_path, file)
    assert files(made) == ["b.png"]
    assert sum(p.stat().st_size for p in made.folder.iterdir()) < 10_000


def test_a_full_disk_is_told_before(odd_path, monkeypatch):
    file = packed(odd_path / "a.zip", {"a.png": PNG})
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10})())
    with pytest.raises(PreflightError, match="are needed and 10 B are free"):
        imported(odd_path, file)


def test_names_in_utf8_that_do_not_say_so_and_in_other_encodings(odd_path):
    file = odd_path / "names.zip"
    packed(
        file,
        {
            "xxxx.png": PNG,
            "yyyyy.png": PNG,
            "zzzzzzz.png": PNG,
            "metadata.jsonl": '{"file_name": "猫x.png", "text": "a"}'.encode(),
        },
    )
    data = file.read_bytes().replace(b"xxxx.png", "猫x.png".encode()).replace(b"yyyyy.png", "ネコ!.png".encode("cp932"))
    file.write_bytes(data.replace(b"zzzzzzz.png", "château.png".encode("cp437")))
    made = imported(odd_path, file)
    assert files(made) == ["château.png", "ネコ!.png", "猫x.png"]
    assert (made.folder / "猫x.txt").read_text() == "a"
    assert made.findings == ()


def test_the_command_tells_it_and_exits_6(odd_path):
    file = packed(odd_path / "evil.zip", {"../up\x1b[2J.png": PNG, "good.png": PNG})
    words = (sys.executable, "-m", "kohya_runner", "dataset", "import", str(file), "--output", str(odd_path / "out"))
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 6
    assert "dataset.archive" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "concept: out" in done.stdout
    both = subprocess.run((*words, "--name", "x"), capture_output=True, text=True, check=False)
    assert (both.returncode, "either --output DIR or --name NAME" in both.stderr) == (2, True)


PIECES = st.sampled_from(
    ["..", ".", "a", "b.png", "C:", "\\", "x\0y", "ä", "\x1b[2J", "~", "con", " ", "a.png", "/", "é" * 90]
)
HOSTILE = st.lists(PIECES, min_size=1, max_size=5).map("/".join) | st.text(max_size=30)


@settings(deadline=None, max_examples=40)
@given(st.lists(HOSTILE, min_size=1, max_size=6))
def test_whatever_a_member_is_called_nothing_is_written_outside(tmp_path_factory, names: list[str]):
    room = tmp_path_factory.mktemp("zip")
    file = room / "h.zip"
    with zipfile.ZipFile(file, "w") as made:
        for name in dict.fromkeys(["good.png", *(f"{name}.png".encode("utf-8", "replace").decode() for name in names)]):
            if name.partition("\0")[0]:
                made.writestr(name, PNG)
    done = imported(room, file)
    assert sorted(p.name for p in room.iterdir()) == ["h.zip", "out"]
    written = list((room / "out").rglob("*.png"))
    assert sorted(str(p.relative_to(room / "out")) for p in written) == files(done)
    assert all(p.resolve().is_relative_to(room / "out") and p.name.isprintable() for p in written)
    assert "good.png" in [p.name for p in written]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_zip_file_with_any_bytes_changed_is_told_and_never_a_traceback(tmp_path_factory, changes):
    room = tmp_path_factory.mktemp("zip")
    data = bytearray(packed(room / "h.zip", {"a.png": PNG, "b.png": PNG}).read_bytes())
    for at, value in changes:
        data[at % len(data)] = value
    (room / "h.zip").write_bytes(data)
    try:
        done = imported(room, room / "h.zip")
    except DatasetError:
        return
    assert all((done.folder / one.file).read_bytes() == PNG for one in done.pictures)
