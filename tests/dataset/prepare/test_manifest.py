"""The manifest of a version: written whole, read again, and a journal that survives a cut."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from kohya_runner.dataset.prepare import manifest
from kohya_runner.dataset.prepare.manifest import DatasetVersion, Journal, MadePicture, SetAside, VersionStep
from kohya_runner.errors import PreflightError, RunExistsError

PICTURE = MadePicture("a.png", "/raw/a.gif", "12 34", "ab", 7, ("gif", "rgb"), size=(3, 4), sidecars={"a.txt": "1 2"})
ASIDE = SetAside("/raw/b.png", "broken", "1 2", "cd")
STEP = VersionStep("prepare", {"size": 1024, "style": "photos"}, "2026-01-01T00:00:00Z")


@pytest.mark.parametrize("name", ["../a.png", "/etc/passwd", "a/../../b.png"])
def test_a_name_that_leads_out_of_the_version_is_not_read(tmp_path: Path, name: str):
    """A downloaded folder may hold a manifest and a journal: their names are deleted and written."""
    for bad in (replace(PICTURE, file=name), replace(PICTURE, sidecars={name: ""})):
        manifest.write(tmp_path, DatasetVersion((STEP,), (bad,)))
        assert manifest.read(tmp_path) is None
        (tmp_path / manifest.NAME).unlink()
        (tmp_path / manifest.JOURNAL).write_text(json.dumps(["picture", asdict(bad)]) + "\n", encoding="utf-8")
        journal = Journal(tmp_path)
        journal.close()
        assert journal.pictures == {}
        (tmp_path / manifest.JOURNAL).unlink()


def test_a_version_is_read_as_it_was_written(tmp_path: Path):
    version = DatasetVersion((STEP,), (PICTURE,), (ASIDE,))
    manifest.write(tmp_path, version)
    assert manifest.read(tmp_path) == version
    value = json.loads((tmp_path / "manifest.json").read_text())
    assert (value["version"], value["made_by"]) == (1, "kohya-runner dataset prepare")
    assert value["pictures"][0]["what"] == ["gif", "rgb"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "steps": [{"x": 1}]}', "{"])
def test_what_is_no_manifest_is_none(tmp_path: Path, text: str):
    (tmp_path / "manifest.json").write_text(text)
    assert manifest.read(tmp_path) is None


def test_a_second_step_of_a_verb_replaces_the_first():
    version = DatasetVersion((STEP, VersionStep("caption", {}))).with_step(VersionStep("prepare", {"size": 512}))
    assert [one.verb for one in version.steps] == ["caption", "prepare"]
    assert version.steps[1].settings == {"size": 512}


def test_a_journal_keeps_what_was_done_before_a_cut(tmp_path: Path):
    first = Journal(tmp_path)
    first.add(PICTURE)
    first.add(ASIDE)
    first.close()
    with (tmp_path / ".manifest.jsonl").open("a") as file:
        file.write('["picture", {"file": "c.pn')
    second = Journal(tmp_path)
    second.add(SetAside("/raw/a.gif", "gone"))
    second.close()
    third = Journal(tmp_path)
    third.close()
    assert third.pictures == {}
    assert sorted(third.set_aside) == ["/raw/a.gif", "/raw/b.png"]


def test_a_finished_version_has_no_journal_and_is_known_to_the_next_one(tmp_path: Path):
    journal = Journal(tmp_path)
    journal.add(PICTURE)
    journal.close()
    manifest.write(tmp_path, DatasetVersion((STEP,), tuple(journal.pictures.values())))
    assert not (tmp_path / ".manifest.jsonl").exists()
    again = Journal(tmp_path)
    again.close()
    assert again.pictures == {PICTURE.source: PICTURE}


def test_two_processes_do_not_write_one_version(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from kohya_runner.dataset.prepare.manifest import alone\n"
        "with alone(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(RunExistsError, match="another process writes it"), manifest.alone(tmp_path):
            pass
        child.kill()
    with manifest.alone(tmp_path):
        pass


def test_versions_are_numbered(tmp_path: Path):
    assert manifest.next_version(tmp_path / "cats").name == "001"
    assert manifest.next_version(tmp_path / "cats").name == "002"
    (tmp_path / "cats" / "999").mkdir()
    assert manifest.next_version(tmp_path / "cats").name == "1000"
    assert [path.name for path in manifest.versions(tmp_path / "cats")] == ["001", "002", "999", "1000"]


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    manifest.need_space(tmp_path / "not" / "there", 999)
    with pytest.raises(PreflightError, match=r"2\.0 KiB are needed and 1000 B are free"):
        manifest.need_space(tmp_path / "not" / "there", 2048)
    assert list(tmp_path.iterdir()) == []


def test_what_was_made_with_other_settings_is_outdated_also_after_a_cut(tmp_path: Path):
    manifest.write(tmp_path, DatasetVersion((STEP,), (PICTURE,)))
    other = VersionStep("prepare", {"size": 512})
    for _ in range(2):
        journal = Journal(tmp_path, other)
        journal.close()
        assert (journal.pictures, journal.outdated) == ({}, [PICTURE])
    journal = Journal(tmp_path, other)
    journal.add(PICTURE)
    journal.close()
    again = Journal(tmp_path, other)
    again.close()
    assert list(again.pictures.values()) == [PICTURE]


def test_what_another_verb_began_leaves_the_pictures_known(tmp_path: Path):
    made = MadePicture("a.png", "/raw/a.png")
    manifest.write(tmp_path, DatasetVersion((VersionStep("prepare", {}),), (made,)))
    Journal(tmp_path, VersionStep("caption", {})).close()
    again = Journal(tmp_path, VersionStep("prepare", {}))
    assert (list(again.pictures.values()), again.outdated) == ([made], [])
    again.close()
