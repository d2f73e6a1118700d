"""The runs of a sweep at a place: in turn, a stay after the other, or as one array on a Slurm cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kohya_runner.errors import RemoteError, StalledError
from kohya_runner.plan.value import Plan, Request
from kohya_runner.record import ledger
from kohya_runner.remote import send_off
from kohya_runner.remote.follow import EVERY, Stays
from kohya_runner.remote.place import Ask, RemoteOffer, RemotePlace
from kohya_runner.remote.slurm import SlurmPlace
from kohya_runner.run import views
from kohya_runner.run.observers import Reporter
from kohya_runner.run.run_status import StatusReader
from kohya_runner.sweep.purse import PurseWatch
from kohya_runner.sweep.turns import Sweep, plan_within, refused, take_turns
from kohya_runner.sweep.variants import Variant

UNSENT = ("renting", "sending")


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Where the runs go: the offer that was consented to, and what is asked of the place."""

    place: RemotePlace
    ask: Ask
    offer: RemoteOffer
    screen: Reporter
    prepared: Callable[[Plan], Plan]

    def say(self, text: str) -> None:
        self.screen.event(text, lasting=True)

    def train(self, sweep: Sweep, asked: Sequence[tuple[Variant, Request]]) -> None:
        if isinstance(self.place, SlurmPlace):
            self._array(self.place, sweep, asked)
        else:
            take_turns(sweep, asked, self.screen, self.turn)

    def turn(self, sweep: Sweep, variant: Variant, request: Request) -> int:
        """One run, from its start there to its verified results; its exit code."""
        folder = self._sent(sweep, variant, request, sweep.left)
        return self._followed(sweep, variant, folder)

    def _array(self, place: SlurmPlace, sweep: Sweep, asked: Sequence[tuple[Variant, Request]]) -> None:
        """All at once: what is left in the purse is shared out among them."""
        left = None if sweep.left is None else sweep.left / len(asked)
        sent = [(one, folder) for one, request in asked if (folder := self._sent(sweep, one, request, left))]
        new = [(folder, stay) for _, folder in sent if (stay := Stays(folder, {}, self.say).now()).phase in UNSENT]
        if new:
            jobs = [send_off.asked_for(folder)[0] for folder, _ in new]
            folders = {stay.name: Stays(folder, dict(os.environ), self.say) for folder, stay in new}
            begun = [stay for _, stay in new]
            place.begin_array(jobs, self.offer, begun, lambda stay: folders[stay.name].save(stay))

        def turn(sweep: Sweep, variant: Variant, _: Request) -> int:
            return self._followed(sweep, variant, {one.name: folder for one, folder in sent}.get(variant.name))

        take_turns(sweep, asked, self.screen, turn)

    def _sent(self, sweep: Sweep, variant: Variant, request: Request, left: float | None) -> Path | None:
        """The folder of the stay that goes on, or of a new one; None where there is nothing to do."""
        going = send_off.open_stay(sweep.runs, variant.name, resume=True)
        row = next(row for row in sweep.rows() if row.variant == variant)
        if going is not None or (row.state == "succeeded" and sweep.same(variant)):
            sweep.codes[variant.name] = 0
            return going
        asked = replace(request, elsewhere=True, resume=False)
        made = plan_within(asked, left, self.prepared)
        if code := refused(sweep, variant, made, left):
            sweep.codes[variant.name] = code
            return None
        hours = None if left is None else left / 3600
        ask = replace(send_off.with_needs(self.ask, made), max_hours=hours)
        return send_off.claimed(replace(made, request=request), self.place, ask, self.offer)

    def _followed(self, sweep: Sweep, variant: Variant, folder: Path | None) -> int:
        """Until everything is here, verified and released; a stay that was cut goes on."""
        if folder is None:
            return sweep.codes.get(variant.name, 0)
        stays = Stays(folder, dict(os.environ), self.say)
        stays.begin()
        reader = StatusReader(stays.run_dir)
        watch = PurseWatch(stays.run_dir, sweep.saves[variant.name], sweep.left,
                           lambda _, when: stays.stop(now=when != "after-save"))  # fmt: skip
        watch.start()
        try:
            while (stay := stays.look()).is_open:
                look = reader.look()
                self.screen.event(
                    f"{variant.name} at {stay.place}: {look.phase}, step {look.step}/{look.total or '?'}", lasting=False
                )
                time.sleep(EVERY / 5)
        finally:
            watch.over.set()
        if stay.phase == "lost":
            sweep.said[variant.name] = f"lost at {stay.place}: {stay.said or stay.note}"
            return RemoteError.exit_code
        view = ledger.view(stays.run_dir)
        if watch.asked:
            sweep.said[variant.name] = f"the purse is empty: {view.problem}"
            return StalledError.exit_code
        sweep.said[variant.name] = view.problem if view.state != "succeeded" else ""
        return views.exit_code(view) if view.record else stay.code or RemoteError.exit_code
