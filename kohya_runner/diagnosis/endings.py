"""Which of a log's exceptions ended the run.

It is the first after which the trainer did not go on. The last words of accelerate and torchrun, which only say that
a child failed, are no cause, nor is a rank or a loader's worker that died of another's end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from kohya_runner.diagnosis.lines import Log
from kohya_runner.diagnosis.tracebacks import WENT_ON, Chain, chains

_WALLS = re.compile(
    r"(?:subprocess\.)?CalledProcessError: the command (?:returned|died|failed)|.*\bChildFailedError\b"
    r"|.*\bProcessRaisedException\b|.*ProcessExitedException: process \d+ terminated with exit code 1$"
    r"|RuntimeError: Musubi Tuner training failed with code"
)
_ECHOES = re.compile(
    r"\S*(?:DistBackendError|DistNetworkError|DistStoreError|ConnectionResetError|BrokenPipeError|SignalException)\b"
    r"|EOFError: Ran out of input|RuntimeError: DataLoader worker \(pid\(?s?\)? [\d, ]+\) exited unexpectedly"
    r"|RuntimeError: .{0,200}(?:Connection closed by peer|Connection reset by peer|Broken pipe|NCCL communicator)"
)


@dataclass(frozen=True, slots=True)
class Ending:
    """The chain that ended the run, an empty one where the log holds none; ``earlier`` are what it survived."""

    chain: Chain = field(default_factory=Chain)
    earlier: tuple[str, ...] = ()
    later: tuple[str, ...] = ()


def ending(log: Log) -> Ending:
    """Which of the log's exceptions ended the run: the first one after which it did not go on.

    Of several ranks the first to fail counts, unless it only felt another's end.
    """
    real = sorted((chain for chain in chains(log.lines) if not _WALLS.match(chain.parts[-1].error)), key=_start)
    if not real:
        return Ending()
    work = _work(log, real)
    last = [chain for chain in real if chain.parts[-1].end > max(work, default=-1)]
    group = last or ([] if _survived(log, real[-1], work) else real[-1:])
    causes = [chain for chain in group if not _ECHOES.match(chain.parts[0].error)] or group
    if not causes:
        return Ending(earlier=_errors(real))
    ranked = [chain for chain in causes if chain.parts[0].rank >= 0]
    fatal = min(ranked or causes, key=_start)
    before = [chain for chain in real if chain not in group or (_start(chain) < _start(fatal))]
    return Ending(fatal, _errors(before), _errors([chain for chain in causes if chain is not fatal]))


def _start(chain: Chain) -> int:
    return min(raised.start for raised in chain.parts)


def _errors(chains: Sequence[Chain]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.parts[0].error for chain in chains))


def at_work(texts: Sequence[str]) -> int:
    """The index after the last line that shows the trainer at work: what was said before it did not end the run."""
    lines = range(len(texts) - 1, -1, -1)
    return next((number + 1 for number in lines if WENT_ON.match(texts[number].lstrip())), 0)


def _work(log: Log, chains: Sequence[Chain]) -> list[int]:
    """The indices of the lines that show the trainer at work, those inside a traceback left out."""
    inside = {number for chain in chains for raised in chain.parts for number in range(raised.start, raised.end)}
    lines = enumerate(line.text.lstrip() for line in log.lines)
    return [*(number for number, text in lines if number not in inside and WENT_ON.match(text)), log.last_advance]


def _survived(log: Log, chain: Chain, work: Sequence[int]) -> bool:
    """Whether the run went on after its last exception, and ended otherwise or not at all."""
    end = chain.parts[-1].end
    at_work = log.last_advance >= end or sum(number >= end for number in work) > 1
    return _killed(log) or (at_work and not wall(log))


_KILLS = re.compile(
    r"died with <Signals|exit status (?:-?\d{2,}|3\d{9})|exitcode\s{0,3}: -\d|Signal \d+ \(SIG|^Killed$"
    r"|^Segmentation fault"
)


def _killed(log: Log) -> bool:
    """Whether it ended as no Python exception ends a program."""
    return any(_KILLS.search(line.text) for line in log.lines[-60:])


def wall(log: Log) -> str:
    """How accelerate says that the trainer ended, its command line left out; "" where it says nothing."""
    return next((line.text for line in reversed(log.lines) if _WALLS.match(line.text)), "")


_SCRIPT = re.compile(r"(?:^|/)(?P<name>[\w-]*(?:train|cache)[\w-]*\.py):\d+ in (?:<module>|main|)")


def script(chain: Chain) -> str:
    """The script that ran, by the outermost of the trainer's own frames; "" where none names one."""
    places = (frame.place for raised in chain.parts for frame in raised.frames if not frame.library)
    return next((match["name"] for place in places if (match := _SCRIPT.search(place))), "")
