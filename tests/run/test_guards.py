"""The table of guards over states made by hand, with a clock made by hand."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from kohya_runner.diagnosis.events import Epoch, OtherBar, Phase, Step
from kohya_runner.diagnosis.progress import PHASES, TRAINING
from kohya_runner.recipe.finish import Diverged, Guard, Stalled
from kohya_runner.record.record import SavedCheckpoint
from kohya_runner.run.guards.observer import GUARDS, SLOW, Prune, Warn, decide, prunable
from kohya_runner.run.guards.state import WINDOW, GuardState, Readings, StateFolder, after_event, after_readings
from kohya_runner.run.observers import Stop

GOOD = SavedCheckpoint(file="cat-000001.safetensors", bytes=100_000_000, complete=True, checked=True, sha256="x")
MIB = 1 << 20


def step(number, loss=0.1, pace=1.0):
    return Step(number, 10_000, pace, 0.0, 0.0, loss)


def after(*events, state=None, every=1.0):
    """The state after events that came one after the other."""
    state = state or GuardState()
    for event in events:
        state = after_event(state, event, state.now + every)
    return state


def trained(steps=10, pace=1.0, **changes):
    """In the middle of the steps."""
    state = GuardState(policy=Guard(**changes))
    return after(Phase(TRAINING), *(step(n, pace=pace) for n in range(1, steps + 1)), state=state, every=pace)


def said(state):
    return list(decide(state))


def codes(state):
    return [(type(verdict), verdict.code) for verdict in decide(state)]


def later(state, seconds):
    return replace(state, now=state.now + seconds)


def test_a_run_that_goes_well_is_left_alone():
    assert said(trained(1000)) == []


@pytest.mark.parametrize(("loss", "code"), [(math.nan, "loss.nan"), (math.inf, "loss.infinite")])
def test_a_loss_that_is_no_number_stops_at_once_and_the_last_good_epoch_is_named(loss, code):
    state = replace(after(step(11, loss), state=trained()), checkpoints=(GOOD,))
    (stop,) = said(state)
    assert isinstance(stop, Stop)
    assert stop.code == code
    assert "since step 11" in stop.why
    assert stop.why.endswith("the last good checkpoint is cat-000001.safetensors")


def test_the_first_bad_step_is_the_one_that_is_told():
    state = after(step(11, math.nan), step(12, math.nan), step(13, math.nan), state=trained())
    assert "since step 11" in said(state)[0].why


def test_a_stop_for_nan_waits_until_the_newest_checkpoint_is_read_but_not_for_ever():
    unread = GOOD.model_copy(update={"file": "cat-000002.safetensors", "sha256": "", "checked": False})
    state = replace(after(step(11, math.nan), state=trained()), checkpoints=(GOOD, unread))
    assert said(state) == []
    assert codes(later(state, 11)) == [(Stop, "loss.nan")]
    bad = unread.model_copy(update={"sha256": "y", "nonfinite": 3, "problem": "contains NaN"})
    stops = said(replace(state, checkpoints=(GOOD, bad)))
    assert [stop.code for stop in stops] == ["loss.nan", "weights.nan"]
    assert stops[0].why.endswith("the last good checkpoint is cat-000001.safetensors")


def test_weights_that_are_no_numbers_stop_although_the_loss_says_nothing():
    bad = GOOD.model_copy(update={"nonfinite": 2, "problem": "contains NaN"})
    (stop,) = said(replace(trained(), checkpoints=(bad,)))
    assert (stop.code, stop.why) == (
        "weights.nan",
        "cat-000001.safetensors contains NaN",
    )


def test_with_the_guard_off_nan_is_a_warning():
    bad = GOOD.model_copy(update={"nonfinite": 2, "problem": "contains NaN"})
    state = after(step(11, math.nan), state=trained(nan="ignore"))
    assert codes(replace(state, checkpoints=(bad,))) == [(Warn, "loss.nan"), (Warn, "weights.nan")]


def test_weights_that_never_moved_are_a_warning():
    bad = GOOD.model_copy(update={"untrained": True, "problem": "is untrained"})
    assert codes(replace(trained(), checkpoints=(bad,))) == [(Warn, "weights.zero")]


# -- divergence -------------------------------------------------------------------------------------------------------


def with_losses(losses, **changes):
    """The first stop for divergence, and the step at which it came."""
    state = GuardState(policy=Guard(**changes))
    for number, loss in enumerate(losses, start=1):
        state = after_event(state, step(number, loss), float(number))
        if found := [verdict for verdict in decide(state) if verdict.code == "loss.diverged"]:
            return found[0], number
    return None, None


def test_a_loss_that_grew_a_thousandfold_and_stays_there_stops():
    stop, number = with_losses([0.1] * 300 + [100.0] * 300)
    assert isinstance(stop, Stop)
    assert 400 <= number <= 405  # a hundred steps after it is seen
    assert "more than 10 times the best (0.1), since step 30" in stop.why


def test_a_peak_that_passes_does_not_stop():
    assert with_losses([0.1] * 300 + [50.0] * 3 + [0.1] * 500) == (None, None)


def test_divergence_is_configurable_and_can_be_switched_off():
    losses = [0.1] * 200 + [0.5] * 200
    assert with_losses(losses) == (None, None)
    assert with_losses(losses, diverged=Diverged(factor=3, steps=20))[1] in range(220, 330)
    assert with_losses([0.1] * 300 + [1e6] * 500, diverged=None) == (None, None)


def trainer_means(samples, batches):
    """The trainer's own mean (LossRecorder, library/logging_util.py:57)."""
    kept, means = [], []
    for number, loss in enumerate(samples):
        place = number % batches
        kept = [*kept, loss] if len(kept) < batches else [*kept[:place], loss, *kept[place + 1 :]]
        means.append(math.fsum(kept) / len(kept))
    return means


LOSSES = {
    "noise prediction, small batch": lambda dice: 0.002 + 0.5 * dice.random() ** 3,
    "flow matching": lambda dice: 0.2 + 1.2 * dice.betavariate(2, 3),
    "huber": lambda dice: 0.0005 + 0.05 * dice.random() ** 4,
    "heavy tail": lambda dice: 0.05 * math.exp(dice.gauss(0, 1.5)),
    "min-snr": lambda dice: 0.001 + 0.1 * dice.random() ** 6,
}


@pytest.mark.parametrize("fall", [0, 1], ids=["level", "falling tenfold"])
@pytest.mark.parametrize("batches", [1, 3, 40])
@pytest.mark.parametrize("kind", sorted(LOSSES))
def test_by_default_no_healthy_run_is_stopped(kind, batches, fall):
    """Noise of real kinds, level or falling over the run, one to forty batches an epoch."""
    for seed in range(3):
        dice = random.Random(f"{kind} {batches} {seed}")
        samples = [LOSSES[kind](dice) * 10 ** (-fall * number / 2000) for number in range(2000)]
        assert with_losses(trainer_means(samples, batches)) == (None, None)


def test_a_resumed_or_short_run_has_no_best_yet():
    assert with_losses([0.001] * (WINDOW // 2) + [10.0] * (WINDOW // 2 - 1)) == (None, None)


# -- stalls -----------------------------------------------------------------------------------------------------------


def test_no_step_for_long_enough_is_a_stall():
    state = trained()
    assert said(later(state, 599)) == []
    (stop,) = said(later(state, 601))
    assert (type(stop), stop.code) == (Stop, "progress.stalled")
    assert "while training, a step usually takes 1 s" in stop.why


def test_slow_steps_get_more_time():
    state = trained(pace=60.0)
    assert said(later(state, 1100)) == []
    assert codes(later(state, 1201)) == [(Stop, "progress.stalled")]


@pytest.mark.parametrize("phase", sorted(set(PHASES.values()) - {TRAINING}))
def test_other_phases_may_be_silent_four_times_as_long(phase):
    state = after(Phase(phase), state=trained())
    assert said(later(state, 600 * SLOW - 1)) == []
    assert codes(later(state, 600 * SLOW + 1)) == [(Stop, "progress.stalled")]


def test_the_first_steps_may_compile():
    state = after(Phase(TRAINING), step(1))
    assert said(later(state, 2000)) == []
    assert codes(later(state, 2401)) == [(Stop, "progress.stalled")]


@pytest.mark.parametrize(
    "event", [OtherBar("validation steps", 3, 9), OtherBar("", 4, 20), Epoch(2, 9), Phase("caching latents")]
)
def test_any_bar_or_phase_is_progress(event):
    state = after_event(later(trained(), 590), event, trained().now + 590)
    assert said(later(state, 300)) == []


def test_the_same_step_drawn_again_is_none():
    state = trained(10)
    again = after_event(later(state, 590), step(10), state.now + 590)
    assert codes(later(again, 11)) == [(Stop, "progress.stalled")]


def test_growing_files_are_progress_and_a_growing_log_only_outside_the_steps():
    caching = after(Phase("caching latents"))
    assert said(later(after_readings(caching, Readings(log=5), caching.now + 2390), 100)) == []
    training = trained()
    talking = after_readings(training, Readings(log=5), training.now + 590)
    assert codes(later(talking, 20)) == [(Stop, "progress.stalled")]
    writing = after_readings(training, Readings(output=5), training.now + 590)
    assert said(later(writing, 20)) == []


def test_stalls_are_configurable_and_can_be_switched_off():
    assert said(later(trained(stalled=None), 1e6)) == []
    assert codes(later(trained(stalled=Stalled(times=2, least_seconds=5)), 6)) == [(Stop, "progress.stalled")]


# -- disk -------------------------------------------------------------------------------------------------------------


def folder(name, written, mib, *, complete=True):
    return StateFolder(Path("/run/output") / name, written, mib * MIB, complete)


STATES = (
    folder("a-state", 1, 300),
    folder("b-state", 2, 300),
    folder("c-state", 3, 300),
    folder("d-state", 4, 50, complete=False),
)


def crowded(free, *, looks=2, states=(), writing=False, **changes):
    """A run whose disk holds so much more, looked at a few times."""
    state = replace(trained(**changes), checkpoints=(GOOD,))
    for _ in range(looks):
        state = after_readings(state, Readings(free=free, states=states, writing=writing), state.now + 1)
    return state


def test_a_disk_that_cannot_hold_the_next_save_stops_before_it():
    (stop,) = said(crowded(90 * MIB))
    assert (type(stop), stop.code) == (Stop, "disk.full")
    assert "the next save needs 95.4 MiB" in stop.why


@pytest.mark.parametrize(
    "state",
    [
        pytest.param(crowded(200 * MIB), id="room enough"),
        pytest.param(crowded(90 * MIB, looks=1), id="one look"),
        pytest.param(crowded(5 * MIB, writing=True), id="a save under way"),
        pytest.param(crowded(5 * MIB, disk="ignore"), id="switched off"),
        pytest.param(crowded(None), id="nobody knows"),
        pytest.param(
            after(Phase("saving a checkpoint"), state=replace(crowded(5 * MIB), short=0)), id="not in the steps"
        ),
    ],
)
def test_otherwise_it_goes_on(state):
    assert said(state) == []


def test_states_count_for_the_next_save():
    assert codes(crowded(300 * MIB, states=STATES)) == [(Stop, "disk.full")]


def test_before_the_first_save_the_plan_is_believed():
    state = replace(trained(), save_bytes=500 * MIB)
    for _ in range(2):
        state = after_readings(state, Readings(free=400 * MIB), state.now + 1)
    assert codes(state) == [(Stop, "disk.full")]


def test_by_policy_older_states_are_removed_instead_and_no_more_than_needed():
    (prune,) = said(crowded(300 * MIB, states=STATES, disk="prune_states"))
    assert isinstance(prune, Prune)
    assert [path.name for path in prune.folders] == ["a-state"]


def test_the_newest_complete_state_and_all_checkpoints_are_kept():
    assert [path.name for path in prunable(STATES, 600 * MIB)] == ["a-state", "b-state"]
    assert prunable(STATES, 601 * MIB) == ()  # nothing is removed in vain
    assert prunable((folder("a-state", 1, 300, complete=False),), 1) == ()
    assert prunable(STATES[:1], 1) == ()
    assert codes(crowded(1 * MIB, states=STATES[:1], disk="prune_states")) == [(Stop, "disk.full")]


# -- memory and the table ---------------------------------------------------------------------------------------------


def test_memory_that_is_nearly_used_up_is_a_warning():
    low = after_readings(trained(), Readings(memory=(300 * MIB, 64 << 30)), 20.0)
    assert codes(low) == [(Warn, "memory.low")]
    assert said(after_readings(trained(), Readings(memory=(8 << 30, 64 << 30)), 20.0)) == []


def test_every_code_is_in_the_documents():
    text = (Path(__file__).parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    for code in [code for guard in GUARDS for code in guard.codes]:
        assert f"`{code}`" in text, code
