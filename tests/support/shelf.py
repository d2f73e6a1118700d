"""A kind of place in this process: a folder. It fails where a test says so."""

# ruff: noqa: ARG002 - a place is asked more than a folder needs
from __future__ import annotations

import time
from pathlib import Path
from typing import ClassVar

from kohya_runner.remote.place import Billed, RemoteOffer, RemotePlace, Standing


class Shelf(RemotePlace):
    """A folder here. ``happened`` is what was asked of it; what stands in ``fails`` raises once."""

    KIND: ClassVar[str] = "shelf"
    happened: ClassVar[list[str]] = []
    fails: ClassVar[dict[str, BaseException]] = {}
    now: ClassVar[Standing] = Standing("running", "step 3")
    there: str = ""

    def did(self, what: str) -> None:
        self.happened.append(what)
        if fault := self.fails.pop(what, None):
            raise fault

    def offers(self, ask):
        return (RemoteOffer("card", 1, 2.0),)

    def render(self, job, offer):
        return {}

    def begin(self, job, offer, stay, save):
        self.did("rent")
        save(stay.changed(phase="sending", paid_from=time.time(), root=self.there))
        self.did("send")
        return stay.changed(phase="running", paid_from=time.time(), root=self.there)

    def standing(self, stay):
        self.did("standing")
        return self.now

    def bring(self, stay, into, *, everything):
        self.did("bring all" if everything else "bring small")
        for path in Path(stay.root).iterdir() if everything else ():
            (into / path.name).write_bytes(path.read_bytes())

    def stop(self, stay, *, now):
        self.did("stop now" if now else "stop")

    def release(self, stay, *, verified):
        self.did(f"release {'verified' if verified else 'what is not verified'}")
        return stay.changed(paid_until=time.time())

    def billed(self):
        return (Billed("shelf", "x", 2.0, "running"),)
