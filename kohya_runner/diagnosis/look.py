"""What to look at where no row of the table knows the error: where it was, and what errors of its kind come from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kohya_runner.diagnosis.tracebacks import Chain

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


def at(chain: Chain, words: Sequence[str]) -> tuple[str, ...]:
    """Where to look, the nearest first."""
    if not chain.parts:
        return (_NATIVE,) if any(_NO_PYTHON.search(text) for text in words) else ()
    cause = chain.parts[0]
    own = [frame for frame in cause.frames if not frame.library][-1:]
    where = tuple(f"the trainer's own line: {frame.whole}" for frame in own)
    kind = next((text for names, text in _KINDS.items() if re.fullmatch(names, cause.name)), "")
    kind = _NONE if "'NoneType' object" in cause.error else kind
    return (*where, *([kind] if kind else ()))
