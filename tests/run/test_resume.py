"""``launch --resume``, whole: runs of the practice trainer that are cut, and go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import forked
import pytest

pytestmark = pytest.mark.daily

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "recipes" / "quickstart.yaml"
EPOCHS = 5
PER_EPOCH = 6


class Runner:
    """Launches the quickstart for five epochs of six steps, in a home and a workspace of its own."""

    def __init__(self, folder: Path) -> None:
        self.workspace = folder / "ws"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("KOHYA_", "XDG_"))}
        self.env |= {"HOME": str(folder / "home"), "KOHYA_WORKSPACE": str(self.workspace), "PYTHONPATH": str(ROOT)}

    def start(self, *args: str, **env: str) -> forked.Forked | subprocess.Popen[str]:
        words = ("launch", str(QUICKSTART), "--practice", f"--set=args.max_train_epochs={EPOCHS}", *args)
        return forked.start(*words, env=self.env | env)

    def launch(self, *args: str, **env: str) -> tuple[int, str, str]:
        process = self.start(*args, **env)
        out, err = process.communicate(timeout=180)
        return process.returncode, out, err

    def cut(self, step: int, *args: str) -> None:
        """A trainer that dies at a step of its own attempt."""
        code, _, err = self.launch("--resume", *args, KOHYA_PRACTICE_FAULT=f"crash@{step}")
        assert code == 8, err

    @property
    def folder(self) -> Path:
        return self.workspace / "runs" / "quickstart" / "001"

    @property
    def output(self) -> Path:
        return self.folder / "output"

    def read(self, name: str) -> dict:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def files(self) -> list[str]:
        return sorted(path.name for path in self.output.glob("*.safetensors"))

    def wait_for(self, text: str, log: str = "trainer.log") -> dict:
        until = time.monotonic() + 180
        path = self.folder / log
        while time.monotonic() < until:
            if path.is_file() and text in path.read_text(encoding="utf-8", errors="replace"):
                return self.read("record.json")
            time.sleep(0.02)
        raise AssertionError(path.read_text(encoding="utf-8") if path.is_file() else "no log")


@pytest.fixture
def runner(odd_path: Path) -> Runner:
    return Runner(odd_path)


WHOLE = [f"quickstart-{epoch:06d}.safetensors" for epoch in range(1, EPOCHS)] + ["quickstart.safetensors"]


def test_the_third_resume_is_as_right_as_the_first(runner):
    runner.cut(8)  # in epoch 2
    runner.cut(8)  # in epoch 3
    runner.cut(13)  # in epoch 5
    code, _, err = runner.launch("--resume")
    assert code == 0, err
    begun = [(a["epoch"], a["step"], a["from_state"], a["outcome"]) for a in runner.read("attempts.json")["attempts"]]
    assert begun == [
        (0, 0, "", "failed"),
        (1, 6, "quickstart-000001-state", "failed"),
        (2, 12, "quickstart-000002-state", "failed"),
        (4, 24, "quickstart-000004-state", "succeeded"),
    ]
    record = runner.read("record.json")
    assert (record["state"], record["attempt"], record["steps_seen"], record["epochs_seen"]) == ("succeeded", 4, 30, 5)
    assert [(c["file"], c["epoch"]) for c in record["checkpoints"]] == list(zip(WHOLE, range(1, 6), strict=True))
    assert runner.files() == sorted(WHOLE)
    assert "--initial_step=24" in record["argv"]
    assert not (runner.workspace / "runs/quickstart/002").exists()


def test_without_a_state_it_begins_at_the_beginning_and_a_finished_run_is_left_alone(runner):
    assert runner.launch("--resume")[0] == 0
    code, _, err = runner.launch("--resume")
    assert code == 0
    assert "nothing to do" in err
    assert runner.launch()[0] == 7  # the states make no other run of it
    assert [path.name for path in runner.folder.parent.glob("0*")] == ["001"]


def test_a_run_without_states_is_begun_anew_in_a_folder_of_its_own(runner):
    runner.cut(8, "--set=resume.states=0")
    assert runner.launch("--resume")[0] == 0
    assert sorted(path.name for path in runner.folder.parent.glob("0*")) == ["001", "002"]
    assert runner.files() == WHOLE[:1]


def test_what_was_written_after_the_state_goes_aside_and_is_not_overwritten(runner):
    runner.cut(20, "--set=args.save_every_n_epochs=1")
    broken = runner.output / "quickstart-000003-state"
    (broken / "random_states_0.pkl").unlink()
    before = (runner.output / WHOLE[2]).read_bytes()
    code, out, err = runner.launch("--resume")
    assert code == 0, err
    assert "continues after epoch 2" in out
    assert "quickstart-000003-state is incomplete" in err
    assert (runner.folder / "attempts" / "001" / WHOLE[2]).read_bytes() == before
    assert runner.files() == sorted(WHOLE)
    assert [c["removed"] for c in runner.read("record.json")["checkpoints"]] == [False] * EPOCHS


def test_an_orphaned_trainer_is_watched_to_its_end(runner):
    first = runner.start("--resume", KOHYA_PRACTICE_STEP_SECONDS="0.5")
    trainer = runner.wait_for("epoch 2/5")["process"]["pid"]
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    code, _, err = runner.launch("--resume")
    assert code == 0, err
    assert "without its runner" in err
    record = runner.read("record.json")
    assert (record["state"], record["process"]["pid"], record["attempt"]) == ("succeeded", trainer, 1)
    assert [a["outcome"] for a in runner.read("attempts.json")["attempts"]] == ["succeeded"]


def test_a_trainer_that_came_to_its_end_without_its_runner_is_judged_and_written_down(runner):
    first = runner.start("--resume", KOHYA_PRACTICE_STEP_SECONDS="0.05")
    runner.wait_for("epoch 4/5")
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    runner.wait_for("model saved.")
    assert runner.read("record.json")["state"] == "running"
    code, _, err = runner.launch("--resume")
    assert code == 0, err
    assert "nothing to do" in err or "without its runner" in err
    assert runner.read("record.json")["state"] == "succeeded"
    assert [a["outcome"] for a in runner.read("attempts.json")["attempts"]] == ["succeeded"]


def test_trainer_and_runner_killed_at_once_is_a_run_that_goes_on(runner):
    first = runner.start("--resume", KOHYA_PRACTICE_STEP_SECONDS="0.1")
    record = runner.wait_for("epoch 3/5")
    for pid in (first.pid, record["process"]["pid"]):
        os.kill(pid, signal.SIGKILL)
    first.communicate()
    assert runner.launch("--resume")[0] == 0
    assert [(a["epoch"], a["outcome"]) for a in runner.read("attempts.json")["attempts"]] == [
        (0, "lost"),
        (2, "succeeded"),
    ]
    assert runner.read("record.json")["steps_seen"] == EPOCHS * PER_EPOCH


def test_a_run_that_somebody_watches_is_left_to_him(runner):
    first = runner.start("--resume", KOHYA_PRACTICE_STEP_SECONDS="0.3")
    runner.wait_for("epoch 2/5")
    code, _, err = runner.launch("--resume")
    assert code == 7
    assert "is still running" in err
    first.send_signal(signal.SIGTERM)
    first.communicate()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ("args.learning_rate=0.5", 3, "learning_rate: was 0.0001, is 0.5"),
        ("args.train_batch_size=2", 3, "train_batch_size: was 4, is 2"),
        ("args.lr_scheduler_num_cycles=null", 3, "lr_scheduler_num_cycles: was 3, is not given"),
        ("datasets.0.repeats=4", 6, "2_sprite: was 12 images, is 0, 4_sprite: was 0 images, is 12"),
        ("launch.num_processes=2", 3, "launch.num_processes: was 1, is 2"),
    ],
)
def test_another_run_is_not_continued(runner, change, code, words):
    runner.cut(14)
    ended, out, _ = runner.launch("--resume", f"--set={change}")
    assert ended == code
    assert words in out
    assert "--allow" in out or "num_processes" in change
    assert runner.read("record.json")["attempt"] == 1


def test_a_change_without_effect_on_the_result_is_none(runner):
    runner.cut(14)
    code, out, err = runner.launch(
        "--resume", "--set=args.gradient_checkpointing=true", "--set=args.save_last_n_epochs=9"
    )
    assert code == 0, out + err
    assert runner.read("record.json")["attempt"] == 2


def test_a_change_can_be_taken_by_name(runner):
    runner.cut(14)
    assert runner.launch("--resume", "--set=args.learning_rate=0.5", "--allow=args.resume")[0] == 0
    assert runner.read("record.json")["attempt"] == 2


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ("args.save_every_n_steps=2", "args.step_states"),
        ("args.save_state=false", "args.save_state"),
        ("args.initial_epoch=2", "args.owned"),
    ],
)
def test_what_cannot_be_resumed_is_told_before_it_begins(runner, change, code):
    ended, out, _ = runner.launch("--resume", f"--set={change}")
    assert ended == 3
    assert code in out
    assert not runner.folder.exists()


def test_a_run_that_ends_inside_an_epoch_cannot_be_resumed(runner):
    words = ("--set=args.max_train_epochs=null", "--set=args.max_train_steps=20")
    ended, out, _ = runner.launch("--resume", *words)
    assert ended == 6
    assert "write args.max_train_steps: 18, or args.max_train_epochs: 4" in out


def test_states_are_saved_only_where_somebody_wants_them(runner):
    assert "--save_state" not in runner.launch("--dry-run")[1]
    assert "--save_state --save_last_n_epochs_state=2" in runner.launch("--dry-run", "--resume")[1]
    assert "--save_last_n_epochs_state=3" in runner.launch("--dry-run", "--set=resume.states=3")[1]
    assert "--save_state" not in runner.launch("--dry-run", "--resume", "--set=resume.states=0")[1]


def test_a_run_that_only_fails_is_not_repeated_for_ever(runner):
    runner.cut(8)
    for _ in range(3):
        runner.cut(2)
    code, _, err = runner.launch("--resume")
    assert code == 8
    assert "3 attempts in a row failed after epoch 1" in err
    assert runner.read("record.json")["attempt"] == 4
    assert runner.launch("--resume", "--again")[0] == 0
