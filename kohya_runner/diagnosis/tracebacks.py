"""The tracebacks of a log: Python's own, the boxed ones of rich, and those that lost their indentation or their header.

Of a chain the first exception is the cause.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from kohya_runner.diagnosis.lines import Line

OWN = 2  # how many of the innermost frames of the trainer's own files are shown, beside the innermost of all
KEPT = 60
MESSAGE = 12  # how many lines of an exception's message are kept
BOX = 2000  # lines of a box of rich's that are read

_HEADER = re.compile(r"(?:(?!Original )\S.{0,60}?[ ])?(?P<original>Original )?Traceback \(most recent call last\):?$")
_BOX = re.compile(r"\W{0,4}─+ ?Traceback \(most recent call last\)")
_FRAME = re.compile(r' {0,8}File "(?P<file>[^"]*)", line (?P<line>\d+)(?:, in ?(?P<what>.*))?$')
_BOX_FRAME = re.compile(r"(?P<file>(?:/|[A-Za-z]:\\)\S.*?):(?P<line>\d+) in (?P<what>\S+)")
_EXCEPTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,150}(?:: .*|:|)$")
_NAMED = re.compile(
    r"[A-Za-z_][A-Za-z0-9_.]{0,150}(?:Error|Exception|Interrupt|Failed|Exit|Warning|Invalid|Timeout|BadZipFile)"
    r"(?:: .*|:|)$"
)
"""The line of an exception that is told by its name alone, where another program took the indentation away."""
_MARKERS = re.compile(r" *[\^~ ]+$|\s+\.{3} ?<|\s+\[Previous line repeated")
_LIBRARY = re.compile(
    r"[/\\](?:site|dist)-packages[/\\]|[/\\][Pp]ython[\d.]*[/\\](?:lib[/\\])?|^<frozen|runpy\.py$", re.IGNORECASE
)
_AND_THEN = (
    "The above exception was the direct cause of the following exception",
    "During handling of the above exception, another exception occurred",
)
_HARMLESS = (
    "--- Logging error ---", "Exception ignored in", "Exception in callback", "Exception in ASGI application",
    "Task exception was never retrieved", "Future exception was never retrieved",
)  # fmt: skip
WENT_ON = re.compile(
    r"(?:prepar(?:e|ing)\b|load(?:ing|ed)?\b.{3}|Load(?:ing|ed) |Building |create (?:LoRA|LyCORIS)|enable LoRA"
    r"|import network module|running training|epoch \d+/\d+|epoch is incremented|saving checkpoint|caching"
    r"|num (?:train|epochs|batches)|use \S.{0,40} optimizer|generating sample|found directory|\d+ train images"
    r"|number of images|bucket \d+|total optimization steps|model saved|override steps|text_encoder \[|unet dtype"
    r"|Using DreamBooth|\[Dataset \d)"
)
"""Lines of a trainer that goes on: what was raised before them did not end it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """Where the program was: file, line and function, and the line of code."""

    place: str
    code: str = ""
    library: bool = False  # of Python itself or of a package

    @property
    def whole(self) -> str:
        """As the rows of the table look at it."""
        return f"{self.place}: {self.code}" if self.code else self.place


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception: the innermost frames, and what it says, line by line."""

    frames: tuple[Frame, ...]
    message: tuple[str, ...]
    start: int  # the index of its header among the lines of the log
    chained: bool = False  # another exception stands before it, and is its cause
    original: bool = False  # it stands inside the message of the one before it, and is its cause
    rank: int = -1
    end: int = -1  # the index of the line after it
    harmless: bool = False  # it was told and ended nothing

    @property
    def name(self) -> str:
        """The exception's class, without its module."""
        return self.error.partition(":")[0].rpartition(".")[2]

    @property
    def error(self) -> str:
        """The line with its name."""
        return self.message[0] if self.message else ""

    @property
    def said(self) -> tuple[str, ...]:
        """Its message; many an exception only means something together with the code that raised it."""
        code = self.frames[-1].code if self.frames else ""
        whole = (" ".join(line.strip() for line in self.message),) if len(self.message) > 1 else ()  # as rich wraps it
        return (f"{self.error} [{code}]" if code else self.error, *self.message[1:], *whole)


@dataclass(frozen=True, slots=True)
class Chain:
    """Exceptions that followed from one another, the cause first."""

    parts: tuple[Raised, ...] = field(default=())

    @property
    def harmless(self) -> bool:
        """Whether it was only told: by a logger, a web page's server, an object at its end."""
        return bool(self.parts) and self.parts[0].harmless

    @property
    def shown(self) -> tuple[str, ...]:
        """The lines worth reading: the innermost frames of the cause, its message, and what became of it."""
        if not self.parts:
            return ()
        cause, *later = self.parts
        lines = ["Traceback (innermost lines):"]
        own = [frame for frame in cause.frames if not frame.library][-OWN:]
        for frame in dict.fromkeys([*own, *cause.frames[-1:]]):
            lines += [f"  {frame.place}", *([f"    {frame.code}"] if frame.code else [])]
        lines += cause.message
        lines += [f"then: {raised.error}" for raised in later]
        return tuple(lines)


def chains(lines: Sequence[Line]) -> list[Chain]:
    """All exceptions of a log, rank by rank, with what belongs together."""
    return [chain for rank in sorted({line.rank for line in lines}) for chain in _chains(tuple(_raised(lines, rank)))]


def _chains(found: Sequence[Raised]) -> Iterator[Chain]:
    """What belongs together; an original stands after the exception that carries it, and comes first."""
    parts: list[Raised] = []
    for raised in found:
        if raised.original and parts:
            parts = [replace(raised, rank=parts[0].rank), *parts]
        elif raised.chained and parts:
            parts = [*parts, raised]
        else:
            if parts:
                yield Chain(tuple(parts))
            parts = [raised]
    if parts:
        yield Chain(tuple(parts))


def _raised(lines: Sequence[Line], rank: int) -> Iterator[Raised]:
    """Every exception of one rank in its order."""
    mine = [(number, line.text) for number, line in enumerate(lines) if line.rank == rank]
    place, before = 0, ("", "")
    while place < len(mine):
        number, text = mine[place]
        header, box = _HEADER.search(text), _BOX.search(text) if "Traceback" in text else None
        headed = bool(header and "Traceback" in text)
        if not headed and not box and not _FRAME.match(text):
            before = (before[1], text)
            place += 1
            continue
        frames, message, place = (_boxed if box else _plain)(mine, place + 1 if headed or box else place)
        if message:
            harmless = any(sign in text for text in before for sign in _HARMLESS)
            chained = any(text.startswith(_AND_THEN) for text in before)
            original = bool(headed and header and header["original"])
            end = mine[place - 1][0] + 1
            yield Raised(tuple(frames[-KEPT:]), tuple(message), number, chained, original, rank, end, harmless)
        before = ("", "")


_Numbered = list[tuple[int, str]]


def _plain(mine: _Numbered, place: int) -> tuple[list[Frame], list[str], int]:
    """Python's own: frames, each with at most a line of code, then the exception and the rest of its message."""
    frames: list[Frame] = []
    flat = False
    while place < len(mine):
        text = mine[place][1]
        if match := _FRAME.match(text):
            frames.append(_frame(match))
            flat = not text.startswith(" ")
            del frames[: len(frames) - KEPT if len(frames) > 2 * KEPT else 0]
        elif text.startswith(" ") and frames:
            if not frames[-1].code and not _MARKERS.match(text):
                frames[-1] = replace(frames[-1], code=text.strip())
        elif flat and not _NAMED.match(text) and (not frames[-1].code or _MARKERS.match(text)):
            frames[-1] = frames[-1] if _MARKERS.match(text) else replace(frames[-1], code=text.strip())
        else:
            break
        place += 1
    return frames, *_message(mine, place)


def _boxed(mine: _Numbered, place: int) -> tuple[list[Frame], list[str], int]:
    """rich's: frames between bars, the exception below the box; a narrow window broke its lines."""
    frames: list[Frame] = []
    for _ in range(BOX):
        text = mine[place][1].strip() if place < len(mine) else ""
        if not text or (text[:1] not in "│|┃─" and not _closes(mine, place)):
            break
        if text[:1] in ("╰", "└", "+"):
            place += 1
            break
        text = text.strip("│|┃").strip()
        if text.endswith(" in") and place + 1 < len(mine):
            text = f"{text} {mine[place + 1][1].strip().strip('│|┃').strip()}"
        if match := _BOX_FRAME.search(text):
            frames.append(_frame(match))
        elif text.startswith("❱") and frames and not frames[-1].code:
            code = text.removeprefix("❱").strip().lstrip("0123456789").strip(" │|")
            frames[-1] = replace(frames[-1], code=code)
        place += 1
    while place < len(mine) and set(mine[place][1].strip()) <= set("─╯┘+-"):
        place += 1
    return frames, *_message(mine, place)


def _closes(mine: _Numbered, place: int) -> bool:
    """Whether the box's lower edge is still to come."""
    return any(text.strip()[:1] in ("╰", "└") for _, text in mine[place : place + 12])


def _message(mine: _Numbered, place: int) -> tuple[list[str], int]:
    """The exception's line, and what follows until something else begins."""
    if place >= len(mine) or not _EXCEPTION.match(mine[place][1]):
        return [], place
    message = [mine[place][1]]
    place += 1
    while place < len(mine) and len(message) < MESSAGE and not _begins(mine[place][1]):
        message.append(mine[place][1])
        place += 1
    return message, place


def _begins(text: str) -> bool:
    """Whether a line is no more of a message: another traceback, a bar, a record's time, a trainer's line."""
    known = (
        "Traceback",
        "Original Traceback",
        "steps:",
        "[20",
        "20",
        "wandb:",
        "Command exited",
        "Runner:",
        *_AND_THEN,
        *_HARMLESS,
    )
    plain = text.lstrip()
    return (
        plain.startswith(known)
        or "%|" in text
        or "Traceback (most recent" in text
        or bool(WENT_ON.match(plain) or _FRAME.match(text))
    )


def _frame(match: re.Match[str]) -> Frame:
    """The file without the folders of somebody's machine, as far as they say nothing."""
    parts = re.split(r"[/\\]", match["file"])
    for sign in ("site-packages", "dist-packages", "sd-scripts", "musubi_tuner"):
        if sign in parts[:-1]:
            parts = parts[parts.index(sign) + 1 :]
            break
    what = f" in {match['what']}" if match["what"] else ""
    return Frame(f"{'/'.join(parts[-4:])}:{match['line']}{what}", library=bool(_LIBRARY.search(match["file"])))
