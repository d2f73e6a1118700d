"""``launch --on``, ``runs --remote``, and what the other commands do first about a run on another machine."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kohya_runner.errors import CancelledError, RemoteError, RunExistsError, UsageError
from kohya_runner.record import ledger
from kohya_runner.record.record import LIVE
from kohya_runner.record.run_paths import RunPaths, next_run
from kohya_runner.run import views
from kohya_runner.safe_files import write_text
from kohya_runner.show import console

if TYPE_CHECKING:
    from kohya_runner.plan.value import Plan
    from kohya_runner.remote.follow import Stays
    from kohya_runner.remote.place import Ask, Billed, RemoteOffer, RemotePlace, Stay


@dataclass(frozen=True, slots=True)
class OnOptions:
    """The options of ``launch`` that are for a place."""

    on: str | None = None
    gpu: str | None = None
    nodes: int = 1
    spot: bool = False
    max_price: float | None = None
    max_hours: float | None = None
    render: Path | None = None
    yes: bool = False

    @property
    def ask(self) -> Ask:
        """What is asked of the place, before a plan says what the run needs."""
        from kohya_runner.remote.place import Ask

        return Ask(self.gpu, 1, self.nodes, self.spot, self.max_price, self.max_hours)

    @property
    def stray(self) -> tuple[str, ...]:
        """Those that were given although no place was."""
        unset = OnOptions(on=self.on)
        names = [name for name in self.__slots__ if getattr(self, name) != getattr(unset, name)]
        return tuple(f"--{name.replace('_', '-')}" for name in names) if self.on is None else ()


def fitting(word: str, ask: Ask) -> RemotePlace:
    """The place of this name, where it can do what is asked as far as its settings tell; nobody is asked.

    Raises ``UsageError``: there is no such place, or it cannot.
    """
    from kohya_runner.engines.table import user_settings
    from kohya_runner.remote.kinds import open_place

    place = open_place(word, user_settings(os.environ))
    if unfit := place.problems(ask):
        raise UsageError("; ".join(unfit))
    return place


def send(made: Plan, options: OnOptions, *, dry_run: bool, detach: bool, as_json: bool) -> int:
    """Hand a plan to a place: offers, a question, then the stay to its end; the exit code."""
    from kohya_runner.remote import send_off
    from kohya_runner.remote.follow import Stays, watch

    ask = send_off.with_needs(options.ask, made)
    place = fitting(options.on or "", ask)
    going = send_off.open_stay(made.workspace.runs, made.name, resume=made.request.resume)
    if going is not None and not made.request.resume:
        name = f"{going.parent.name}/{going.name}"
        hint = f"go on with it: add --resume, or: kohya-runner watch {name}; end it: kohya-runner stop {name}"
        raise RunExistsError(f"{name} is at a place already", hint=hint)
    if going is None or dry_run or options.render is not None:
        offer = chosen(place, ask, options, as_json=as_json)
        if options.render is not None:
            return _rendered(made, place, ask, offer, options.render)
        if dry_run:
            if as_json:
                console.json_object({"version": 1, "ok": True, "place": place.name, "offer": asdict(offer)})
            return 0
        consented(place, offer, ask, yes=options.yes)
        going = send_off.claimed(made, place, ask, offer)
    stays = Stays(going, dict(os.environ), console.note)
    if stays.now().phase == "lost":  # what it needs is rented anew
        job, offer = send_off.asked_for(going)
        consented(place, offer, job.ask, yes=options.yes)
    try:
        stay = stays.begin()
    except KeyboardInterrupt:
        hint = f"go on with: {watch(stays.now())}; give it up with: kohya-runner stop {made.name}"
        raise CancelledError("stopped by Ctrl-C while it was sent", hint=hint) from None
    return attended(stays, stay, made.request.workspace, detach=detach, as_json=as_json)


def attended(stays: Stays, stay: Stay, workspace: str | None, *, detach: bool, as_json: bool) -> int:
    """Watch a stay to its end, unless it is to be left alone; the exit code."""
    from kohya_runner.commands import live

    name = f"{stay.name}/{stay.number}"
    if detach or as_json:
        facts = {"name": stay.name, "run_id": stay.number, "path": str(stays.run_dir), "place": stay.place}
        if as_json:
            console.json_object({"version": 1, "ok": True, **facts, "phase": stay.phase, "ticket": stay.ticket})
        else:
            console.say(name)
        return 0
    where = f" --workspace {workspace}" if workspace else ""
    console.note(f"{name} goes on without this terminal; see: kohya-runner watch, logs -f, stop {name}{where}")
    return watched(stays, lambda: live.watch_run(workspace, name, live.WatchOptions()))


def chosen(place: RemotePlace, ask: Ask, options: OnOptions, *, as_json: bool) -> RemoteOffer:
    """The cheapest offer, once all were shown."""
    from kohya_runner.remote.send_off import offer_rows

    offers = place.offers(ask)
    if not offers:
        raise RemoteError(f"{place.name} has nothing of what is asked", hint="ask for another --gpu, or try later")
    if not as_json:
        console.table(("offer", "$/h", "where", ""), tuple(offer_rows(offers)), empty="")
    first = offers[0]
    if options.max_price is not None and first.price is not None and first.price > options.max_price:
        message = f"the cheapest costs ${first.price:.2f} an hour, more than --max-price {options.max_price:g}"
        raise RemoteError(message, hint="nothing was rented; raise --max-price, or ask for another --gpu")
    return first


def consented(place: RemotePlace, offer: RemoteOffer, ask: Ask, *, yes: bool) -> None:
    """What costs money needs a word from outside the recipe."""
    if offer.price is None or yes:
        return
    if ask.max_hours is not None:
        most = f"at most ${offer.price * ask.max_hours:.2f} ({ask.max_hours:g} h at ${offer.price:.2f})"
    else:
        most = f"${offer.price:.2f} an hour, without a limit of hours"
    what = f"Rent {offer.gpus} x {offer.gpu} at {place.name} for {most}?"
    if not sys.stdin.isatty():
        raise UsageError(what, hint="add --yes; a limit is --max-hours N")
    if not click.confirm(what, default=False, err=True):
        raise CancelledError("nothing was rented")


def _rendered(made: Plan, place: RemotePlace, ask: Ask, offer: RemoteOffer, folder: Path) -> int:
    from kohya_runner.remote.send_off import job_of

    number = next_run(made.workspace.runs / made.name).name
    if (folder / number).exists():
        raise UsageError(f"{folder / number} is there already", hint="name another folder for --render")
    job = job_of(made, ask, offer, folder.absolute() / number)
    for name, text in place.render(job, offer).items():
        write_text(folder / name, text)
        console.say(str(folder / name))
    return 0


def stays_in(runs: Path) -> bool:
    """Whether any run is or was at a place, without reading one."""
    return any(os.path.lexists(RunPaths(path).remote) for path in ledger.folders(runs))


def stay_of(workspace: str | None, word: str | None) -> Stays | None:
    """The stay of the run that a person means; None for one of this machine, at no cost where there is no stay."""
    runs = views.runs_folder(workspace)
    if not stays_in(runs):
        return None
    from kohya_runner.remote.follow import stay_of as found

    return found(ledger.find(runs, word).path, dict(os.environ), console.note)


def refresh(workspace: str | None, word: str | None, *, everything: bool = False) -> Stays | None:
    """Before a command reads a run that is on another machine: its files of now, or why they are older."""
    stays = stay_of(workspace, word)
    with told():
        if stays is not None:
            stays.look(everything=everything)
    return stays


def refresh_all(workspace: str | None) -> None:
    """The same of every run that is at a place."""
    runs = views.runs_folder(workspace)
    if stays_in(runs):
        from kohya_runner.remote.follow import all_of

        for stays in all_of(runs, dict(os.environ), console.note):
            with told():
                stays.look()


def mirrored(stays: Stays | None) -> contextlib.AbstractContextManager[None]:
    """The run's files renewed again and again while the block is followed."""
    return contextlib.nullcontext() if stays is None else stays.mirrored()


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What a place could not do is said, and what is here already is shown."""
    try:
        yield
    except (RemoteError, UsageError) as fault:
        console.note(f"WARNING {fault.message}; what follows is as it was known before. {fault.hint}".rstrip())


def watched(stays: Stays, show: Callable[[], int]) -> int:
    """Show a run that is at a place; once it has ended, bring everything, verify and release. The exit code."""
    with stays.mirrored():
        code = show()
    if ledger.view(stays.run_dir).state in LIVE:  # left alone
        return code
    return closed(stays)


def closed(stays: Stays) -> int:
    """Wait until the other side has hashed what it made, then bring, verify and release; the exit code of the run."""
    from kohya_runner.remote.follow import EVERY

    while (stay := stays.look()).is_open and stay.phase not in ("renting", "sending"):
        time.sleep(EVERY / 5)
    if stay.phase == "lost":
        hint = "start it again where it was, from its last saved state: launch RECIPE --on PLACE --resume"
        raise RemoteError(f"{stay.name}/{stay.number} is lost at {stay.place}: {stay.said or stay.note}", hint=hint)
    view = ledger.view(stays.run_dir)
    return views.exit_code(view) if view.record else stay.code or RemoteError.exit_code


def stop(stays: Stays, *, now: bool, wait: bool) -> int:
    """Stop a run that is at a place, and bring what it saved; the exit code of the command."""
    console.note(f"stopping {stays.run_dir.parent.name}/{stays.run_dir.name} {'now' if now else 'after its next save'}")
    stay = stays.stop(now=now)
    if wait and stay.phase not in ("lost", "renting", "sending"):
        closed(stays)
    return 0


def runs_remote(workspace: str | None, *, as_json: bool) -> None:
    """Every run that is or was at a place, and what is billed there now."""
    from kohya_runner.engines.table import user_settings
    from kohya_runner.remote.follow import all_of
    from kohya_runner.remote.kinds import open_place, places, with_kinds_alone

    found = []
    for stays in all_of(views.runs_folder(workspace), dict(os.environ), console.note):
        with told():  # of one that cannot be read, too: what is billed is told all the same
            try:
                stays.look()
            finally:
                found.append(stays.now())
    settings = user_settings(os.environ)
    named = {place.name: place for place in places(settings)}
    asked = {place.name: place for place in with_kinds_alone(named.values())}
    sure = {*named, *(stay.place for stay in found)}  # what nobody named may lack its key: that is no news
    billed: list[Billed] = []
    for name in dict.fromkeys((*asked, *(stay.place for stay in found))):
        with told() if name in sure else contextlib.suppress(RemoteError):
            billed += (asked.get(name) or open_place(name, settings)).billed()
    billed = [*{one.what: one for one in billed}.values()]  # two places may be of one account
    if as_json:
        every = [{**stay.model_dump(), "cost": stay.cost(time.time())} for stay in found]
        console.json_object({"version": 1, "stays": every, "billed": [asdict(one) for one in billed]})
        return
    console.table(("run", "place", "phase", "gpu", "$/h", "$", ""), [_row(stay) for stay in found], empty="no stays")
    rows = [(one.place, one.what, _money(one.price), one.run or "no run of this workspace", one.text) for one in billed]
    console.table(("billed now", "what", "$/h", "run", ""), rows, empty="nothing is billed at the places that say so")


def _row(stay: Stay) -> tuple[str, ...]:
    cost = stay.cost(time.time())
    said = stay.note if stay.phase in ("returned", "sending", "renting") else stay.said
    name = f"{stay.name}/{stay.number}"
    return name, stay.place, stay.phase, stay.gpu, _money(stay.price), _money(cost), said


def _money(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
