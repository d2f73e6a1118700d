"""Runs of the real trainer, killed with SIGKILL at random moments three times, are the runs that were not killed.

``--tier full`` kills twenty runs, else one, and rehearses one (as practice: tests/run/test_rehearse.py, every day).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import tiers
from killed_runs import NAME, Case, Place, Whole, check, killed_three_times, read_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.daily

SEEDS = range(20 if tiers.full() else 1)


def first_object(said: str) -> Any:
    return json.JSONDecoder().raw_decode(said[said.index("{") :])[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, sd_scripts: Path, trainer_python: Path) -> Place:
    return Place(tmp_path_factory.mktemp("it's killed"), sd_scripts, trainer_python).furnish()


@pytest.fixture(scope="module")
def finished(place: Place) -> Iterator[Case]:
    case = Case(place, place.root / "never killed")
    case.ends.append(case.finish()[0])
    yield case
    case.clear()


@pytest.fixture(scope="module")
def whole(finished: Case) -> Whole:
    assert finished.ends == [0]
    return read_whole(finished)


def test_a_finished_run_has_nothing_to_resume(finished, whole):
    code, said = finished.finish()
    assert code == 0
    assert "nothing to do" in said
    assert not list(finished.workspace.glob("runs/*/002"))
    assert whole.counted["scheduler"] == whole.steps


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_killed_three_times_ends_as_one_that_was_not(place, whole, seed):
    case = Case(place, place.root / f"killed {seed}")
    try:
        killed_three_times(case, whole, seed)
        check(case, whole)
    except AssertionError as fault:
        logs = "\n".join(path.read_text("utf-8", "replace")[-1500:] for path in sorted(case.folder.glob("*.log")))
        raise AssertionError(f"{case.kills} {case.ends}: {fault}\n{logs}") from fault
    finally:
        case.clear()


@pytest.mark.full
def test_a_rehearsal_measures_the_real_trainer(place):
    case = Case(place, place.root / "rehearsed")
    try:
        code, said = case.finish("--rehearse", "--json", "--set=resume.states=2")
        assert code == 0, said
        found = first_object(said)
        measured = found["measured"]
        assert "all finite" in found["loaded"]
        assert 0 < measured["seconds_per_step"] < measured["setup"]
        assert measured["state_bytes"] > 2 * measured["checkpoint_bytes"] > 0
        assert measured["peak_ram"] > 100_000_000
        assert found["whole_run"]["steps"] == 36
        assert found["whole_run"]["seconds"] > measured["setup"] + 36 * measured["seconds_per_step"]
        planned = case.finish("--dry-run", "--json", "--set=resume.states=2")[1]
        assert first_object(planned)["time"]["measured_in"] == f"rehearsal {NAME}/001"
    finally:
        case.clear()


def test_an_option_that_changed_is_refused_before_anything_is_touched(finished, whole):
    """The other settings are another run: it is not found as done, and nothing was cut, so nothing is continued."""
    code, said = finished.finish("--set", "args.network_dim=4", "--dry-run")
    assert code == 0, said
    assert "continues after epoch" not in said
    assert f"/runs/{NAME}/002/output" in said
