"""Captions of a new version: whose they are, what stays, how a cut run goes on; the folder is never touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pictures import draw, pair

from kohya_runner.dataset.captioning.caption_dataset import Captioned, by_template, caption_dataset, new_captions
from kohya_runner.dataset.captioning.caption_text import CaptionSettings, Failure
from kohya_runner.dataset.prepare import manifest
from kohya_runner.dataset.prepare.manifest import VersionStep
from kohya_runner.errors import DatasetError, PreflightError, RunExistsError, UsageError


def state(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns, p.stat().st_ctime_ns) for p in folder.iterdir()}


def texts(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8").rstrip("\n") for path in sorted(folder.glob("*.txt"))}


@pytest.fixture
def folder(odd_path: Path) -> Path:
    for number in range(3):
        draw(odd_path / "10_cat" / f"cat_{number}.png", colour=number)
    pair(odd_path / "10_cat", "cat_3", "by hand", colour=3)
    return odd_path / "10_cat"


def captioned(
    folder: Path, captioner=None, *, output: Path | None = None, source: Path | None = None, **more
) -> Captioned:
    settings = CaptionSettings(**{"template": "{{ folder }} {{ parts[1] }}", **more})
    step = settings.step(folder)
    prepared = (source or folder).parent / "ws" / "prepared"
    target = new_captions(folder, step, output=output, prepared=prepared)
    return caption_dataset(
        settings, folder, captioner or by_template(settings.template or ""), target=target, step=step
    )


def test_a_new_version_has_the_captions_and_the_folder_is_as_it_was(folder: Path):
    before = state(folder)
    done = captioned(folder, trigger="sks")
    assert done.folder == folder.parent / "ws" / "prepared" / "10_cat" / "001"
    assert texts(done.folder) == {
        "cat_0": "sks, cat 0",
        "cat_1": "sks, cat 1",
        "cat_2": "sks, cat 2",
        "cat_3": "by hand",
    }
    assert (done.written, done.kept, done.findings) == (3, ("cat_3.png",), ())
    assert state(folder) == before
    version = manifest.read(done.folder)
    assert version.steps[-1].settings["trigger"] == "sks"
    assert [one.source for one in version.pictures] == [str(folder / f"cat_{n}.png") for n in range(4)]


def test_the_same_again_does_nothing_and_what_changed_is_done(folder: Path):
    first = captioned(folder)
    again = captioned(folder)
    assert (again.folder, again.written, again.known) == (first.folder, 0, 3)
    draw(folder / "cat_0.png", (32, 32))
    draw(folder / "cat_9.png")
    (folder / "cat_1.png").unlink()
    later = captioned(folder)
    assert (later.folder, later.written, later.known) == (first.folder, 2, 1)
    assert texts(later.folder) == {"cat_0": "cat 0", "cat_2": "cat 2", "cat_3": "by hand", "cat_9": "cat 9"}
    assert (later.folder / "cat_0.png").read_bytes() == (folder / "cat_0.png").read_bytes()


def test_another_template_is_another_version_and_only_our_own_captions_change(folder: Path):
    first = captioned(folder)
    (first.folder / "cat_0.txt").write_text("changed by hand", encoding="utf-8")
    second = captioned(first.folder, template="{{ folder }}!", source=folder)
    assert second.folder == first.folder.parent / "002"
    assert texts(second.folder) == {"cat_0": "changed by hand", "cat_1": "cat!", "cat_2": "cat!", "cat_3": "by hand"}
    third = captioned(first.folder, template="{{ folder }}!", overwrite=True, source=folder)
    assert set(texts(third.folder).values()) == {"cat!"}
    assert texts(first.folder)["cat_0"] == "changed by hand"


def test_what_cannot_be_captioned_is_told_and_never_written(folder: Path):
    def captioner(wanted, _folder):
        answers = (Failure("refused"), "  \n ", "a cat")
        return zip(wanted, answers, strict=True)

    done = captioned(folder, captioner)
    assert texts(done.folder) == {"cat_2": "a cat", "cat_3": "by hand"}
    assert [finding.message for finding in done.findings] == ["cat_0.png: refused", "cat_1.png: the caption is empty"]
    healed = captioned(folder, lambda wanted, _folder: ((one, "b cat") for one in wanted))
    assert (healed.folder, healed.written, healed.findings) == (done.folder, 2, ())


def test_a_refusal_leaves_the_caption_that_was_there(folder: Path):
    done = captioned(folder, lambda wanted, _f: ((one, Failure("no")) for one in wanted), overwrite=True)
    assert texts(done.folder) == {"cat_3": "by hand"}


def test_a_run_that_was_cut_goes_on_where_it_was(folder: Path):
    def cut(wanted, _folder):
        yield wanted[0], "first"
        raise PreflightError("the server is gone")

    with pytest.raises(PreflightError):
        captioned(folder, cut)
    asked = []

    def rest(wanted, _folder):
        asked.extend(one.file for one in wanted)
        return ((one, "second") for one in wanted)

    done = captioned(folder, rest)
    assert asked == ["cat_1.png", "cat_2.png"]
    assert texts(done.folder) == {"cat_0": "first", "cat_1": "second", "cat_2": "second", "cat_3": "by hand"}
    assert not (done.folder / manifest.JOURNAL).exists()


def test_a_caption_that_was_changed_in_the_version_stays_unless_told(folder: Path):
    version = captioned(folder).folder
    (version / "cat_1.txt").write_text("better", encoding="utf-8")
    for _ in range(2):
        done = captioned(folder)
        assert (done.folder, texts(version)["cat_1"], done.kept) == (version, "better", ("cat_1.png", "cat_3.png"))
    assert texts(captioned(folder, overwrite=True).folder)["cat_1"] == "cat 1"


def test_captions_of_a_cut_run_with_another_template_are_made_again(folder: Path):
    def cut(wanted, _folder):
        yield wanted[0], "old"
        raise PreflightError("the server is gone")

    out = folder.parent / "out"
    with pytest.raises(PreflightError):
        captioned(folder, cut, output=out)
    done = captioned(folder, template="new", output=out)
    assert (done.written, done.known) == (3, 0)
    assert texts(out) == {"cat_0": "new", "cat_1": "new", "cat_2": "new", "cat_3": "by hand"}


def test_two_at_once_do_not_write_one_version(folder: Path):
    target = folder.parent / "out"
    with manifest.alone(target), pytest.raises(RunExistsError):
        captioned(folder, output=target)


def test_captions_go_into_a_prepared_version_itself(folder: Path):
    version = captioned(folder).folder
    settings = CaptionSettings(template="new {{ stem }}")
    step = settings.step()
    done = caption_dataset(settings, version, by_template("new {{ stem }}"), target=version, step=step)
    assert (done.written, done.kept) == (3, ("cat_3.png",))
    assert texts(version)["cat_0"] == "new cat_0"
    again = caption_dataset(settings, version, by_template("new {{ stem }}"), target=version, step=step)
    assert (again.written, again.known) == (0, 3)


def test_captions_that_another_verb_copied_are_a_persons(folder: Path):
    version = captioned(folder).folder
    known = manifest.read(version)
    manifest.write(version, replace(known, steps=(VersionStep("import", {}),)))
    settings = CaptionSettings(template="new {{ stem }}")
    step = settings.step()
    done = caption_dataset(settings, version, by_template("new {{ stem }}"), target=version, step=step)
    assert (done.written, len(done.kept)) == (0, 4)
    again = captioned(version, template="other", source=folder)
    assert (again.written, len(again.kept)) == (0, 4)


def test_a_cut_run_inside_a_version_knows_its_own_captions(folder: Path):
    version = captioned(folder).folder
    for text in version.glob("cat_[012].txt"):
        text.unlink()
    manifest.write(version, replace(manifest.read(version), steps=(VersionStep("prepare", {}),)))

    def cut(wanted, _folder):
        yield wanted[0], "first"
        raise PreflightError("gone")

    settings = CaptionSettings(template="x")
    with pytest.raises(PreflightError):
        caption_dataset(settings, version, cut, target=version, step=settings.step())
    settings = CaptionSettings(template="y")
    done = caption_dataset(settings, version, by_template("y"), target=version, step=settings.step())
    assert (done.written, done.kept) == (3, ("cat_3.png",))
    assert texts(version) == {"cat_0": "y", "cat_1": "y", "cat_2": "y", "cat_3": "by hand"}


def test_an_output_is_a_new_folder_or_a_version(folder: Path):
    full = folder.parent / "full"
    pair(full, "other")
    with pytest.raises(UsageError, match="other files"):
        captioned(folder, output=full)
    for inside in (folder, folder / "new", folder.parent):
        with pytest.raises(UsageError, match="folder of the pictures"):
            captioned(folder, output=inside)
    out = folder.parent / "out"
    assert captioned(folder, output=out).written == 3
    assert captioned(folder, output=out, template="x").written == 3
    assert texts(out)["cat_1"] == "x"


def test_a_link_that_leads_out_is_not_followed(folder: Path):
    secret = draw(folder.parent / "secret.png")
    (folder / "z.png").symlink_to(secret)
    with pytest.raises(DatasetError) as fault:
        captioned(folder)
    assert "leads out" in fault.value.findings[0].message
    assert not any(folder.parent.glob("ws/prepared/10_cat/*/z.png"))


def test_a_folder_without_pictures_says_where_they_are(odd_path: Path):
    draw(odd_path / "data" / "10_cat" / "a.png")
    with pytest.raises(DatasetError) as fault:
        captioned(odd_path / "data")
    assert "10_cat" in fault.value.hint
    with pytest.raises(UsageError, match="No such"):
        captioned(odd_path / "none")
