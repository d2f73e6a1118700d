"""A log as lines: of any size, of any origin, and nothing in it reaches a terminal as it is.

Of a long log the first and the last part are read. Bars that were redrawn are dropped, log records that rich wrapped at
80 columns are joined, what other programs wrote before a line and the marks of ranks are taken off, secrets are blotted
out. What PowerShell redirects is UTF-16.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from kohya_runner.diagnosis import line_shapes
from kohya_runner.diagnosis.events import Step
from kohya_runner.diagnosis.line_shapes import BAR, Wrapped, bar_event, continuation, find_bar, record
from kohya_runner.diagnosis.signature import NOTHING, Known, from_shell, from_wall
from kohya_runner.text import masked_text

HEAD = 1 << 20
TAIL = 4 << 20  # bytes of the beginning and of the end that are read
LONGEST = 2000  # characters of a line that are looked at; what is in the middle of a longer one is left out

_ENDS = re.compile(r"\r\n|[\r\n]")
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_RANK = re.compile(r"\[(?:rank)?(\d{1,4})\]: ?|\[default(\d{1,4})\]: ?")
_TOKEN = re.compile(
    r"((?:huggingface_token|wandb_api_key|api_key|token|password|secret)['\"]?\s{0,3}[=:]\s{0,3}['\"]?|Bearer\s+)"
    r"[^\s'\",]{4,}",
    re.IGNORECASE,
)
_HOOK = re.compile(r"https://[^\s'\"]*(?:api/webhooks|hooks\.slack\.com)[^\s'\"]*")
_NAN = "loss=nan"
_WALL = "CalledProcessError: Command "
_WALL_ENDS = ("' returned non-zero", "' died with")
_COMMAND = re.compile(r"\['?(?P<program>[^',\]]{1,300})'?(?:, '(?P<first>[^']{1,300})')?")
_PYTHON = re.compile(r"(?:python[\d.]*|accelerate|torchrun)(?:\.exe)?$", re.IGNORECASE)
_DOCKER = '{"log":'
_UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line, safe to show: ``rank`` is the process it names, -1 where it names none.

    ``calm``: a logger wrote it as INFO, so whatever it speaks of (a caption, a path), it is no error.
    """

    text: str
    rank: int = -1
    calm: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    """What was read of a log, in its order; ``left_out`` bytes of the middle were not."""

    lines: tuple[Line, ...]
    left_out: int = 0
    step: int = -1
    total: int = 0
    last_step_line: int = -1  # the index of the first line after the last bar of steps
    last_advance: int = -1  # the index of the first line after the last bar that had gone on
    known: Known = NOTHING


def read_log(file: BinaryIO, *, head: int = HEAD, tail: int = TAIL) -> Log:
    """The head and the tail of a log; a pipe is read through, and only its ends are kept."""
    first = file.read(head)
    rest, length = b"", len(first)
    if file.seekable():
        end = file.seek(0, 2)
        file.seek(max(length, end - tail))
        rest, length = file.read(tail), end
    else:
        while data := file.read(tail):
            length += len(data)
            rest = (rest + data)[-tail:]
    return parse(first, rest, left_out=max(0, length - len(first) - len(rest)))


def parse(first: bytes, rest: bytes = b"", *, left_out: int = 0) -> Log:
    """The lines of the two parts; the broken line where the middle is left out is no line."""
    code = _UTF16.get(first[:2], "utf-8")
    if not left_out:
        return _logged(_raw(first + rest, code), 0)
    gap = f"... {left_out:,} bytes left out ..."
    return _logged([*_raw(first, code)[:-1], gap, *_raw(rest, code)[1:]], left_out)


def _raw(data: bytes, code: str) -> list[str]:
    return _ENDS.split(data.decode(code, "replace").removeprefix("\ufeff"))


def _logged(raw: list[str], left_out: int) -> Log:
    """Bars become the place where the run was, but for the first NaN; all the rest becomes lines."""
    found: list[Line] = []
    step, total, after, advance, known, nan = -1, 0, -1, -1, NOTHING, False
    for line, calm in _unwrapped(raw):
        text = line
        known = _fuller(_known(text), known)
        mark = _RANK.match(text)
        bar = find_bar(text[mark.end() :] if mark else text)
        if bar and isinstance(state := bar_event(bar), Step):
            advance = len(found) if state.step > 0 and (state.step, state.total) != (step, total) else advance
            step, total, after = state.step, state.total, len(found)
        if bar and (nan or _NAN not in text):
            text = BAR.sub("", text).strip()
        nan = nan or _NAN in text
        found += _safe(text, calm=calm)
    return Log(tuple(found), left_out, step, total, after, advance, known)


def _known(text: str) -> Known:
    """The run's options, where a line repeats its whole command."""
    if len(text) >= 1 << 16:
        return NOTHING
    return from_wall(text) if _WALL in text else from_shell(text) if "accelerate" in text else NOTHING


def _fuller(new: Known, old: Known) -> Known:
    """The one that says more: accelerate's last words often hold no more than ``--config_file``."""
    return new if new.script and len(new.options) >= len(old.options) else old


def _unwrapped(raw: list[str]) -> Iterator[tuple[str, bool]]:
    held: Wrapped | None = None
    plain = [part for line in raw for part in _apart(_ANSI.sub("", _undocked(line)).rstrip())]
    common = line_shapes.shared(plain)
    for whole in plain:
        text = line_shapes.without(whole, common)
        if line_shapes.noise(text):
            continue
        more = continuation(text) if held else None
        if held and more is not None and len(held.text) < LONGEST:
            held = held.joined(more)
            continue
        if held:
            yield held.text, held.calm
        held = record(text)
        if held is None and text.strip():
            yield text, False
    if held:
        yield held.text, held.calm


def _apart(line: str) -> tuple[str, ...]:
    """A bar that stands and the record that was logged behind it, whose next line may go on with its text."""
    bar = find_bar(line)
    behind = line[bar.end() :] if bar else ""
    return (line[: bar.end()], behind) if bar and behind and record(behind) else (line,)


def _undocked(line: str) -> str:
    """The text of a line of docker's json-file driver."""
    if not line.startswith(_DOCKER):
        return line
    try:
        return str(json.loads(line)["log"]).rstrip("\r\n").rpartition("\r")[2]
    except (ValueError, KeyError, TypeError, RecursionError):
        return line


def _safe(text: str, *, calm: bool) -> list[Line]:
    """One line, or none: printable, masked, not too long, and of a command line only how it ended."""
    match = _RANK.match(text)
    rank = int(match.group(1) or match.group(2)) if match else -1
    text = without_command(text[match.end() :] if match else text)
    text = _shortened(shown(_shortened(text, 50 * LONGEST)), LONGEST)
    return [Line(text, rank, calm)] if text.strip() else []


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def without_command(text: str) -> str:
    """What accelerate repeats is the whole command line, tokens and all: only how it ended is kept.

    The name of a program that is no Python is kept too: it was the trainer, or a package of it, that called a compiler.
    """
    start = text.find(_WALL)
    if start < 0:
        return text
    ends = [place for sign in _WALL_ENDS if (place := text.rfind(sign)) >= 0]
    command = _COMMAND.search(text[start + len(_WALL) : start + len(_WALL) + 700])
    program = re.split(r"[/\\]", command["program"])[-1] if command else ""
    ours = not program or _PYTHON.match(program) or (command and (command["first"] or "").endswith(".py"))
    name = "the command" if ours else f"the command {program[:60]}"
    return text[:start] + f"CalledProcessError: {name}" + (text[max(ends) + 1 :] if ends else " failed")


def shown(text: str) -> str:
    """The text without control characters, which a terminal would obey, and without secrets."""
    plain = text
    if not text.isprintable():
        plain = "".join(sign if sign.isprintable() else " " if sign == "\t" else "\ufffd" for sign in text)
    return _HOOK.sub("https://***", _TOKEN.sub(r"\1***", masked_text(plain)))
