"""The trainer's output, read as it comes: bytes in, events out.

Lines of the scripts go to stdout, log records and bars to stderr (train_network.py:1394-1407 and :879,
library/utils.py:62); both end up in one file. Records are laid out in columns by rich and wrapped there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from kohya_runner.diagnosis import events
from kohya_runner.diagnosis.line_shapes import Wrapped, bar_event, continuation, find_bar, record
from kohya_runner.tables import read_table

STAGE = "kohya-runner stage: "
"""How the runner's own line begins in the log of a run with several processes; what the next one does comes after."""
STARTING = "starting"
TRAINING = "training"
SAVING = "saving a checkpoint"

WORDS = read_table(Path(__file__).with_name("words.toml"))
PHASES: Mapping[str, str] = WORDS["phases"]  # how a line begins, and what the trainer does from then on
PAID_FOR: Mapping[str, str] = WORDS["paid_for"]
"""What the minutes of a phase are paid for; those of any other are set-up."""
FACTS: Mapping[str, str] = WORDS["facts"]  # how a line begins, and the name of its number in ``StepsPlan``

_NUMBER = re.compile(r"[:=]\s*(\d+)\s*$")
_EPOCH = re.compile(r"epoch (\d+)/(\d+)\s*$")
_MODULES = re.compile(r"(create|enable) (?:LoRA|\w+Module|modules) for (.+?):? (\d+) modules")
_WRITTEN = re.compile(r"(?:saving checkpoint:|saving model:|save trained model as .+? to) (.+)$")
_REMOVED = re.compile(r"removing old (?:checkpoint|model): (.+)$")
_LOGGED = re.compile(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d - [A-Z]+ - \S+ - ")
"""How a record of diffusers' examples begins (train_instruct_pix2pix.py:460)."""
_WRAPS = ("saving checkpoint:", "saving model:", "save trained model as", "removing old ")
_ENDS = re.compile(rb"[\r\n]")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_LONGEST = 1 << 16  # bytes; a longer line is none of the trainer's


class Stream:
    """Reads a stream in pieces of any size; a bar without an end of line counts as soon as it is complete."""

    def __init__(self) -> None:
        self._rest = b""
        self._wrapped: Wrapped | None = None
        self._bar = ""  # the last one, which is often printed twice
        self._phase = ""
        self._staged = False  # the runner has said what this process does: its own words are not looked at
        self._step = -1

    def feed(self, data: bytes) -> list[events.Event]:
        *lines, self._rest = _ENDS.split(self._rest + data)
        found = [event for line in lines for event in self._line(line)]
        if len(self._rest) > _LONGEST:
            found += self._line(self._rest)
            self._rest = b""
        return found + list(self._unended())

    def close(self) -> list[events.Event]:
        """The events in the last line, which has no end of line."""
        line, self._rest = self._rest, b""
        return [*self._line(line), *self._unwrap()]

    def _unended(self) -> Iterator[events.Event]:
        """A bar stands without an end of line until its next state; waiting for it would lag by a whole step."""
        if not self._rest.rstrip().endswith(b"]"):
            return
        text = _ANSI.sub("", self._rest.decode("utf-8", "replace"))
        if (match := find_bar(text)) and not text[match.end() :].strip():
            yield from self._drawn(match)

    def _line(self, line: bytes) -> Iterator[events.Event]:
        text = _ANSI.sub("", line.decode("utf-8", "replace")).rstrip()
        if not text:
            return
        if self._wrapped and (more := continuation(text)) is not None:
            self._wrapped = self._wrapped.joined(more)
            return
        yield from self._unwrap()
        if match := find_bar(text):
            yield from self._drawn(match)
            text = text[match.end() :].rstrip()  # a record may follow on the same line
        found = record(text)
        if found and found.text.startswith(_WRAPS):
            self._wrapped = found
            return
        yield from self._said(found.text if found else _LOGGED.sub("", text, count=1).strip())

    def _unwrap(self) -> Iterator[events.Event]:
        wrapped, self._wrapped = self._wrapped, None
        if wrapped:
            yield from self._said(wrapped.text)

    def _drawn(self, match: re.Match[str]) -> Iterator[events.Event]:
        if match.group(0) == self._bar:
            return
        self._bar = match.group(0)
        event = bar_event(match)
        if isinstance(event, events.Step):
            if event.step > max(self._step, 0):
                yield from self._enter(TRAINING)
            self._step = event.step
        yield event

    def _enter(self, name: str) -> Iterator[events.Event]:
        if name != self._phase:
            self._phase = name
            yield events.Phase(name)

    def _said(self, text: str) -> Iterator[events.Event]:
        if text.startswith(STAGE):
            name = text.removeprefix(STAGE)
            self._staged = name != STARTING
            yield from self._enter(name)
            return
        for start, name in PHASES.items():
            if text.startswith(start) and not self._staged:
                yield from self._enter(name)
                break
        event = _event(text)
        if event:
            yield event


def _event(text: str) -> events.Event | None:
    if match := _EPOCH.match(text):
        return events.Epoch(int(match.group(1)), int(match.group(2)))
    if match := _MODULES.match(text):
        return events.ModulesMade(match.group(2), int(match.group(3)), enabled=match.group(1) == "enable")
    if match := _WRITTEN.match(text):
        return events.CheckpointStarted(Path(match.group(1)))
    if match := _REMOVED.match(text):
        return events.CheckpointRemoved(Path(match.group(1)))
    if text.startswith("No data found"):
        return events.NoData()
    return events.Finished() if text.startswith("model saved.") else _fact(text)


def _fact(text: str) -> events.Fact | None:
    name = next((name for start, name in FACTS.items() if text.startswith(start)), None)
    number = _NUMBER.search(text) if name else None
    return events.Fact(name, int(number.group(1))) if name and number else None
