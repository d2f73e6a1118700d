"""The fault matrix, row by row: real child processes, the practice trainer in the trainer's place, a real full disk."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from detached_runs import held
from fault_rows import ANEW, BOTH, DONE, ON, REFUSED, ROWS, table
from practice_runs import wait_until
from test_launch import RECIPE, Runner

from kohya_runner.record.process_identity import identify

pytestmark = pytest.mark.daily

DOC = Path(__file__).parents[2] / "docs" / "faults.md"
IDS = [f"{row.fault}, {row.when}" for row in ROWS]
DISK_BYTES = 64 << 20
AT_A_TIME = 6
LOADED = 60
"""Seconds that a machine with other work may take besides."""
FILLER = "somebody's file"


@dataclass(frozen=True)
class After:
    """What the same command with --resume then does, nothing being wrong any more."""

    code: int
    says: str
    records: dict[str, Any]


@dataclass(frozen=True)
class End:
    """How a row ended; ``problem`` is why it could not be run."""

    code: int = 0
    err: str = ""
    record: Any = None
    output: tuple[str, ...] = ()
    problem: str = ""
    after: After | None = None


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    """All rows, a few at a time: they mostly wait."""
    folders = [tmp_path_factory.mktemp("it's a 'pod'") for _ in ROWS]
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return {name: pool.submit(ended, *pair) for name, *pair in zip(IDS, ROWS, folders, strict=True)}


def ended(row, folder):
    runner = Runner(folder)
    if row.leave is None:
        return launched(row, runner)
    with small_disk(runner.workspace) as problem:
        return End(problem=problem) if problem else launched(row, runner)


def launched(row, runner):
    sets = [word for text in row.sets for word in ("--set", text)]
    env = {"KOHYA_PRACTICE_FAULT": row.practice, "KOHYA_PRACTICE_STEP_SECONDS": str(row.pace)}
    allow = () if row.leave is None else ("--allow", "disk.full")
    states = () if row.steps_saved else ("--resume",)
    process = runner.start("launch", RECIPE, "--practice", *states, *sets, *allow, **env)
    if row.leave is not None:
        with held(runner.wait_for_step(7)["process"]["pid"]):
            fill(runner.workspace, row.leave)
            if row.states:  # the guard removes one before the next is saved
                wait_until(lambda: runner.record()["notes"] or process.poll() is not None)
    _, err = process.communicate(timeout=180)
    output = runner.workspace / "runs/quickstart/001/output"
    end = End(process.returncode, err, runner.record(), tuple(sorted(path.name for path in output.iterdir())))
    return replace(end, after=resumed(runner, (*sets, *allow)))


def resumed(runner, words):
    (runner.workspace / FILLER).unlink(missing_ok=True)
    calm = {"KOHYA_PRACTICE_FAULT": "", "KOHYA_PRACTICE_STEP_SECONDS": "0.02"}
    words = [re.sub(r"least_seconds: [0-9.]+", "least_seconds: 300", word) for word in words]
    code, out, err = runner.run("launch", RECIPE, "--practice", "--resume", *words, **calm)
    return After(code, out + err, records(runner))


def records(runner):
    """Each run of the recipe, the oldest first."""
    folders = sorted((runner.workspace / "runs/quickstart").glob("[0-9]*"))
    return {folder.name: runner.record(folder.name) for folder in folders}


@contextlib.contextmanager
def small_disk(folder):
    """A file system of its own; what is yielded is why there is none."""
    folder.mkdir(parents=True)
    mount = ("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(folder))
    done = subprocess.run(mount, capture_output=True, text=True, check=False) if shutil.which("mount") else None
    if done is None or done.returncode:
        yield f"NO SMALL DISK: mounting a tmpfs is not allowed here ({done.stderr.strip() if done else 'no mount'})"
        return
    try:
        yield ""
    finally:
        subprocess.run(("umount", "-l", str(folder)), check=True)


def fill(folder, leave):
    """Somebody else writes until so many bytes are left."""
    numbers = os.statvfs(folder)
    with (folder / FILLER).open("wb") as file, contextlib.suppress(OSError):
        file.write(bytes(max(0, numbers.f_bavail * numbers.f_frsize - leave)))


@pytest.fixture(params=ROWS, ids=IDS)
def row_and_end(request, ends):
    row = request.param
    end = ends[f"{row.fault}, {row.when}"].result()
    if end.problem:
        pytest.skip(end.problem)
    return row, end


def test_a_fault_ends_as_the_matrix_says(row_and_end):
    row, end = row_and_end
    record = end.record
    assert (end.code, record["state"]) == (row.exit, row.state), end.err
    usable = [c["file"] for c in record["checkpoints"] if c["complete"] and not c["removed"] and not c["problem"]]
    assert [name for name in usable if row.states is None or "-step" not in name] == list(row.kept)
    assert set(usable) <= set(end.output)
    assert row.says in end.err
    codes = {record["exit"]["stop"], record["exit"]["cause"], *(note["code"] for note in record["notes"])}
    if "nan: ignore" in row.fault:  # a file with NaN is noted too, where it is looked at before the run has ended
        codes -= {"weights.nan"}
    assert codes - {""} == ({row.seen} if row.seen else set())
    assert record["exit"]["stop"] == (row.seen if row.exit == 9 else "")
    assert not identify(record["process"]["pid"]).alive()
    assert row.states is None or sum(name.endswith("-state") for name in end.output) >= row.states
    if row.within and row.at:
        struck = record["timings"]["first_step"] + (row.at - 1) * row.pace
        assert record["timings"]["ended"] - struck < row.within + LOADED


def test_the_same_command_goes_on_as_the_matrix_says(row_and_end):
    row, end = row_and_end
    after, (first, *others) = end.after, end.after.records.values()
    if row.resumed == REFUSED:
        assert after.code == 3, after.says
        assert "save_every_n_steps" in after.says
        assert (first, others) == (end.record, [])
        return
    assert after.code == 0, after.says
    (last,) = others or [first]
    assert bool(others) == (row.resumed == ANEW)
    attempt = {ON: 2, ANEW: 1, DONE: 1}[row.resumed]
    assert (last["state"], last["attempt"], last["steps_seen"]) == ("succeeded", attempt, 12)
    sound = [c["file"] for c in last["checkpoints"] if c["complete"] and not c["problem"]]
    assert [name for name in sound if "-step" not in name] == list(BOTH)


def test_runs_that_fail_before_any_state_are_not_begun_for_ever(odd_path):
    runner = Runner(odd_path)
    words = ("launch", RECIPE, "--practice", "--resume")
    nan = {"KOHYA_PRACTICE_FAULT": "nan@2", "KOHYA_PRACTICE_STEP_SECONDS": "0.2"}
    assert [runner.run(*words, **nan)[0] for _ in range(3)] == [9, 9, 9]
    code, _, err = runner.run(*words, **nan)
    assert code == 8
    assert "runs 001, 002, 003 failed one after the other and left no state" in err
    assert runner.run(*words, "--again", KOHYA_PRACTICE_STEP_SECONDS="0.02")[0] == 0


def test_a_removed_state_was_an_older_one(ends):
    (row,) = [row for row in ROWS if row.states]
    end = ends[f"{row.fault}, {row.when}"].result()
    if end.problem:
        pytest.skip(end.problem)
    text = end.record["notes"][0]["text"]
    assert "removing older states of this run (quickstart-step00000005-state" in text
    assert "quickstart-step00000005-state" not in end.output
    assert "quickstart-state" in end.output


def test_an_adopted_run_is_guarded_by_the_policy_in_its_record(odd_path):
    runner = Runner(odd_path)
    stall = ("--set", "guard.stalled={times: 2, least_seconds: 2}")
    env = {"KOHYA_PRACTICE_FAULT": "hang@8", "KOHYA_PRACTICE_STEP_SECONDS": "0.2"}
    process = runner.start("launch", RECIPE, "--practice", *stall, **env)
    trainer = runner.wait_for_step(7)["process"]["pid"]
    process.kill()
    process.communicate(timeout=180)
    code, out, err = runner.run("status", "--adopt")
    assert code == 9, out + err
    assert runner.record()["exit"]["stop"] == "progress.stalled"
    assert not identify(trainer).alive()


GROUPS = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
GROUP_BYTES = 400 << 20


@pytest.fixture
def small_memory():
    """A control group of its own for what is started in it."""
    name = f"kohya-runner-test-{os.getpid()}"
    for root, limit in zip(GROUPS, ("memory.limit_in_bytes", "memory.max"), strict=True):
        group = root / name
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            (group / limit).write_text(str(GROUP_BYTES), encoding="ascii")
            yield group
            group.rmdir()
            return
        group.rmdir()
    pytest.skip("NO SMALL MEMORY: a control group is not to be had here")


def test_a_trainer_that_the_kernel_kills_for_want_of_memory_is_told_so(odd_path, small_memory):
    runner = Runner(odd_path)
    env = {"KOHYA_PRACTICE_FAULT": "hog@8", "KOHYA_PRACTICE_STEP_SECONDS": "0.2"}
    words = (sys.executable, "-m", "kohya_runner", "launch", RECIPE, "--practice")
    shell = ("sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(small_memory), *words)
    done = subprocess.run(shell, env=runner.env | env, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 8, done.stderr
    record = runner.record()
    assert record["exit"]["cause"] == "memory.host"
    assert [c["file"] for c in record["checkpoints"] if not c["problem"]] == ["quickstart-000001.safetensors"]


def test_the_documents_show_the_matrix():
    assert table() in DOC.read_text(encoding="utf-8")
