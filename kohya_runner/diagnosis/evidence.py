"""Which rows of the table know an error and how much of the log speaks for each; what to look at where none does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kohya_runner.diagnosis.signature import Sign, Signature
from kohya_runner.diagnosis.tracebacks import Chain

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
        and (sign.unless is None or not (_any(sign.unless, scene.lines) or _any(sign.unless, scene.before)))
    )


def _any(pattern: re.Pattern[str], lines: Sequence[str]) -> bool:
    return any(pattern.search(line) for line in lines)


_COMPLAINTS = re.compile(
    r"error|cannot|could not|can't|not found|not recognized|killed|fatal|failed|exception|abort|segmentation|no such"
    r"|denied|fault|unable|missing|invalid|core dumped|died with|exit(?:ed|code|ing)? ",
    re.IGNORECASE,
)
_WARNING = re.compile(r"warning|deprecated", re.IGNORECASE)
_PACKAGES = "the packages: compare pip list with the trainer's requirements.txt; kohya-runner setup builds them anew"
_VERSIONS = (
    "the versions: a package is often newer or older than the trainer; compare pip list with its requirements.txt"
)
_PATH = "the path in the message: that it is there, whole, and can be read and written by this user"
_NONE = "what is None there: an option or file that was not given, or a part of the model that is not loaded"
_KEY = "the file that was read then (a checkpoint, a cache, a metadata file): the trainer expected this key in it"
_OPTION = "the option that the message or the innermost line names: kohya-runner options SCRIPT WORD"
_SHAPES = "the shapes, number formats or device in the message, and the trainer's own lines above it"
_KINDS = {
    "ImportError|ModuleNotFoundError": _PACKAGES,
    "AttributeError|TypeError|NameError": _VERSIONS,
    "FileNotFoundError|NotADirectoryError|IsADirectoryError|PermissionError|OSError": _PATH,
    "KeyError": _KEY,
    "AssertionError|ValueError|NotImplementedError|ArgumentTypeError": _OPTION,
    "RuntimeError|AcceleratorError|IndexError": _SHAPES,
}
"""By the exception's class."""
_NATIVE = (
    "the machine's own log of that minute (dmesg, journalctl -k, Windows' event viewer) and nvidia-smi -q: no Python "
    "error was written"
)
_NO_PYTHON = re.compile(r"exit status \d{3,}|died with|exitcode\s{0,3}: -")


def complains(text: str) -> bool:
    """Whether a line speaks of something that went wrong."""
    return bool(_COMPLAINTS.search(text)) and not _WARNING.search(text)


_ERROR = re.compile(r"^(?:\w+\.){0,6}\w*(?:Error|Exception): |fatal error|: (?:error|fatal): |^fatal: ")


def fatal_words(words: Sequence[str]) -> bool:
    """Whether the last lines hold an error that stands alone."""
    return any(_ERROR.search(text) for text in words[-8:])


def complaint(words: Sequence[str]) -> str:
    """The first line that complains, of those that a run without a traceback said last; the launcher's own do last."""
    said = [text for text in words if complains(text) and text[:1] not in "│|┃╰"]
    return next((text for text in said if "CalledProcessError" not in text), next(iter(said), ""))


def places_to_look(chain: Chain, words: Sequence[str]) -> tuple[str, ...]:
    """Where to look, the nearest first."""
    if not chain.parts:
        return (_NATIVE,) if any(_NO_PYTHON.search(text) for text in words) else ()
    cause = chain.parts[0]
    own = [frame for frame in cause.frames if not frame.library][-1:]
    where = tuple(f"the trainer's own line: {frame.whole}" for frame in own)
    kind = next((text for names, text in _KINDS.items() if re.fullmatch(names, cause.name)), "")
    kind = _NONE if "'NoneType' object" in cause.error else kind
    return (*where, *([kind] if kind else ()))
