from __future__ import annotations

from kohya_runner.record.run_paths import RunPaths
from kohya_runner.remote import sums


def run_folder(odd_path):
    run = odd_path / "001"
    (run / "output").mkdir(parents=True)
    (run / "output" / "a.safetensors").write_bytes(b"weights")
    (run / "log").write_bytes(b"x")
    (run / ".lock").write_bytes(b"")
    sums.write(run, RunPaths(run).sums)
    return run


def test_a_run_that_came_back_whole_is_right(odd_path):
    assert list(sums.wrong(run_folder(odd_path))) == []


def test_what_is_missing_or_other_is_named(odd_path):
    run = run_folder(odd_path)
    (run / "output" / "a.safetensors").write_bytes(b"weighty")
    (run / "log").unlink()
    assert list(sums.wrong(run)) == ["log", "output/a.safetensors"]


def test_without_a_list_nothing_is_known_to_be_right(odd_path):
    assert list(sums.wrong(odd_path)) == ["sha256sums.json"]


def test_a_link_or_a_path_that_leads_out_is_never_right(odd_path):
    run = run_folder(odd_path)
    (odd_path / "outside").write_bytes(b"x")
    (run / "log").unlink()
    (run / "log").symlink_to(odd_path / "outside")
    assert list(sums.wrong(run)) == ["log"]
    text = RunPaths(run).sums.read_text().replace('"log"', '"../outside"')
    RunPaths(run).sums.write_text(text)
    assert list(sums.wrong(run)) == ["../outside"]


def test_a_run_that_never_began_left_nothing(odd_path):
    sums.write(odd_path / "never", RunPaths(odd_path).sums)
    assert list(sums.wrong(odd_path)) == []
