"""What a person marked in the page of a dataset: rejected pictures and new captions, as a file for ``dataset edit``."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kohya_runner.errors import UsageError
from kohya_runner.safe_files import open_file, write_json
from kohya_runner.text import LONGEST, has_control, printable, shortened

FORMAT = 1
LARGEST = 64 << 20  # bytes of a review
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Review:
    """Marks of a folder's pictures. A stem is a picture's path below ``folder`` without its extension."""

    folder: str
    reject: tuple[str, ...] = ()
    captions: Mapping[str, str] = field(default_factory=dict)


def write_review(path: Path, review: Review) -> None:
    write_json(path, {"version": FORMAT, **asdict(review)})


def read_review(path: Path) -> Review:
    """The marks in a file.

    Raises:
        UsageError: it cannot be read, or is no review; all that is wrong is named.
    """
    try:
        with open_file(path) as file:
            return parse_review(file.read(LARGEST + 1), str(path))
    except OSError as fault:
        raise UsageError(f"{path}: {fault.strerror or fault}") from None


def parse_review(data: bytes, name: str) -> Review:
    """The marks in a text, with each caption as one line.

    Raises:
        UsageError: as of ``read_review``.
    """
    try:
        value: Any = json.loads(data) if len(data) <= LARGEST else None
    except (ValueError, RecursionError) as fault:
        raise UsageError(f"{name} is not JSON: {str(fault)[:LONGEST]}") from None
    wrong = list(_faults(value))
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        hint = "save it in the page of `kohya-runner dataset report`"
        raise UsageError(f"{name} is no review of a dataset: {', '.join(wrong[:SHOWN])}{more}", hint=hint)
    texts = {stem: " ".join(text.split()) for stem, text in value["captions"].items()}
    return Review(value["folder"], tuple(dict.fromkeys(value["reject"])), texts)


def _faults(value: Any) -> Iterator[str]:
    if not isinstance(value, dict) or value.get("version") != FORMAT:
        yield f"`version` is not {FORMAT}"
        return
    kinds = (("folder", str, "a text"), ("reject", list, "a list"), ("captions", dict, "an object"))
    faults = [f"`{key}` is not {what}" for key, kind, what in kinds if not isinstance(value.get(key), kind)]
    yield from faults
    if not faults:
        for stem in (*value["reject"], *value["captions"]):
            odd = not isinstance(stem, str) or posixpath.normpath(f"./{stem}") != stem or "\0" in stem
            if odd or stem.startswith(("/", "../")) or stem in (".", ".."):
                yield f"{shortened(str(stem))} is no picture of a folder"
        for stem, text in value["captions"].items():
            if not isinstance(text, str) or has_control(" ".join(text.split())) or printable(text) != text:
                yield f"the caption of {shortened(stem)} is no text"
