from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kohya_runner.findings import Finding, Severity
from kohya_runner.machine import disk as disk_items
from kohya_runner.machine.disk import DiskItem, DiskPlan, disk_plan
from kohya_runner.machine.filesystems import FileSystem
from kohya_runner.machine.sizes import LoraShape

GB = 10**9


def _system(mount: str, free: int | None, total: int | None = 500 * GB, *, source: str = "/dev/sda") -> FileSystem:
    return FileSystem(Path(mount), "ext4", source, free, total, is_network=False)


ROOT = _system("/", 5 * GB, 10 * GB)
WORK = _system("/workspace", 50 * GB)


def _only(plan: DiskPlan) -> Finding:
    (finding,) = plan.findings
    return finding


def test_what_fits_is_no_finding():
    assert disk_plan([DiskItem("checkpoints", GB, Path("/workspace/runs"))], [ROOT, WORK]).findings == ()


def test_items_are_summed_per_file_system():
    planned = [DiskItem("a", 30 * GB, Path("/workspace/a")), DiskItem("b", 30 * GB, Path("/workspace/b"))]
    finding = _only(disk_plan(planned, [ROOT, WORK]))
    assert (finding.code, finding.severity) == ("disk.full", Severity.ERROR)
    assert "55.9 GiB" in finding.message


def test_the_hint_is_the_recipe_line_that_saves_least_and_suffices():
    lines = (("network_dim: 4", 10 * GB), ("save_precision: fp16", 30 * GB), ("half as much", 59 * GB))
    finding = _only(disk_plan([DiskItem("checkpoints", 60 * GB, Path("/workspace"), lines)], [WORK]))
    assert finding.hint.startswith("write args.save_precision: fp16: then 27.9 GiB")


def test_where_one_line_is_not_enough_all_are_named():
    planned = [
        DiskItem("checkpoints", 60 * GB, Path("/workspace"), (("save_precision: fp16", 30 * GB),)),
        DiskItem("training states", 60 * GB, Path("/workspace"), (("save_last_n_epochs_state: 3", 10 * GB),)),
    ]
    hint = _only(disk_plan(planned, [WORK])).hint
    assert hint.startswith("write args.save_precision: fp16 and args.save_last_n_epochs_state: 3: then 37.3 GiB")


def test_where_nothing_helps_the_missing_room_is_named():
    assert "free 9.3 GiB" in _only(disk_plan([DiskItem("model", 60 * GB, Path("/workspace"))], [WORK])).hint


def test_nearly_full_is_a_warning():
    finding = _only(disk_plan([DiskItem("model", 46 * GB, Path("/workspace"))], [WORK]))
    assert (finding.code, finding.severity, finding.hint) == ("disk.tight", Severity.WARNING, "")


def test_an_unknown_quota_is_a_warning_that_names_the_variable():
    volume = _system("/workspace", None, None, source="mfs#euro:9421")
    finding = _only(disk_plan([DiskItem("model", GB, Path("/workspace"))], [volume]))
    assert (finding.code, finding.severity) == ("disk.unknown", Severity.WARNING)
    assert "KOHYA_RUNNER_VOLUME_GB" in finding.hint


@pytest.mark.parametrize(("size", "severity"), [(7 * GB, Severity.ERROR), (GB, Severity.WARNING)])
def test_a_cache_on_a_small_root_disk_is_named_with_the_big_one(size, severity):
    finding = _only(disk_plan([DiskItem("model", size, Path("/root/.cache"))], [ROOT, WORK]))
    assert (finding.code, finding.severity) == ("disk.cache_small", severity)
    assert "/workspace" in finding.hint


def test_a_big_root_disk_is_an_ordinary_one():
    assert disk_plan([DiskItem("model", GB, Path("/root"))], [_system("/", 50 * GB)]).findings == ()


def test_nothing_to_write_is_never_a_problem():
    assert disk_plan([DiskItem("model", 0, Path("/root"))], [_system("/", 0)]).findings == ()


def test_the_json_has_the_sums_and_each_file_system():
    planned = [DiskItem("model", 2 * GB, Path("/workspace/m")), DiskItem("tmp", GB, Path("/tmp/x"))]
    found: Any = disk_plan(planned, [_system("/", 90 * GB), WORK]).as_json()
    assert (found["free_bytes"], found["needed_bytes"]) == (140 * GB, 3 * GB)
    assert found["items"][0] == {"what": "model", "bytes": 2 * GB, "path": "/workspace/m"}
    assert [row["mount"] for row in found["filesystems"]] == ["/workspace", "/"]


def test_the_json_is_null_where_the_room_is_unknown():
    volume = _system("/workspace", None)
    assert disk_plan([DiskItem("model", 1, Path("/workspace"))], [volume]).as_json()["free_bytes"] is None


def test_ten_fp32_sdxl_checkpoints_offer_three_ways_to_shrink():
    item = disk_items.checkpoints(LoraShape("sdxl", 32), 10, Path("/w"))
    assert item is not None
    assert [line for line, _ in item.smaller] == ["save_precision: fp16", "save_last_n_epochs: 3", "network_dim: 16"]
    assert item.bytes == pytest.approx(4.57e9, rel=0.01)


def test_states_and_caches_are_items_too():
    shape = LoraShape("flux", 16, precision="bf16")
    caches = disk_items.latents("flux", [disk_items.Bucket(1024, 1024, 100)], Path("/w"))
    texts = disk_items.texts("flux", 100, Path("/w"), max_tokens=512, fp16=False)
    states = disk_items.states(shape, 2, Path("/w"))
    assert caches is not None and texts is not None and states is not None  # noqa: PT018
    assert caches.bytes + texts.bytes == pytest.approx(0.95e9, rel=0.01)
    assert states.smaller == ()


def test_an_unknown_family_has_no_items():
    assert disk_items.checkpoints(LoraShape("x"), 1, Path("/w")) is None
    assert disk_items.latents("x", [disk_items.Bucket(64, 64, 1)], Path("/w")) is None
    assert disk_items.texts("sd15", 1, Path("/w"), max_tokens=75, fp16=False) is None
