"""``launch --rehearse``, whole, with the practice trainer; and what its figures are made of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_resume import Runner

from kohya_runner.diagnosis.events import Step
from kohya_runner.machine.host import PeakGpuMemory
from kohya_runner.plan.rehearsal import Saves
from kohya_runner.run.rehearse import Measured, per_step

LISTED = "name, 81559, {used}, 9.0, 570.1"


@pytest.fixture
def runner(odd_path: Path) -> Runner:
    return Runner(odd_path)


def test_a_rehearsal_measures_and_leaves_no_run(runner):
    code, out, err = runner.launch("--rehearse", "--json", KOHYA_PRACTICE_STEP_SECONDS="0.1")
    assert code == 0, err
    said = json.loads(out)
    assert (said["ok"], said["practice"]) == (True, True)
    assert said["measured"]["steps"] == 15
    assert 0.09 < said["measured"]["seconds_per_step"] < 0.2
    assert said["measured"]["checkpoint_bytes"] > 10_000
    assert said["measured"]["state_bytes"] is None
    assert said["whole_run"]["steps"] == 30
    assert said["whole_run"]["seconds"] > 30 * said["measured"]["seconds_per_step"]
    assert not runner.folder.exists()
    kept = sorted(path.name for path in (runner.workspace / "rehearsals/quickstart/001").iterdir())
    assert kept == ["attempts.json", "metrics.jsonl", "plan.json", "recipe.yaml", "record.json", "trainer.log"]


def test_a_rehearsal_has_the_recipes_own_options_and_a_few_steps(runner):
    assert runner.launch("--rehearse", "--set=resume.states=2", "--set=args.network_dim=6")[0] == 0
    record = json.loads((runner.workspace / "rehearsals/quickstart/001/record.json").read_bytes())
    argv = record["argv"]
    assert record["rehearsal"] is True
    assert "--max_train_steps=20" in argv
    assert "--save_state_on_train_end" in argv
    assert "--network_dim=6" in argv
    left_out = ("--max_train_epochs", "--save_every_n_epochs", "--save_state", "--save_last_n_epochs_state")
    assert not [token for token in argv if token.partition("=")[0] in left_out]


def test_states_are_weighed_where_the_run_keeps_them(runner):
    code, out, _ = runner.launch("--rehearse", "--json", "--set=resume.states=2")
    said = json.loads(out)
    assert code == 0
    assert said["measured"]["state_bytes"] > 10_000
    assert {item["what"]: item["bytes"] for item in said["whole_run"]["disk"]}["training states"] == (
        said["measured"]["state_bytes"] * 3  # two and the one being written
    )


def test_it_goes_on_when_asked_to(runner):
    code, _, err = runner.launch("--rehearse", "--go")
    assert code == 0, err
    assert runner.read("record.json")["state"] == "succeeded"


def test_a_run_above_its_budget_is_refused(runner):
    code, out, _ = runner.launch("--rehearse", "--go", "--set=budget.max_hours=0.0001")
    assert code == 4
    assert "budget.hours" in out
    assert "refused" in out
    assert not runner.folder.exists()


@pytest.mark.parametrize("words", [("--go",), ("--resume", "--rehearse")])
def test_options_that_make_no_sense_together_are_refused(runner, words):
    assert runner.launch(*words)[0] == 2


def test_the_warming_up_is_not_measured():
    warm = [2.0, 1.2, 1.0, 0.9, 0.8]  # the bar's mean over the first n steps
    steps = tuple(Step(n, 20, mean, None, None, None) for n, mean in enumerate(warm, 1))
    later = tuple(Step(n, 20, (4.0 + 0.5 * (n - 5)) / n, None, None, None) for n in range(6, 21))
    assert per_step((*steps, *later)) == (pytest.approx(0.5), 15)
    assert per_step(()) == (0.0, 0)


def test_the_whole_run_is_set_up_steps_saves_and_samples():
    measured = Measured(15, 2.0, 60.0, 1000, 3.0, 2000, 5.0, 10.0, None)
    assert measured.whole_run(100, Saves(checkpoints=4, states=3, samples=2)) == 60 + 200 + 12 + 15 + 20
    assert measured.effective(100, Saves(4, 3, 2)) == pytest.approx(2.47)


def test_the_gauge_keeps_the_highest_of_what_nvidia_smi_says(odd_path, monkeypatch):
    program = odd_path / "nvidia-smi"
    counter = odd_path / "asked"
    program.write_text(
        "#!/bin/sh\n"
        f'echo . >> "{counter}"\n'
        f'case $(wc -l < "{counter}") in 2) used=9000 ;; *) used=500 ;; esac\n'
        f'echo "{LISTED.format(used="$used")}"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setattr("kohya_runner.machine.host.SECONDS", 0.02)
    monkeypatch.setenv("PATH", f"{odd_path}:/usr/bin:/bin")
    with PeakGpuMemory({"PATH": f"{odd_path}:/usr/bin:/bin"}) as gauge:
        while not counter.exists() or counter.read_text().count(".") < 4:
            pass
    assert (gauge.before, gauge.peak) == (500 << 20, 9000 << 20)


def test_without_nvidia_smi_there_is_no_peak(odd_path, monkeypatch):
    monkeypatch.setenv("PATH", str(odd_path))
    with PeakGpuMemory({"PATH": str(odd_path)}) as gauge:
        pass
    assert gauge.peak is None
