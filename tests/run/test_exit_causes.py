from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from kohya_runner.record.record import Guarding, Record
from kohya_runner.run import exit_causes
from kohya_runner.run.observers import Stop
from kohya_runner.run.supervise import Outcome

WALL = "subprocess.CalledProcessError: Command '['python', 'train_network.py']' returned non-zero exit status 1."


def record(kills=0):
    return Record(
        run_id="001", name="cat", argv=("a",), cwd="/", final="cat.safetensors", guard=Guarding(oom_kills=kills)
    )


def found(tmp_path, *lines, code=1, signal=None, kills=0, **ended):
    log = tmp_path / "trainer.log"
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    cause = exit_causes.find(Outcome(0.0, 1.0, code, signal, **ended), record(kills), log)
    return cause.code if cause else ""


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.", "memory.vram"),
        ("torch.cuda.OutOfMemoryError: CUDA out of memory.", "memory.vram"),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "memory.vram"),
        ("RuntimeError: DataLoader worker (pid 9) is killed by signal: Bus error. It is possible", "memory.shared"),
        (
            "ERROR: Unexpected bus error encountered in worker. It may be caused by insufficient shared memory (shm).",
            "memory.shared",
        ),
        ("OSError: [Errno 28] No space left on device: '/workspace/x'", "disk.full"),
        ("OSError: [Errno 30] Read-only file system: '/workspace/x'", "disk.read_only"),
        ("OSError: [Errno 122] Disk quota exceeded", "disk.full"),
        (
            "safetensors_rust.SafetensorError: Error while serializing: IoError(Os { code: 28, kind: StorageFull })",
            "disk.full",
        ),
        (
            "RuntimeError: [enforce fail at inline_container.cc:603] . PytorchStreamWriter failed writing file data/5",
            "disk.full",
        ),
        ("RuntimeError: [enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory", "memory.host"),
        ("MemoryError", "memory.host"),
        ("KeyError: 'MemoryError'", ""),
    ],
)
def test_last_words_tell_the_cause(tmp_path, line, code):
    assert found(tmp_path, "Traceback (most recent call last):", line, WALL) == code


def test_a_kill_that_the_kernel_counted_is_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(exit_causes, "oom_kills", lambda: 3)
    assert found(tmp_path, "steps", code=-9, signal=9, kills=2) == "memory.host"
    assert found(tmp_path, "steps", code=-9, signal=9, kills=3) == "killed"
    assert found(tmp_path, "died with <Signals.SIGKILL: 9>.", kills=2) == "memory.host"
    assert found(tmp_path, "steps", code=-7, signal=7) == "memory.shared"


def test_a_run_that_was_stopped_or_ended_well_has_no_cause(tmp_path):
    line = "CUDA out of memory"
    assert found(tmp_path, line, code=0) == ""
    assert found(tmp_path, line, stopped="SIGINT") == ""
    assert found(tmp_path, line, stopped="the loss is NaN", stop=Stop("loss.nan", "the loss is NaN")) == ""


def test_without_room_for_last_words_the_disk_was_full(tmp_path, monkeypatch):
    numbers = SimpleNamespace(f_bavail=3, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _folder: numbers)
    assert found(tmp_path, "steps:   1%| | 8/800 [00:02<03:21]") == "disk.full"
    assert found(tmp_path, "MemoryError") == "memory.host"
    numbers.f_bavail = 1000
    assert found(tmp_path, "steps:   1%| | 8/800 [00:02<03:21]") == ""


def test_a_disk_that_is_full_when_a_killed_run_is_judged_tells_nothing(tmp_path, monkeypatch):
    numbers = SimpleNamespace(f_bavail=1, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _folder: numbers)
    assert found(tmp_path, "steps", code=None) == ""
