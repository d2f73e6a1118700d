from __future__ import annotations

import os
from pathlib import Path

import pytest

from kohya_runner.machine.filesystems import existing_parent, read_filesystems, used_bytes
from kohya_runner.machine.host import Gpu, HostFacts, find_filesystem, parse, read_host, run_command, visible

LINE = "NVIDIA GeForce RTX 4090, 24564, 512, 8.9, 570.124.06"
RTX = Gpu("NVIDIA GeForce RTX 4090", 24564 * 2**20, 512 * 2**20, (8, 9), "570.124.06")


def _fake_smi(folder: Path, body: str) -> dict[str, str]:
    """An environment whose nvidia-smi is a script."""
    script = folder / "nvidia-smi"
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_a_real_nvidia_smi_process_is_asked(odd_path):
    environ = _fake_smi(odd_path, f"echo '{LINE}'; echo '{LINE}'")
    assert read_host([], environ=environ).gpus == (RTX, RTX)


@pytest.mark.parametrize(
    "body",
    ["exit 9", "echo 'NVIDIA-SMI has failed because it could not communicate with the driver'", "printf '\\377\\376'"],
    ids=["failure", "an error text", "bytes"],
)
def test_a_broken_nvidia_smi_means_no_gpus(odd_path, body):
    assert read_host([], environ=_fake_smi(odd_path, body)).gpus == ()


def test_no_nvidia_smi_means_no_gpus(odd_path):
    assert read_host([], environ={"PATH": str(odd_path)}).gpus == ()


def test_a_hung_nvidia_smi_is_given_up(odd_path):
    environ = _fake_smi(odd_path, "exec sleep 60")
    assert run_command(("nvidia-smi",), environ, timeout=0.2) is None


def test_fields_that_say_nothing_are_unknown():
    assert parse("Tesla K80, [N/A], [N/A], [N/A], 470.1") == (Gpu("Tesla K80", None, None, None, "470.1"),)


@pytest.mark.parametrize(
    ("devices", "count"),
    [(None, 2), ("", 0), ("-1", 0), ("1", 1), ("0,1", 2), ("0,7,1", 1), ("GPU-abc", 1), ("NoDevFiles", 0)],
)
def test_only_the_gpus_that_cuda_shows_count(devices, count):
    assert len(visible((RTX, RTX), devices)) == count


def test_the_machine_is_read_once_as_a_whole(odd_path):
    facts = read_host([odd_path / "not yet" / "there"], environ={"PATH": ""})
    (system,) = facts.filesystems
    assert system.paths == (odd_path / "not yet" / "there",)
    assert (system.free_bytes or 0) > 0
    assert facts.cpus == os.cpu_count()
    assert (facts.ram_bytes or 0) > 10**8


def test_a_path_that_does_not_exist_yet_has_the_nearest_folder_above(odd_path):
    assert existing_parent(odd_path / "a" / "b") == odd_path


def test_paths_of_one_device_are_one_file_system(odd_path):
    (system,) = read_filesystems([odd_path / "a", odd_path / "b"], {}, clock=lambda: 0.0)
    assert len(system.paths) == 2


@pytest.fixture
def volume(odd_path):
    """The mount table of a pod whose network volume is this folder."""
    (odd_path / "file").write_bytes(b"x" * 10_000)
    escaped = str(odd_path).replace(" ", "\\040")
    return f"overlay / overlay rw 0 0\nmfs#euro-1:9421 {escaped} fuse rw 0 0\n"


def test_a_network_volume_without_a_declared_size_is_unknown(odd_path, volume):
    (system,) = read_filesystems([odd_path / "runs"], {}, clock=lambda: 0.0, mounts=volume)
    assert (system.free_bytes, system.total_bytes, system.is_network) == (None, None, True)


def test_a_declared_size_less_what_is_used_is_free(odd_path, volume):
    environ = {"KOHYA_RUNNER_VOLUME_GB": "50"}
    (system,) = read_filesystems([odd_path / "runs"], environ, clock=lambda: 0.0, mounts=volume)
    assert system.total_bytes == 50 * 10**9
    assert 10_000 <= 50 * 10**9 - (system.free_bytes or 0) < 100_000


def test_a_declared_size_that_is_no_number_is_unknown(odd_path, volume):
    environ = {"KOHYA_RUNNER_VOLUME_GB": "a lot"}
    (system,) = read_filesystems([odd_path], environ, clock=lambda: 0.0, mounts=volume)
    assert system.free_bytes is None


def test_a_volume_too_big_to_count_in_time_is_unknown(odd_path, volume):
    ticks = iter([0.0, 100.0, 200.0])
    environ = {"KOHYA_RUNNER_VOLUME_GB": "50"}
    (system,) = read_filesystems([odd_path], environ, clock=lambda: next(ticks), mounts=volume)
    assert system.free_bytes is None


def test_hard_links_are_counted_once(odd_path):
    (odd_path / "a").write_bytes(b"x" * 100_000)
    (odd_path / "b").hardlink_to(odd_path / "a")
    assert 100_000 <= (used_bytes(odd_path, 1.0, lambda: 0.0) or 0) < 150_000


def test_a_file_system_is_found_by_the_nearest_folder(odd_path):
    (system,) = read_filesystems([odd_path], {}, clock=lambda: 0.0)
    assert HostFacts((system,)).filesystem_of(odd_path / "x" / "y") is system
    assert find_filesystem((), odd_path) is None
