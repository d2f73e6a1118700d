"""The trainer's environment as one file on the volume."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from kohya_runner.errors import PreflightError
from kohya_runner.install.archive import VARIABLE, archive_of, restore, save


@pytest.fixture
def environment(odd_path: Path) -> Path:
    folder = odd_path / "home" / "trainer-abc"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to("/usr/bin/python3")
    (folder / "big").write_bytes(bytes(range(256)) * 4000)
    return folder


@pytest.fixture
def kept(environment: Path, odd_path: Path) -> Path:
    found = archive_of(environment, ("a==1",), {VARIABLE: str(odd_path / "volume")})
    assert found is not None
    save(found, environment, str)
    return found


def back(archive: Path, folder: Path) -> tuple[bool, str]:
    said: list[str] = []
    return restore(archive, folder, said.append), "\n".join(said)


def test_what_was_kept_comes_back_whole_with_its_links(environment, kept):
    shutil.rmtree(environment)
    assert back(kept, environment)[0]
    assert (environment / "bin" / "python").is_symlink()
    assert len((environment / "big").read_bytes()) == 256 * 4000
    assert [path.name for path in environment.parent.iterdir()] == [environment.name]


def test_a_half_made_environment_gives_way(environment, kept):
    (environment / "half").touch()
    assert back(kept, environment)[0]
    assert not (environment / "half").exists()


@pytest.mark.parametrize("where", [0, -1, 100_000], ids=["cut to nothing", "its last byte", "in the middle"])
def test_a_damaged_archive_is_not_used_and_what_is_there_stays(environment, kept, where):
    (environment / "mine").touch()
    data = bytearray(kept.read_bytes())
    if where:
        data[where % len(data)] ^= 1
    kept.write_bytes(bytes(data) if where else b"")
    used, said = back(kept, environment)
    assert not used
    assert "is damaged: it is not used" in said
    assert (environment / "mine").exists()
    assert [path.name for path in environment.parent.iterdir()] == [environment.name]


def test_an_archive_whose_writing_was_cut_is_none(environment, kept):
    kept.with_name(f"{kept.name}.json").unlink()
    assert back(kept, environment) == (False, "")


def test_another_thing_to_install_another_place_or_platform_is_another_archive(environment, kept, monkeypatch):
    environ = {VARIABLE: str(kept.parent)}
    assert archive_of(environment, ("a==1",), environ) == kept
    others = [archive_of(environment, ("a==2",), environ), archive_of(environment.with_name("trainer-x"), (), environ)]
    monkeypatch.setattr("platform.machine", lambda: "riscv")
    others.append(archive_of(environment, ("a==1",), environ))
    assert len({*others, kept}) == 4


def test_nothing_is_kept_where_nobody_asked():
    assert archive_of(Path("/home/trainer-abc"), (), {}) is None


def test_the_archive_before_it_goes_and_another_trainers_stays(environment, kept, odd_path):
    (kept.parent / "diffusers-trainer-9-9.tar").touch()
    new = archive_of(environment, ("a==2",), {VARIABLE: str(kept.parent)})
    save(new, environment, str)
    names = {path.name for path in kept.parent.iterdir()}
    assert names == {new.name, f"{new.name}.json", "diffusers-trainer-9-9.tar"}


def test_without_zstd_the_archive_is_a_plain_tar(environment, odd_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    plain = archive_of(environment, (), {VARIABLE: str(odd_path / "volume")})
    save(plain, environment, str)
    assert json.loads(plain.with_name(f"{plain.name}.json").read_text())["zstd"] is False
    listed = subprocess.run(("tar", "-tf", str(plain)), capture_output=True, text=True, check=True).stdout
    assert "trainer-abc/bin/python" in listed
    assert back(plain, environment)[0]


@pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd here")
def test_an_archive_that_cannot_be_unpacked_here_is_passed_over(environment, kept, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    used, said = back(kept, environment)
    assert not used
    assert "apt-get install zstd" in said


def test_an_archive_that_cannot_be_written_leaves_nothing(environment, odd_path):
    missing = archive_of(environment.with_name("trainer-gone"), (), {VARIABLE: str(odd_path / "volume")})
    with pytest.raises(PreflightError, match="cannot be written: tar: "):
        save(missing, environment.with_name("trainer-gone"), str)
    assert list((odd_path / "volume").iterdir()) == []
