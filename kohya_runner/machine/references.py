"""Files of Hub repositories, as recipes name them: ``hf://org/repo/path/to/file.safetensors[@revision]``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kohya_runner.errors import RecipeError
from kohya_runner.findings import error

if TYPE_CHECKING:
    from pathlib import Path

SCHEME = "hf://"
FORM = "hf://org/repo/path/to/file.safetensors, with @revision at the end for another than main"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
MAX_NAME = 200
"""Bytes of one part: room is left for the names of partial and set-aside files."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a model repository; ``revision`` None is the main branch."""

    repo: str
    path: str
    revision: str | None = None
    where: str = ""

    @property
    def text(self) -> str:
        """As it is written in a recipe."""
        return f"{SCHEME}{self.repo}/{self.path}" + (f"@{self.revision}" if self.revision else "")


def parse_ref(text: str, where: str = "") -> HubFile:
    """The file that a text names.

    Raises:
        RecipeError: it has another form, or would lead out of the models folder.
    """
    body, _, revision = text.removeprefix(SCHEME).partition("@")
    owner, _, rest = body.partition("/")
    repo, _, path = rest.partition("/")
    fault = _fault(text, (owner, repo), path, revision)
    if fault:
        finding = error("model.reference", f"{text!r}: {fault}", where=where, hint=f"write {FORM}")
        raise RecipeError(str(finding), findings=(finding,))
    return HubFile(f"{owner}/{repo}", path, revision or None, where)


def local_path(ref: HubFile, models: Path) -> Path:
    """Where the file belongs: ``<models>/org/repo/path``, with ``@revision`` after the repository if there is one."""
    suffix = f"@{ref.revision.replace('/', '--')}" if ref.revision else ""
    return models.joinpath(f"{ref.repo}{suffix}", *ref.path.split("/"))


def _fault(text: str, names: tuple[str, str], path: str, revision: str) -> str:
    if not text.startswith(SCHEME):
        return f"does not begin with {SCHEME}"
    if not all(_NAME.fullmatch(name) for name in names):
        return "names no repository (org/repo)"
    if not path:
        return "names a repository, not a file in it"
    if not all(_is_plain(part) for part in path.split("/")):
        return "has a part that is not a plain file name"
    if "@" in text and (not _REVISION.fullmatch(revision) or ".." in revision):
        return "has no valid revision after the @"
    return ""


def _is_plain(part: str) -> bool:
    odd = "\\" in part or not part.isprintable()
    return bool(part) and not part.startswith(".") and not odd and len(part.encode()) <= MAX_NAME
