"""Modal: a packaged app (modal_app.py) that the user's own client runs; models, caches and runs on two volumes.

Modal shows no prices, and its client checks neither hours nor cards: they are checked here.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from kohya_runner.errors import RemoteError
from kohya_runner.plan.pipeline import recipe_packages
from kohya_runner.record.run_paths import RECIPE, RunPaths
from kohya_runner.remote import engine
from kohya_runner.remote.hub_repo import LARGE, STOPS
from kohya_runner.remote.machine import RUN, SHIPPED, sources_here
from kohya_runner.remote.place import Ask, Billed, Job, RemoteOffer, RemotePlace, Standing, Stay
from kohya_runner.safe_files import read_json
from kohya_runner.text import did_you_mean

_APP = Path(__file__).with_name("modal_app.py")
_OVER = ("stopped", "disabled", "stopping...")
_TOKEN = "is there a token? modal setup"  # noqa: S105 - a hint


class ModalPlace(RemotePlace):
    """Its containers may be taken away at any time; each start goes on where the last one was."""

    KIND: ClassVar[str] = "modal"
    gpu: str = Field("", description="the card, as Modal calls it (L40S, H100); else those that bear the run")
    environment: str = Field("", description="Modal's environment")
    secrets: tuple[str, ...] = Field((), description="names of Modal Secrets that the run gets")
    stays: str = Field("kohya-runner-stays", description="the volume of the runs")
    shared: str = Field("kohya-runner-shared", description="the volume of models and caches")
    price: float | None = Field(None, gt=0, description="dollars an hour of one card: Modal's client tells no price")
    hours: float = Field(72, gt=0, description="after so many hours a run is stopped, where --max-hours is not given")

    def _problems(self, ask: Ask) -> Iterator[str]:
        told = engine.facts()["modal"]
        cards, card, most = told["gpus"], self._card(ask), told["hours"] * (told["retries"] + 1)
        if card and card not in cards:
            yield f"Modal has no card {card}; {did_you_mean(card, cards) or ', '.join(cards)}"
        elif card and ask.gpus > cards[card][1]:
            yield f"Modal has at most {cards[card][1]} x {card} in one machine, {ask.gpus} are asked for"
        if ask.nodes > 1:
            yield "several machines need a folder that shows at once what another one wrote, and Modal's volumes do not"
        if ask.spot:
            yield "Modal has no spot price, each of its containers may be taken away: leave --spot out"
        if ask.max_price is not None and self.price is None:
            yield f"Modal's client tells no price: write places.{self.name}.price, or leave --max-price out"
        if (ask.max_hours or self.hours) > most:
            yield f"a run on Modal can have at most {most} hours: {told['retries'] + 1} starts of {told['hours']} each"
        if not self._client():
            yield f"Modal's client is not installed: {engine.facts()['install']['modal']}"

    def _card(self, ask: Ask) -> str:
        word = (ask.gpu or self.gpu).upper()
        return str(engine.facts()["modal"]["same"].get(word, word))

    def _client(self) -> tuple[str, ...]:
        """Beside this Python, else the user's own."""
        if importlib.util.find_spec("modal"):
            return (str(Path(sys.executable).with_name("modal")),)
        found = shutil.which("modal")
        return (found,) if found else ()

    def _call(self, *words: str, doing: str, show: bool = False, env: Mapping[str, str] | None = None) -> str:
        environ = {**self._environ(), **(env or {})}
        return engine.call((*self._client(), *words), f"Modal, {doing}", hint=_TOKEN, show=show, env=environ)

    def _environ(self) -> dict[str, str]:
        return {"MODAL_ENVIRONMENT": self.environment} if self.environment else {}

    def offers(self, ask: Ask) -> tuple[RemoteOffer, ...]:
        """The card that is named, else those that bear the run, the smallest first; no price but the settings'."""
        cards: Mapping[str, list[int]] = engine.facts()["modal"]["gpus"]
        least, card = (ask.vram_bytes or 0) / 1e9, self._card(ask)
        fitting = [card] if card else sorted((c for c in cards if cards[c][0] >= least), key=lambda c: cards[c][0])
        price = self.price * ask.gpus if self.price is not None and card else None
        note = "" if price is not None else "Modal tells no price: modal.com/pricing"
        found = (RemoteOffer(c, ask.gpus, price, "Modal", note, {"gpu": c}) for c in fitting if cards[c][1] >= ask.gpus)
        return tuple(one for one in found if ask.max_price is None or (one.price or 0) <= ask.max_price)

    def render(self, job: Job, offer: RemoteOffer | None) -> Mapping[str, str]:
        name, gpu = engine.label(job), offer.spec["gpu"] if offer else self._card(job.ask)
        lines = (
            f"modal volume create {self.stays}",
            f"modal volume put -f {self.stays} {engine.PARCEL} /{name}/{engine.PARCEL}",
            f"modal run --detach --name {name} modal_app.py::main",
            f"modal volume get {self.stays} {name}/{engine.run_there(job.name)} .",
        )
        return {
            "modal_app.py": _APP.read_text(encoding="utf-8"),
            "job.json": json.dumps(self._job(job, gpu), indent=2) + "\n",
            "commands.txt": "\n".join(lines) + "\n",
        }

    def _job(self, job: Job, gpu: str) -> dict[str, Any]:
        """What modal_app.py reads; of secrets only the names."""
        told, name, hours = engine.facts()["modal"], engine.label(job), job.ask.max_hours or self.hours
        folder, trainer = f"/stays/{name}", recipe_packages(job.pack / RECIPE, (), ())[0]
        more = {"hours": hours, "again": 2, "environment": told["environment"]}
        return {
            "name": name, "gpu": f"{gpu}:{job.ask.gpus}" if job.ask.gpus > 1 else gpu,
            "timeout": int(min(told["hours"], hours) * 3600), "retries": min(told["retries"], math.ceil(hours / 24)),
            "volumes": {"stays": self.stays, "shared": self.shared}, "secrets": list(self.secrets),
            "variables": list(job.values(os.environ)), "python": told["python"], "packages": told["packages"],
            "folders": {name: str(path) for name, path in sources_here().items() if path.is_dir()},
            "files": {name: str(path) for name, path in sources_here().items() if path.is_file()},
            "shipped": SHIPPED, "setup": told["setup"].format(engine=trainer),
            "run": engine.run_there(job.name), "stops": list(STOPS),
            "log": RunPaths(Path()).remote_log.name, "large": list(LARGE), "tick": 10, "every": 180,
            "script": engine.node_script(job, f"{folder}/{engine.PARCEL}"),
            "environment": engine.node_environment(job, folder, "/shared", **more),
        }  # fmt: skip

    def begin(self, job: Job, offer: RemoteOffer, stay: Stay, save: Callable[[Stay], None]) -> Stay:
        name = engine.label(job)
        stay = stay.changed(ticket={"name": name}, root=f"{self.stays}:/{name}", price=offer.price, gpu=offer.gpu,
                            phase="sending", note="pictures and runner go to a volume")  # fmt: skip
        save(stay)
        if (row := self._app(name)) is None:
            self._send(job, name)
            with tempfile.TemporaryDirectory() as folder:
                for file, text in self.render(job, offer).items():
                    (Path(folder) / file).write_text(text, encoding="utf-8")
                argv = ("run", "--detach", "--name", name, f"{folder}/{_APP.name}::main")
                self._call(*argv, doing="starting the app", show=True, env=job.values(os.environ))
            row = self._app(name)
        ticket = {**stay.ticket, "app": row["app_id"] if row else ""}
        stay = stay.changed(ticket=ticket, phase="waiting", paid_from=time.time(), note="the app is started")
        save(stay)
        return stay

    def _send(self, job: Job, name: str) -> None:
        with suppress(RemoteError):  # it is there
            self._call("volume", "create", self.stays, doing="making a volume")
        with engine.parcel(job) as file:
            there = f"/{name}/{engine.PARCEL}"
            self._call("volume", "put", "-f", self.stays, str(file), there, doing="sending", show=True)

    def _apps(self) -> list[dict[str, str]]:
        """Ours that are not over, the newest first."""
        argv = (*self._client(), "app", "list", "--json")
        rows: Any = engine.answer(argv, "Modal, listing apps", hint=_TOKEN, env=self._environ())
        return [r for r in rows if r["description"].startswith(engine.MARK) and r["state"] not in _OVER]

    def _app(self, name: str) -> dict[str, str] | None:
        return next((row for row in self._apps() if row["description"] == name), None)

    def standing(self, stay: Stay) -> Standing:
        row = self._app(stay.ticket.get("name", ""))
        running = row is not None and int(row["tasks"]) > 0
        code = None if running else self._ended(stay)
        if row is None or code is not None:
            return engine.over("the app is over", code, f"the volume {stay.root}")
        text = f"{row['state']}, {row['tasks']} container(s)"
        return Standing("running" if running else "waiting", text, billed=running)

    def _ended(self, stay: Stay) -> int | None:
        there = f"{stay.ticket['name']}/exit-code"
        try:
            return int(self._call("volume", "get", self.stays, there, "-", doing="asking for its end"))
        except (RemoteError, ValueError):
            return None

    def bring(self, stay: Stay, into: Path, *, everything: bool) -> None:
        """Everything, or what modal_app.py packs for a screen: nothing where it has packed nothing yet."""
        names = RunPaths(Path())
        into.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=into, prefix=".coming-") as folder:
            found = Path(folder)
            if everything:
                for what in (names.sums, names.remote_log):
                    self._get(stay, what.name, folder)
                if read_json(found / names.sums).get("files"):
                    self._get(stay, engine.run_there(stay.name), folder, show=True)
                    engine.move(found / RUN, found)
            else:
                with suppress(RemoteError):
                    self._get(stay, "view.tar", folder)
                    with tarfile.open(found / "view.tar") as view:
                        view.extractall(found, filter="data")
                    (found / "view.tar").unlink()
            engine.move(found, into)

    def _get(self, stay: Stay, what: str, folder: str, *, show: bool = False) -> None:
        there = f"{stay.ticket['name']}/{what}"
        self._call("volume", "get", "--force", self.stays, there, folder, doing=f"fetching {what}", show=show)

    def stop(self, stay: Stay, *, now: bool) -> None:
        there = f"/{stay.ticket['name']}/{STOPS[now]}"
        with tempfile.NamedTemporaryFile() as file:
            self._call("volume", "put", "-f", self.stays, file.name, there, doing="asking the run to stop")

    def release(self, stay: Stay, *, verified: bool) -> Stay:
        if not (name := stay.ticket.get("name")):
            return stay  # it did not come to that
        if (row := self._app(name)) is not None:
            self._call("app", "stop", "-y", row["app_id"], doing="stopping the app")
        if verified:
            self._call("volume", "rm", "-r", self.stays, f"/{name}", doing="emptying the volume")
        return stay.changed(paid_until=stay.paid_until or time.time())

    def billed(self) -> tuple[Billed, ...]:
        if not self._client():
            return ()
        ours = {r["app_id"]: r["description"] for r in self._apps() if int(r["tasks"])}
        return tuple(Billed(self.name, f"{name} ({app})", None, f"modal app stop {app}") for app, name in ours.items())
