"""The fullest moment is the sum of the most checkpoints and the most states: no cadence keeps them apart."""

from __future__ import annotations

import itertools

import pytest

from kohya_runner.engines import steps_plan
from kohya_runner.engines.steps_plan import SaveSettings, plan_saves

STATE = 3  # a state is three checkpoints big


@pytest.fixture
def fullest(monkeypatch):
    """Plans the saves and returns how much lay there at once, counted at every single write."""
    shelves: list[steps_plan._Shelf] = []
    seen: list[int] = []

    class Watched(steps_plan._Shelf):
        def take(self, event: steps_plan.SaveEvent) -> None:
            super().take(event)
            if not any(self is shelf for shelf in shelves):
                shelves.append(self)
            names = [n for shelf in shelves for n in shelf.present]
            seen.append(sum(STATE if n.endswith("-state") else 1 for n in names))

    monkeypatch.setattr(steps_plan, "_Shelf", Watched)

    def plan(settings: SaveSettings):
        shelves.clear()
        seen.clear()
        made = plan_saves(settings, total=100, steps_per_epoch=10, epochs=10)
        return made, max(seen)

    return plan


@pytest.mark.parametrize("every_epochs", [None, 1, 3])
@pytest.mark.parametrize("every_steps", [None, 7, 20])
def test_the_most_of_both_kinds_lies_there_at_the_same_time(fullest, every_epochs, every_steps):
    choices = itertools.product((None, 1, 3), (None, 1, 4), (None, 10, 30), (False, True), (False, True))
    for keep, keep_states, keep_steps, state, at_end in choices:
        made, most = fullest(
            SaveSettings(
                "n",
                save_every_n_epochs=every_epochs,
                save_every_n_steps=every_steps,
                save_last_n_epochs=keep,
                save_last_n_epochs_state=keep_states,
                save_last_n_steps=keep_steps,
                save_state=state,
                save_state_on_train_end=at_end,
            )
        )
        assert most == made.most_checkpoints + STATE * made.most_states
