from __future__ import annotations

from dataclasses import replace

import pytest

from kohya_runner.engines.steps_plan import SavePlan, SaveSettings, plan_saves, save_problems

NAME = SaveSettings("x", save_every_n_epochs=1)


def ten(settings: SaveSettings) -> SavePlan:
    """Ten epochs of ten steps."""
    return plan_saves(settings, total=100, steps_per_epoch=10, epochs=10)


def test_the_last_epoch_has_no_number() -> None:
    assert ten(NAME).checkpoints == (*(f"x-{n:06d}.safetensors" for n in range(1, 10)), "x.safetensors")


def test_without_a_cadence_there_is_only_the_last() -> None:
    assert ten(SaveSettings("x")).checkpoints == ("x.safetensors",)


def test_the_last_n_epochs_are_kept_and_one_more_lies_there_at_times() -> None:
    plan = ten(replace(NAME, save_last_n_epochs=2))
    assert plan.checkpoints_kept == ("x-000008.safetensors", "x-000009.safetensors", "x.safetensors")
    assert len(plan.checkpoints) == 10
    assert plan.most_checkpoints == 3


def test_step_files_come_before_the_epoch_s_file() -> None:
    plan = plan_saves(replace(NAME, save_every_n_steps=10), total=20, steps_per_epoch=10, epochs=2)
    assert plan.checkpoints == (
        "x-step00000010.safetensors",
        "x-000001.safetensors",
        "x-step00000020.safetensors",
        "x.safetensors",
    )


def test_the_last_n_steps_are_kept() -> None:
    settings = SaveSettings("x", save_every_n_steps=10, save_last_n_steps=30)
    kept = plan_saves(settings, total=50, steps_per_epoch=50, epochs=1).checkpoints_kept
    assert kept == (*(f"x-step000000{n}.safetensors" for n in (20, 30, 40, 50)), "x.safetensors")


def test_the_steps_of_an_unfinished_last_epoch_end_at_the_total() -> None:
    plan = plan_saves(SaveSettings("x", save_every_n_steps=4), total=13, steps_per_epoch=10, epochs=2)
    assert [name[6:14] for name in plan.checkpoints[:-1]] == ["00000004", "00000008", "00000012"]


def test_a_ratio_goes_before_a_cadence() -> None:
    plan = ten(replace(NAME, save_n_epoch_ratio=3))
    assert plan.checkpoints == (*(f"x-{n:06d}.safetensors" for n in (3, 6, 9)), "x.safetensors")


def test_states_are_pruned_by_their_own_number() -> None:
    plan = ten(replace(NAME, save_state=True, save_last_n_epochs=1, save_last_n_epochs_state=2))
    assert plan.states_kept == ("x-000008-state", "x-000009-state", "x-state")
    assert plan.most_states == 3


def test_a_state_at_the_end_is_the_only_one() -> None:
    assert ten(replace(NAME, save_state_on_train_end=True)).states == ("x-state",)


def test_the_format_is_the_extension() -> None:
    assert ten(SaveSettings("x", save_model_as="ckpt")).checkpoints == ("x.ckpt",)


@pytest.mark.parametrize(
    ("settings", "codes"),
    [
        (NAME, []),
        (SaveSettings("x", save_every_n_epochs=0), ["args.save_every_n_epochs"]),
        (SaveSettings("x", save_every_n_epochs=0, save_n_epoch_ratio=2), []),
        (SaveSettings("x", save_every_n_steps=0), ["args.save_every_n_steps"]),
        (SaveSettings("x", save_every_n_epochs=1, save_last_n_epochs=0), ["args.save_last_n_epochs"]),
    ],
)
def test_a_cadence_of_nothing_is_told(settings: SaveSettings, codes: list[str]) -> None:
    assert [finding.code for finding in save_problems(settings)] == codes
