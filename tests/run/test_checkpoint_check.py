from __future__ import annotations

from itertools import count

import pytest
from number_files import numbers_file, trained

from kohya_runner.artefact.content import PIECE
from kohya_runner.run import checkpoints
from kohya_runner.run.checkpoint_check import AT_ONCE, CheckpointCheck, Expected

NOTHING = Expected()


def listed(folder):
    return checkpoints.found(folder, ())


def test_a_good_checkpoint_passes_with_its_hash(odd_path):
    trained(odd_path / "a-000001.safetensors")
    (found,) = CheckpointCheck(odd_path).check_all(listed(odd_path), Expected(modules=2))
    assert (found.usable, found.checked, found.problem, len(found.sha256)) == (True, True, "", 64)


@pytest.mark.parametrize(
    ("kind", "expected", "word"),
    [
        ({"nan": True}, NOTHING, "NaN"),
        ({"zero": True}, NOTHING, "is untrained"),
        ({}, Expected(modules=264), "contains 2 modules, the trainer made 264"),
        (
            {"metadata": {"ss_base_model_version": "sdxl_base_v1-0"}},
            Expected(family="sd15"),
            "is for sdxl, the recipe trains sd15",
        ),
    ],
    ids=["nan", "zero", "modules", "family"],
)
def test_a_bad_one_is_named_and_not_usable(tmp_path, kind, expected, word):
    trained(tmp_path / "a.safetensors", **kind)
    (found,) = CheckpointCheck(tmp_path).check_all(listed(tmp_path), expected)
    assert word in found.problem
    assert found.complete
    assert not found.usable


def test_a_family_that_nothing_tells_is_no_problem(tmp_path):
    trained(tmp_path / "a.safetensors")
    (found,) = CheckpointCheck(tmp_path).check_all(listed(tmp_path), Expected(family="sd15"))
    assert found.usable


def test_a_look_reads_for_a_slice_of_time_and_goes_on_at_the_next(tmp_path):
    numbers_file(tmp_path / "a.safetensors", {"a.lora_up.weight": b"\x3c" * (8 * PIECE)})
    clock = count(step=0.03)
    gate = CheckpointCheck(tmp_path, clock=lambda: next(clock))
    seen = listed(tmp_path)
    looks = 0
    while not seen[0].sha256:
        seen = gate.check_some(seen, NOTHING)
        looks += 1
    assert looks == 3  # nine pieces with the last word, four to a look
    assert seen[0].usable


def test_a_large_file_waits_for_the_end(tmp_path):
    trained(tmp_path / "a.safetensors")
    (small,) = listed(tmp_path)
    large = small.model_copy(update={"bytes": AT_ONCE + 1})
    assert CheckpointCheck(tmp_path).check_some((large,), NOTHING) == (large,)
    assert CheckpointCheck(tmp_path).check_all((large,), NOTHING)[0].checked


def test_a_file_that_goes_away_while_it_is_read_is_no_checkpoint(tmp_path):
    path = trained(tmp_path / "a.safetensors")
    seen = listed(tmp_path)
    path.unlink()
    (found,) = CheckpointCheck(tmp_path).check_some(seen, NOTHING)
    assert not found.usable


def test_a_cut_file_is_never_read_nor_usable(tmp_path):
    path = trained(tmp_path / "a.safetensors")
    path.write_bytes(path.read_bytes()[:-2])
    (found,) = CheckpointCheck(tmp_path).check_all(listed(tmp_path), NOTHING)
    assert (found.complete, found.usable, found.sha256) == (False, False, "")
    assert "is cut" in found.problem


def test_what_is_judged_is_not_read_again(tmp_path):
    path = trained(tmp_path / "a.safetensors")
    gate = CheckpointCheck(tmp_path)
    judged = gate.check_all(listed(tmp_path), NOTHING)
    path.unlink()
    assert gate.check_all(judged, NOTHING) == judged


def test_a_folder_that_cannot_be_listed_loses_no_epoch(tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    trained(output / "cat.safetensors")
    known = checkpoints.found(output, ())
    assert [one.file for one in known] == ["cat.safetensors"]
    output.rename(tmp_path / "away")
    gone = checkpoints.found(output, known)
    assert [one.removed for one in gone] == [True]
    output.symlink_to(output)  # too many links: there is something, and it cannot be read now
    assert checkpoints.found(output, known) == known
    output.unlink()
    (tmp_path / "away").rename(output)
    assert checkpoints.found(output, known) == checkpoints.found(output, gone) == known
