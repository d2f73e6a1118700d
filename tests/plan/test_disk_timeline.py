from __future__ import annotations

from pathlib import Path

import pytest

from kohya_runner.engines.steps_plan import SaveSettings, plan_saves
from kohya_runner.machine.disk import DiskItem, disk_plan
from kohya_runner.machine.filesystems import FileSystem
from kohya_runner.plan.space import timelines

BIG = FileSystem(Path("/big"), "ext4", "/dev/sda", 10_000, 20_000, is_network=False, paths=(Path("/big"),))
ROOT = FileSystem(Path("/"), "overlay", "overlay", 500, 9 * 10**10, is_network=False, paths=(Path("/root"),))


def _saves(**more: object):
    settings = SaveSettings("n", save_every_n_epochs=1, save_state=True, **more)
    return plan_saves(settings, total=100, steps_per_epoch=10, epochs=10)


def _line(saves, *items: DiskItem):
    return timelines(disk_plan(items, [BIG, ROOT]).uses, saves)


def test_the_disk_fills_in_the_order_of_the_run():
    saves = _saves()
    (line,) = _line(
        saves,
        DiskItem("checkpoints", 1000, Path("/big/out")),
        DiskItem("training states", 3000, Path("/big/out")),
        DiskItem("latent cache", 50, Path("/big/data")),
        DiskItem("base model", 700, Path("/big/cache")),
    )
    assert (line.downloaded, line.cached, line.peak, line.end, line.free) == (700, 750, 4750, 4750, 10_000)


def test_at_the_end_less_is_there_than_at_the_fullest_where_old_files_are_pruned():
    saves = _saves(save_last_n_epochs=2)
    assert (saves.most_checkpoints, len(saves.checkpoints_kept)) == (3, 3)
    assert (saves.most_states, len(saves.states_kept)) == (3, 3)
    steps = plan_saves(
        SaveSettings("n", save_every_n_steps=5, save_last_n_steps=5, save_every_n_epochs=1, save_last_n_epochs=2),
        total=100, steps_per_epoch=10, epochs=10,
    )  # fmt: skip
    (line,) = _line(steps, DiskItem("checkpoints", 100 * steps.most_checkpoints, Path("/big/out")))
    assert (line.peak, line.end) == (100 * steps.most_checkpoints, 100 * len(steps.checkpoints_kept))


def test_each_disk_has_a_line_of_its_own():
    lines = _line(_saves(), DiskItem("base model", 7, Path("/root/cache")), DiskItem("log", 5, Path("/big/out")))
    assert {(line.mount, line.downloaded, line.end) for line in lines} == {("/", 7, 7), ("/big", 0, 5)}


def test_the_json_has_every_moment():
    (line,) = _line(_saves(), DiskItem("base model", 7, Path("/big/x")))
    moments = {"after_download_bytes": 7, "after_caching_bytes": 7, "peak_bytes": 7, "end_bytes": 7}
    assert line.as_json() == {"mount": "/big", "free_bytes": 10_000, **moments}


@pytest.mark.parametrize("keep", [None, 1, 3])
def test_the_end_is_never_fuller_than_the_peak(keep):
    saves = _saves(save_last_n_epochs=keep, save_last_n_epochs_state=1)
    items = (
        DiskItem("checkpoints", 10 * saves.most_checkpoints, Path("/big/out")),
        DiskItem("training states", 30 * saves.most_states, Path("/big/out")),
    )
    (line,) = _line(saves, *items)
    assert line.cached <= line.end <= line.peak
