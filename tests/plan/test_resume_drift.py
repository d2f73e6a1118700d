"""What may differ between two attempts of one run, and what may not: with a record of the real trainer's."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from edit_plans import dataset, edits

from kohya_runner.dataset.layout import content_key
from kohya_runner.engines.sd_scripts import SD_SCRIPTS, SdScriptsEngine
from kohya_runner.engines.support import INITIAL_STEP
from kohya_runner.engines.table import options_for
from kohya_runner.install.checkout import Checkout
from kohya_runner.plan.resume_drift import Now, changes, grouped
from kohya_runner.plan.resume_options import ahead, findings, state_args
from kohya_runner.record.attempts import Attempt, Attempts
from kohya_runner.record.record import Record, RecordedTrainer
from kohya_runner.record.resume_point import ResumePoint, TrainingState

RECIPE = "sd15_lora.yaml"
COMMIT = "48d368fa" + "0" * 32


@pytest.fixture
def now(planned, pictures) -> Now:
    plan = planned(RECIPE, f"datasets.0.images={pictures(4)}", "args.max_train_epochs=4")
    assert plan.ok, plan.findings
    checkout = Checkout(plan.workspace.root, COMMIT, "a test", SD_SCRIPTS)
    return Now(plan.loaded, plan.args, plan.layout, plan.steps, checkout, plan.workspace.runs)


def series(now: Now, *, argv: tuple[str, ...] | None = None, steps: int = 0, **other: object) -> ResumePoint:
    tokens = tuple(token for arg in now.args for token in arg.tokens)
    facts = {
        "run_id": "001", "name": "sd15_lora", "argv": argv or ("/python", "/sd 'x'/train_network.py", *tokens),
        "cwd": "/", "final": "sd15_lora.safetensors", "dataset": {"key": now.layout.key},
        "trainer": RecordedTrainer(commit=COMMIT),
    }  # fmt: skip
    spe = now.steps.steps_per_epoch
    known = Attempts(attempts=(Attempt(number=1, world_size=1, steps_per_epoch=spe, log="trainer.log", queued=0.0),))
    state = TrainingState(now.runs / "sd15_lora-000002-state", INITIAL_STEP, 2, counted=steps or 2 * spe)
    return ResumePoint(now.runs / "sd15_lora" / "001", Record(**(facts | other)), state, (), known)


def test_the_same_run_has_no_changes(now):
    assert changes(series(now), now) == ()


def test_a_workspace_that_was_moved_is_no_change(now):
    tokens = (token for arg in now.args for token in arg.tokens)
    old = ("--vae=/old place/models/vae.safetensors", "--output_dir=/old place/runs/sd15_lora/001/output")
    here = [arg for arg in now.args if arg.name != "output_dir"]
    vae = replace(here[0], name="vae", tokens=(f"--vae={now.runs.parent}/models/vae.safetensors",))
    moved = [token for token in tokens if not token.startswith("--output_dir")]
    found = changes(series(now, argv=("train_network.py", *moved, *old)), replace(now, args=(*here, vae)))
    assert found == ()


def test_another_model_file_is_a_change(now):
    tokens = [t for a in now.args for t in a.tokens if not t.startswith("--pretrained")]
    (found,) = changes(series(now, argv=("train_network.py", "--pretrained_model_name_or_path=other", *tokens)), now)
    assert found.code == "args.resume"
    assert "was other, is" in found.message
    assert found.where.startswith("recipes/") or ".yaml:" in found.where


def test_another_commit_of_the_trainer_is_a_change(now):
    (found,) = changes(series(now, trainer=RecordedTrainer(commit="f" * 40)), now)
    assert (found.code, found.message) == ("trainer.resume", "sd-scripts: was ffffffffff, is 48d368fa00")


def test_other_data_are_a_change(now):
    (found,) = changes(series(now, dataset={"key": "another"}), now)
    assert found.code == "dataset.resume"


@pytest.mark.parametrize(("recipe", "own"), [
    (RECIPE, "options.keep_tokens=1"), ("flux2_klein_lora.yaml", "options.resolution=512"),
    ("sd15_finetune.yaml", "repeats=3"),
])  # fmt: skip
def test_pictures_that_were_moved_are_no_change_and_their_own_options_are(planned, pictures, odd_path, recipe, own):
    before = pictures(4)
    first = planned(recipe, f"datasets.0.images={json.dumps(str(before))}")
    begun = {"key": first.layout.key, "content": content_key(first.layout)}
    moved = f"datasets.0.images={json.dumps(str(before.rename(odd_path / 'another place')))}"
    plan = planned(recipe, moved)
    assert plan.layout.key != first.layout.key
    now = Now(plan.loaded, plan.args, plan.layout, plan.steps, None, plan.workspace.runs)
    assert changes(series(now, dataset=begun), now) == ()
    now = replace(now, layout=planned(recipe, moved, f"datasets.0.{own}").layout)
    assert [found.code for found in changes(series(now, dataset=begun), now)] == ["dataset.resume"]


@pytest.mark.parametrize("recipe", ["flux_kontext_lora.yaml", "sd15_instruct_pix2pix.yaml"])
@pytest.mark.parametrize("harm", ["an instruction", "the inputs"])
def test_edits_that_were_moved_are_no_change_and_others_are(planned, odd_path, recipe, harm):
    size = ("datasets.0.options.resolution=64",) if "kontext" in recipe else ()
    first = planned(recipe, edits(dataset(odd_path / "one place")), *size)
    begun = {"key": first.layout.key, "content": content_key(first.layout)}
    moved = (odd_path / "one place").rename(odd_path / "another place")
    plan = planned(recipe, edits(moved / "metadata.jsonl"), *size)
    assert (plan.layout.key == first.layout.key, content_key(plan.layout)) == (False, begun["content"])
    now = Now(plan.loaded, plan.args, plan.layout, plan.steps, None, plan.workspace.runs)
    assert changes(series(now, dataset=begun), now) == ()
    text = (moved / "metadata.jsonl").read_text()
    swapped = (
        text.replace("inputs/000", "inputs/x").replace("inputs/001", "inputs/000").replace("inputs/x", "inputs/001")
    )
    (moved / "metadata.jsonl").write_text(swapped if harm == "the inputs" else text.replace("number 1", "number 9"))
    now = replace(now, layout=planned(recipe, edits(moved / "metadata.jsonl"), *size).layout)
    assert [found.code for found in changes(series(now, dataset=begun), now)] == ["dataset.resume"]


def test_a_state_that_counts_other_steps_is_told(now):
    (found,) = changes(series(now, steps=1), now)
    assert (found.code, "says 1 steps" in found.message) == ("steps.resume", True)


def test_a_record_without_options_cannot_be_compared(now):
    assert "args.resume" in {found.code for found in changes(series(now, argv=("?",)), now)}


def test_options_are_grouped_with_their_values():
    tokens = ("--network_args", "conv_dim=8", "a=b", "--sdpa", "--resolution=64,64", "--note=--x")
    assert grouped(tokens) == {
        "network_args": ("conv_dim=8", "a=b"), "sdpa": (), "resolution": ("64,64",), "note": ("--x",),
    }  # fmt: skip


def test_a_script_that_cannot_go_on_is_refused_by_its_name(now):
    whole = options_for("sdxl_train.py", None)
    options = replace(whole, rows=tuple(row for row in whole.rows if row.name != "resume"))
    (found,) = findings(now.loaded, SdScriptsEngine(), options, {}, now.steps, asked=True)
    assert "sdxl_train.py keeps no count of its steps" in found.message
    assert state_args(now.loaded, options, SdScriptsEngine.RESUME_WAYS, {}, asked=True) == ()
    assert not list(findings(now.loaded, SdScriptsEngine(), options, {}, now.steps, asked=False))


def test_a_script_that_cannot_read_its_states_is_refused_with_the_place(now):
    options = options_for("sdxl_train_control_net.py", None)
    for given, asked in (({}, True), ({"resume": "/a/state"}, False)):
        (found,) = findings(now.loaded, SdScriptsEngine(), options, given, now.steps, asked=asked)
        assert "library/sdxl_original_control_net.py:89" in found.message
    assert not list(findings(now.loaded, SdScriptsEngine(), options, {}, now.steps, asked=False))


def test_the_options_of_a_record_count_before_its_command(now):
    tokens = tuple(token for arg in now.args for token in arg.tokens)
    assert changes(series(now, argv=("train_network.py", "--seed=9"), options=tokens), now) == ()


def test_what_is_still_to_come_is_less_than_the_whole_run(now):
    cut = series(now)
    output = cut.path / cut.record.output_dir
    output.mkdir(parents=True)
    for name in now.steps.saves.checkpoints[:2]:
        (output / name).touch()
    left = ahead(now.steps, cut)
    assert left.total == now.steps.total - 2 * now.steps.steps_per_epoch
    assert left.saves.most_checkpoints == now.steps.saves.most_checkpoints - 2
    assert ahead(now.steps, None) is now.steps
