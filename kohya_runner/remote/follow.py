"""A stay from its start to its end: asked, mirrored, brought back, verified by hashes, released.

Any command may go on with it, whatever became of the one before: all that is known stands in ``remote.json``.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from kohya_runner.engines.table import user_settings
from kohya_runner.errors import RemoteError, RunnerError
from kohya_runner.record.run_paths import RunPaths
from kohya_runner.remote import stay as stays
from kohya_runner.remote import sums
from kohya_runner.remote.kinds import open_place
from kohya_runner.remote.place import RemotePlace, Stay
from kohya_runner.remote.send_off import asked_for
from kohya_runner.safe_files import is_inside

Say = Callable[[str], None]
EVERY = 5.0  # seconds between two looks at another machine


class Stays:
    """The stay of one run, changed by this process alone while it is."""

    def __init__(self, run_dir: Path, environ: dict[str, str], say: Say) -> None:
        """``say`` gets a line for whatever takes long."""
        self.run_dir, self.say, self._environ = run_dir, say, environ

    def now(self) -> Stay:
        found = stays.read(self.run_dir)
        if found is None:
            raise RemoteError(f"{self.run_dir} is a run of this machine")
        return found

    def place(self, stay: Stay) -> RemotePlace:
        return open_place(stay.place, user_settings(self._environ))

    def save(self, stay: Stay) -> None:
        """Write it down; a new note is told."""
        before = stays.read(self.run_dir)
        stays.write(self.run_dir, stay)
        if stay.note and (before is None or before.note != stay.note):
            self.say(f"{stay.name}/{stay.number} at {stay.place}: {stay.note}")

    def begin(self) -> Stay:
        """Rent, send, start, or go on where an earlier client stopped; a stay that was lost is started again."""
        with stays.held(self.run_dir) as mine:
            stay = self.now()
            if not mine:
                raise RemoteError(f"{stay.name}/{stay.number}: another kohya-runner is sending it", hint=watch(stay))
            if stay.phase not in ("renting", "sending", "lost"):
                return stay
            job, offer = asked_for(self.run_dir)
            stay = self.place(stay).begin(job, offer, stay.changed(released=False), self.save)
            self.save(stay)
            return stay

    def look(self, *, finish: bool = True, everything: bool = False) -> Stay:
        """Ask the place and mirror what a screen reads; where it has ended and ``finish``: bring, verify, release.

        Raises ``RemoteError``: no answer, or what came back is damaged. Nothing is released then.
        """
        with stays.held(self.run_dir) as mine:
            stay = self.now()
            if not mine or not stay.is_open or stay.phase in ("renting", "sending"):
                return stay
            place = self.place(stay)
            if stay.phase in ("waiting", "running"):
                stay = self._asked(place, stay)
            if stay.phase == "lost":
                with contextlib.suppress(RemoteError):
                    place.bring(stay, self.run_dir, everything=False)
            elif stay.phase != "waiting" and not (stay.phase == "ended" and finish):
                place.bring(stay, self.run_dir, everything=everything)
            return self._finished(place, stay) if finish else stay

    def _asked(self, place: RemotePlace, stay: Stay) -> Stay:
        told = place.standing(stay)
        if told.phase in ("waiting", "running") and stay.overdue(time.time()):
            place.stop(stay, now=True)
        stay = stay.changed(phase=told.phase, code=told.code, said=told.text)
        stays.write(self.run_dir, stay)
        return stay

    def _finished(self, place: RemotePlace, stay: Stay) -> Stay:
        if stay.phase == "ended":
            self.say(f"{stay.name}/{stay.number} has ended at {stay.place}: bringing everything")
            place.bring(stay, self.run_dir, everything=True)
            stay = self._verified(place, stay)
        if stay.phase in ("returned", "lost") and not stay.released:
            stay = place.release(stay, verified=stay.phase == "returned").changed(released=True)
            self.save(stay)
        return stay

    def _verified(self, place: RemotePlace, stay: Stay) -> Stay:
        """Each file against its hash; what is not right is brought once more."""
        wrong = tuple(sums.wrong(self.run_dir))
        if wrong:
            self.say(f"damaged on the way, brought again: {', '.join(wrong)}")
            for path in (self.run_dir / name for name in wrong):
                if is_inside(path.parent, (self.run_dir,)):
                    path.unlink(missing_ok=True)
            place.bring(stay, self.run_dir, everything=True)
            wrong = tuple(sums.wrong(self.run_dir))
        if wrong:
            billed = f", which is still billed (${stay.price:g} an hour)" if stay.price else ""
            what = f"{stay.name}/{stay.number}: not what was made at {stay.place}: {', '.join(wrong)}"
            hint = f"nothing was deleted or released there{billed}; try again: {watch(stay)}"
            raise RemoteError(what, hint=hint)
        stay = stay.changed(phase="returned", note="everything is here, and its hashes are right")
        self.save(stay)
        return stay

    def stop(self, *, now: bool) -> Stay:
        """Ask the run to stop; what was not started yet is given up."""
        stay = self.now()
        if stay.phase in ("renting", "sending"):
            with stays.held(self.run_dir) as mine:
                if not mine:
                    raise RemoteError(f"{stay.name}/{stay.number} is being sent", hint="end that kohya-runner first")
                note = "stopped before it was started"
                stay = self.place(stay).release(stay.changed(phase="lost", note=note), verified=False)
                self.save(stay.changed(phase="lost", released=True))
        elif stay.phase in ("waiting", "running"):
            self.place(stay).stop(stay, now=now)
        return self.now()

    @contextlib.contextmanager
    def mirrored(self) -> Iterator[None]:
        """In the block the small files are renewed again and again; a connection that is cut is waited for."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(EVERY):
                with contextlib.suppress(RunnerError, OSError):
                    self.look(finish=False)

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join(1)


def watch(stay: Stay) -> str:
    return f"kohya-runner watch {stay.name}/{stay.number}"


def all_of(runs: Path, environ: dict[str, str], say: Say) -> tuple[Stays, ...]:
    return tuple(Stays(folder, environ, say) for folder in stays.folders(runs))


def stay_of(run_dir: Path, environ: dict[str, str], say: Say) -> Stays | None:
    """The stay of a run; None for a run of this machine."""
    return Stays(run_dir, environ, say) if RunPaths(run_dir).remote.is_file() else None
