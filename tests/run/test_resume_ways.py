"""``launch --resume`` of trainers that keep no count of a run: cut practice runs that go on, and their options."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import forked
import pytest
from PIL import Image
from test_stages import edits

pytestmark = pytest.mark.daily

ROOT = Path(__file__).parents[2]
PER_EPOCH = 3


@dataclass
class Runner:
    """Launches one recipe in a home and a workspace of its own."""

    folder: Path
    recipe: str
    sets: tuple[str, ...]
    said: str = ""

    def launch(self, *flags: str, fault: str = "", more: tuple[str, ...] = ()) -> int:
        words = [f"--set={text}" for text in (*self.sets, *more)]
        command = ("launch", str(ROOT / "recipes" / f"{self.recipe}.yaml"), "--practice", "--allow=hub.offline",
                   "--allow=disk.full", *words, *flags)  # fmt: skip
        env = {k: v for k, v in os.environ.items() if not k.startswith(("KOHYA_", "XDG_"))}
        env |= {"HOME": str(self.folder / "home"), "KOHYA_WORKSPACE": str(self.folder / "ws"), "PYTHONPATH": str(ROOT),
                "KOHYA_PRACTICE_FAULT": fault}  # fmt: skip
        code, out, err = forked.run(*command, env=env)
        self.said = out + err
        return code

    def cut(self, step: int, *more: str) -> None:
        """A trainer that dies at a step of its own attempt."""
        assert self.launch("--resume", fault=f"crash@{step}", more=more) == 8, self.said

    @property
    def run(self) -> Path:
        return self.folder / "ws" / "runs" / self.recipe / "001"

    @property
    def record(self) -> dict:
        return json.loads((self.run / "record.json").read_text(encoding="utf-8"))

    def attempts(self) -> list[tuple]:
        found = json.loads((self.run / "attempts.json").read_text(encoding="utf-8"))["attempts"]
        return [(a["epoch"], a["step"], a["from_state"], a["outcome"]) for a in found]

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.run / "output").glob("*.safetensors"))

    def option(self, name: str) -> list[str]:
        """The values of an option of the last attempt."""
        argv = self.record["argv"]
        at = next((n for n, token in enumerate(argv) if token.partition("=")[0] == f"--{name}"), None)
        if at is None:
            return []
        if "=" in argv[at]:
            return [argv[at].partition("=")[2]]
        rest = argv[at + 1 :]
        return rest[: next((n for n, token in enumerate(rest) if token.startswith("--")), len(rest))]


@pytest.fixture
def kontext(odd_path: Path) -> Runner:
    data = f"datasets.0.images={json.dumps(str(edits(odd_path / 'my edits')))}"
    return Runner(odd_path, "flux_kontext_lora", (
        data, "args.max_train_epochs=5", "datasets.0.options.resolution=64", "args.lr_scheduler=cosine",
        "args.lr_warmup_steps=0.2", "args.gradient_accumulation_steps=1",
    ))  # fmt: skip


@pytest.fixture
def finetune(odd_path: Path) -> Runner:
    folder = odd_path / "my pictures"
    folder.mkdir()
    for number in range(PER_EPOCH):
        Image.effect_noise((64, 64), 90).convert("RGB").save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"picture {number}", encoding="utf-8")
    return Runner(odd_path, "sdxl_finetune", (
        f"datasets.0.images={json.dumps(str(folder))}", "args.max_train_epochs=5", "args.resolution=64",
        "args.train_batch_size=1", "args.gradient_accumulation_steps=1", "args.bucket_reso_steps=32",
        "args.min_bucket_reso=32", "args.max_bucket_reso=128", "args.save_every_n_epochs=1",
    ))  # fmt: skip


@pytest.fixture
def pix2pix(odd_path: Path) -> Runner:
    return pipeline(odd_path, "sd15_instruct_pix2pix")


@pytest.fixture(params=["sd15_instruct_pix2pix", "sdxl_instruct_pix2pix"])
def each_pix2pix(odd_path: Path, request: pytest.FixtureRequest) -> Runner:
    return pipeline(odd_path, request.param)


def pipeline(odd_path: Path, recipe: str) -> Runner:
    data = f"datasets.0.images={json.dumps(str(edits(odd_path / 'my edits')))}"
    return Runner(odd_path, recipe, (
        data, "args.num_train_epochs=5", "args.train_batch_size=1", "args.gradient_accumulation_steps=1",
        "args.max_train_steps=null", "args.checkpointing_steps=null", "args.checkpoints_total_limit=null",
    ))  # fmt: skip


@pytest.fixture(params=["kontext", "finetune", "pix2pix"])
def any_way(request: pytest.FixtureRequest) -> Runner:
    return request.getfixturevalue(request.param)


def whole(name: str) -> list[str]:
    return [*(f"{name}-{epoch:06d}.safetensors" for epoch in range(1, 5)), f"{name}.safetensors"]


@pytest.mark.parametrize("which", ["kontext", "finetune"])
def test_what_is_left_is_trained_and_the_files_are_those_of_a_run_that_was_never_cut(which, request):
    runner = request.getfixturevalue(which)
    name = runner.recipe
    runner.cut(4)  # in epoch 2
    runner.cut(4)  # in the attempt's epoch 2, which is the run's 3
    assert runner.option("max_train_steps") == ["12"]
    assert runner.option("output_name") == [f"{name}+000001"]
    assert runner.launch("--resume") == 0, runner.said
    assert runner.attempts() == [
        (0, 0, "", "failed"),
        (1, 3, f"{name}-000001-state", "failed"),
        (2, 6, f"{name}+000001-000001-state", "succeeded"),
    ]
    record = runner.record
    assert (record["state"], record["steps_seen"], record["epochs_seen"], record["attempt"]) == ("succeeded", 15, 5, 3)
    assert runner.files() == sorted(whole(name))
    assert [(c["file"], c["epoch"]) for c in record["checkpoints"]] == list(zip(whole(name), range(1, 6), strict=True))
    assert record["final"] == f"{name}.safetensors"
    assert runner.option("max_train_steps") == ["9"]
    assert runner.option("max_train_epochs") == []
    assert "epoch 5/5" in runner.said
    assert runner.launch("--resume") == 0
    assert "nothing to do" in runner.said


def test_a_learning_rate_over_the_whole_run_stays_one(kontext):
    kontext.cut(4)
    assert kontext.launch("--resume") == 0, kontext.said
    assert kontext.option("lr_scheduler_type") == ["transformers.optimization.get_cosine_schedule_with_warmup"]
    assert kontext.option("lr_scheduler_args") == ["num_warmup_steps=3", "num_training_steps=15"]
    assert kontext.option("lr_warmup_steps") == ["0"]


def test_what_a_killed_runner_left_is_named_when_the_run_goes_on(kontext):
    kontext.cut(4)
    kontext.cut(4)
    output = kontext.run / "output"
    (output / "flux_kontext_lora-000002.safetensors").rename(output / "flux_kontext_lora+000001-000001.safetensors")
    assert kontext.launch("--resume") == 0, kontext.said
    assert kontext.files() == sorted(whole(kontext.recipe))
    assert [c["removed"] for c in kontext.record["checkpoints"]] == [False] * 5


def test_a_change_since_the_cut_is_refused_with_what_it_was(any_way):
    runner = any_way
    runner.cut(4)
    assert runner.launch("--resume", more=("args.learning_rate=9e-3",)) == 3
    assert "learning_rate: was" in runner.said
    assert runner.launch("--resume") == 0, runner.said


def test_what_counts_steps_is_refused_before_the_first_of_them(kontext):
    assert kontext.launch("--resume", more=("args.save_every_n_steps=2",)) == 3
    assert "counts steps and epochs from 0 again" in kontext.said
    assert not kontext.run.exists()


def test_a_pipeline_goes_on_from_its_last_checkpoint_folder(each_pix2pix):
    each_pix2pix.cut(4)
    each_pix2pix.cut(9)  # two epochs later: the practice trainer counts the run's steps
    assert each_pix2pix.launch("--resume") == 0, each_pix2pix.said
    assert each_pix2pix.attempts() == [
        (0, 0, "", "failed"), (1, 3, "checkpoint-3", "failed"), (2, 6, "checkpoint-6", "succeeded"),
    ]  # fmt: skip
    assert each_pix2pix.option("resume_from_checkpoint") == ["checkpoint-6"]
    record = each_pix2pix.record
    assert (record["state"], record["steps_seen"], record["epochs_seen"]) == ("succeeded", 15, 5)
    assert "epoch 5/5" in each_pix2pix.said
    left = sorted(path.name for path in (each_pix2pix.run / "output").glob("checkpoint-*"))
    assert left == ["checkpoint-12", "checkpoint-15"]


def test_a_pipeline_goes_on_inside_an_epoch_where_its_states_are_there(each_pix2pix):
    each_pix2pix.sets = (*each_pix2pix.sets, "args.checkpointing_steps=4")
    each_pix2pix.cut(6)
    assert each_pix2pix.launch("--resume") == 0, each_pix2pix.said
    assert each_pix2pix.attempts()[-1] == (1, 4, "checkpoint-4", "succeeded")
    assert "after epoch 1, step 4" in each_pix2pix.said
    assert each_pix2pix.record["steps_seen"] == 15
