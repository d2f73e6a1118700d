"""The fullest moment is the sum of the most checkpoints and the most states: no cadence keeps them apart."""

from __future__ import annotations

import itertools

import pytest

from kohya_runner.engines.steps_plan import SavePlan, SaveSettings, plan_saves

STATE = 3  # a state is three checkpoints big


def fullest(plan: SavePlan) -> int:
    """How much lies there at once, counted at every single write."""
    present: dict[str, None] = {}
    seen = []
    for event in plan.events:
        if event.removed:
            present.pop(event.name, None)
        else:
            present[event.name] = None
        seen.append(sum(STATE if name.endswith("-state") else 1 for name in present))
    return max(seen)


@pytest.mark.parametrize("every_epochs", [None, 1, 3])
@pytest.mark.parametrize("every_steps", [None, 7, 20])
def test_the_most_of_both_kinds_lies_there_at_the_same_time(every_epochs, every_steps):
    choices = itertools.product((None, 1, 3), (None, 1, 4), (None, 10, 30), (False, True), (False, True))
    for keep, keep_states, keep_steps, state, at_end in choices:
        settings = SaveSettings(
            "n",
            save_every_n_epochs=every_epochs,
            save_every_n_steps=every_steps,
            save_last_n_epochs=keep,
            save_last_n_epochs_state=keep_states,
            save_last_n_steps=keep_steps,
            save_state=state,
            save_state_on_train_end=at_end,
        )
        made = plan_saves(settings, total=100, steps_per_epoch=10, epochs=10)
        assert fullest(made) == made.most_checkpoints + STATE * made.most_states
