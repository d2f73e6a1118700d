"""Observers and screens for tests."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Onlooker:
    """Hears the events in a list; ``asks`` is what it says at every look."""

    events: list = field(default_factory=list)
    asks: object = staticmethod(lambda: None)

    def event(self, event):
        self.events.append(event)

    def tick(self):
        return self.asks()


@dataclass
class Lines:
    """A screen that keeps what it is shown."""

    lasting: list = field(default_factory=list)

    def event(self, line, *, lasting):
        if lasting:
            self.lasting.append(line)

    def notice(self, line):
        self.lasting.append(line)
