"""Which exception ended the run, which rows of the table know it and how much of the log speaks for each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kohya_runner.diagnosis.lines import Log
from kohya_runner.diagnosis.progress import WORDS
from kohya_runner.diagnosis.signature import Sign, Signature
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
    """The chain that ended the run, an empty one where the log holds none; ``earlier`` are what it survived.

    ``noise`` are the lines of tracebacks that ended nothing: of a web page's server, of a program's end.
    """

    chain: Chain = field(default_factory=Chain)
    earlier: tuple[str, ...] = ()
    noise: frozenset[int] = frozenset()


def ending(log: Log) -> Ending:
    """Which of the log's exceptions ended the run: the first one after which it did not go on.

    Of several ranks the first to fail counts, unless it only felt another's end.
    """
    found = chains(log.lines)
    noise = frozenset(
        n for chain in found if chain.harmless for part in chain.parts for n in range(part.start, part.end)
    )
    real = sorted(
        (chain for chain in found if not chain.harmless and not _WALLS.match(chain.parts[-1].error)), key=_start
    )
    if not real:
        return Ending(noise=noise)
    work = _work(log, real)
    last = [chain for chain in real if chain.parts[-1].end > max(work, default=-1)]
    group = last or ([] if _survived(log, real[-1], work) else real[-1:])
    causes = [chain for chain in group if not _ECHOES.match(chain.parts[0].error)] or group
    if not causes:
        return Ending(earlier=_errors(real), noise=noise)
    ranked = [chain for chain in causes if chain.parts[0].rank >= 0]
    fatal = min(ranked or causes, key=_start)
    before = [chain for chain in real if chain not in group or (_start(chain) < _start(fatal))]
    return Ending(fatal, _errors(before), noise)


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
    """The script that ran, by the outermost of the trainer's own frames; "" where none names one.

    Of a chain the last part begins there: the earlier ones begin in the function that caught them.
    """
    places = (frame.place for raised in reversed(chain.parts) for frame in raised.frames if not frame.library)
    return next((match["name"] for place in places if (match := _SCRIPT.search(place))), "")


Spans = dict[str, str | None]


@dataclass(frozen=True, slots=True)
class Scene:
    """An error and what is known around it: ``lines`` of its message, ``before`` of the log, the script that ran.

    ``name`` and ``frames`` are empty for an error that left no traceback.
    """

    lines: tuple[str, ...]
    name: str = ""
    frames: tuple[str, ...] = ()
    before: Sequence[str] = ()
    script: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A row and the line that shows it. ``weight`` counts the words and each kind of evidence that it asked for."""

    row: Signature
    line: str
    weight: int
    groups: Spans = field(default_factory=dict)


def best(table: Sequence[Signature], scene: Scene) -> Hit | None:
    """The row with the most evidence; of equals the one whose line stands first, then the first in the table."""
    hits = [hit for row in table if row.level == "error" for hit in _hits(row, scene)]
    rank = {line: number for number, line in reversed(list(enumerate(scene.lines)))}
    return max(hits, key=lambda hit: (not hit.row.vague, hit.weight, -rank[hit.line]), default=None)


def _hits(row: Signature, scene: Scene) -> Iterator[Hit]:
    for sign in row.signs:
        for line in scene.lines:
            match = sign.pattern.search(line)
            if match:
                if holds(sign, scene):
                    yield Hit(row, line, 1 + len(sign.asked), {**_found(sign, scene), **match.groupdict()})
                break


def _found(sign: Sign, scene: Scene) -> Spans:
    """The groups of the evidence: the name of a module that an earlier line of the log has, and the like."""
    asked = ((sign.before, scene.before), (sign.also, scene.lines), (sign.frame, scene.frames[::-1]))
    groups: Spans = {}
    for pattern, lines in asked:
        match = next((found for line in lines if (found := pattern.search(line))), None) if pattern else None
        groups |= match.groupdict() if match else {}
    return groups


def holds(sign: Sign, scene: Scene) -> bool:
    """Whether all that the sign asks for is there, and nothing that speaks against it."""
    return (
        (sign.raises is None or bool(sign.raises.fullmatch(scene.name)))
        and (sign.frame is None or any(sign.frame.search(frame) for frame in scene.frames))
        and (sign.also is None or any(sign.also.search(line) for line in scene.lines))
        and (sign.script is None or bool(sign.script.search(scene.script)))
        and (sign.before is None or _any(sign.before, scene.before))
        and (sign.unless is None or not _any(sign.unless, (*scene.lines, *scene.frames, *scene.before)))
    )


def _any(pattern: re.Pattern[str], lines: Sequence[str]) -> bool:
    return any(pattern.search(line) for line in lines)


_COMPLAINTS = re.compile(
    r"error|cannot|could not|can't|not found|not recognized|killed|fatal|failed|exception|abort|segmentation|no such"
    r"|denied|fault|unable|missing|invalid|core dumped|died with|exit(?:ed|code|ing)? ",
    re.IGNORECASE,
)
_WARNING = re.compile(r"warning|deprecated", re.IGNORECASE)
_NONE = "what is None there: an option or file that was not given, or a part of the model that is not loaded"
_NATIVE = (
    "the machine's own log of that minute (dmesg, journalctl -k, Windows' event viewer) and nvidia-smi -q: no Python "
    "error was written"
)
_NO_PYTHON = re.compile(r"exit status \d{3,}|died with|exitcode\s{0,3}: -")


def complains(text: str) -> bool:
    """Whether a line speaks of something that went wrong."""
    return bool(_COMPLAINTS.search(text)) and not _WARNING.search(text)


_ERROR = re.compile(
    r"^(?:\w+\.){0,6}\w*(?:Error|Exception): |fatal error|: (?:error|fatal): |^fatal: |command not found"
    r"|bad interpreter:|^docker: |^slurmstepd: error|Main process exited, code=(?:killed|dumped)|^zsh: \w+"
    r"|^(?:nohup|env|\S{0,40}sh): .{0,200}(?:not found|No such file)|cannot be loaded because"
    r"|^Training failed|^Command exited with code [1-9]"
)


def fatal_words(words: Sequence[str]) -> bool:
    """Whether the last lines hold an error that stands alone."""
    return any(_ERROR.search(text) for text in words[-8:])


def complaint(words: Sequence[str]) -> str:
    """The first line that complains, of those that a run without a traceback said last; the launcher's own do last."""
    said = [text for text in words if complains(text) and text[:1] not in "│|┃╰"]
    return next((text for text in said if "CalledProcessError" not in text), (said or [""])[-1])


def places_to_look(chain: Chain, words: Sequence[str]) -> tuple[str, ...]:
    """Where to look, the nearest first."""
    if not chain.parts:
        return (_NATIVE,) if any(_NO_PYTHON.search(text) for text in words) else ()
    cause = chain.parts[0]
    own = [frame for frame in cause.frames if not frame.library][-1:]
    where = tuple(f"the trainer's own line: {frame.whole}" for frame in own)
    kind = next((text for names, text in WORDS["look"].items() if re.fullmatch(names, cause.name)), "")
    kind = _NONE if "'NoneType' object" in cause.error else kind
    return (*where, *([kind] if kind else ()))
