"""What people write in place of what a recipe takes: another program's file, YAML with a slip, a foreign path."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

MAX_GUESSED = 100_000
"""Characters that are looked at: a longer text is no recipe that somebody mistyped."""
GUI = ("LoRA_type", "pretrained_model_name_or_path", "train_data_dir", "network_dim")
_SHELL = re.compile(
    r"^\s*(accelerate\s+launch\b|python[\d.]*\s+\S+\.py\b|export\s+\w+=|set\s+-[eux]\b|source\s+\S+\b|@echo\s+off"
    r"|set\s+\w+=|\$\w+\s*=\s*\S)",
    re.MULTILINE,
)
_TABLE = re.compile(r"^\s*\[\[?[A-Za-z_][\w.]*\]\]?\s*(#.*)?$", re.MULTILINE)
_ASSIGNED = re.compile(r"^\s*\w+\s*=\s*\S", re.MULTILINE)
_KEYED = re.compile(r"^\s*(?:- )?[\w.\"'-]+\s*:(?:\s|$)", re.MULTILINE)
_PAIR = re.compile(r"^(?P<lead>\s*(?:- )?)(?P<key>[\w.-]+)\s*:(?:\s+(?P<value>.*))?$")
_NO_PAIR = re.compile(r"^\s*(?:- )?(?P<key>[A-Za-z_][\w-]*)(?P<sign>\s*=\s*|:(?=\S)|\s+|$)(?P<value>.*)$")
_COMMENT = re.compile(r"(?:^|\s)#.*$")
_WINDOWS = re.compile(r"(?:(?P<drive>[A-Za-z]):[\\/]+|\\\\)(?P<tail>.*)")
_HUB = re.compile(
    r"https?://(?:huggingface\.co|hf\.co)/(?P<repo>[\w.-]+/[\w.-]+?)"
    r"(?:/(?:blob|resolve|tree)/(?P<revision>[^/?]+)(?:/(?P<file>[^?]+))?)?/?(?:\?.*)?$"
)
_BARE = re.compile(r"(?<=[\[,])(\s*)(#[^\s,\]]+)")
NO_RECIPE = (
    "'kohya-runner import {file}' makes a recipe of it; 'kohya-runner new NAME --family sdxl --images FOLDER' a new one"
)


class Slip(NamedTuple):
    """Line and column, from 1, of what was meant otherwise; what is wrong with it, and what to write."""

    line: int
    column: int
    what: str
    instead: str


Look = Callable[[str, int], Slip | None]


def other_file(text: str) -> str:
    """What the text is instead of a recipe, "" where it may be one."""
    text = text[:MAX_GUESSED]
    if text.lstrip().startswith("{"):
        keys: object = None
        with suppress(ValueError, RecursionError):
            keys = json.loads(text)
        held = keys if isinstance(keys, dict) else {}
        gui = "family" not in held and sum(key in held for key in GUI) > 1
        return "a notebook" if "cells" in held else "the settings of the kohya_ss GUI (JSON)" if gui else ""
    if text.startswith("#!") or _SHELL.search(text):
        return "a shell script"
    if not _KEYED.search(text) and (_TABLE.search(text) or _ASSIGNED.search(text)):
        return "a TOML file, as sd-scripts takes for datasets and settings"
    tops = set(re.findall(r"^(\w+):", text, re.MULTILINE))
    known = {"accelerate": {"compute_environment"}, "ai-toolkit": {"job", "config"}}
    whose = next((name for name, keys in known.items() if keys <= tops and "family" not in tops), "")
    return f"a configuration of {whose}" if whose else ""


def colour(value: str, rest: str) -> str:
    """The ``#ffffff`` that follows a value, or stands in its place: YAML takes it for a comment; "" for none."""
    found = re.match(r"\s*#([0-9a-fA-F]{6}(?:[0-9a-fA-F]{2})?|[0-9a-fA-F]{3})(?![\w-])", rest)
    return f"#{found[1]}" if found and (not value or len(found[1]) > len("fff")) else ""


def elsewhere(text: str, key: str) -> tuple[str, str] | None:
    """What is wrong with an address or a Windows path where something of this machine belongs, and what to do."""
    windows = _WINDOWS.match(text)
    if windows:
        tail = windows["tail"].replace("\\", "/").strip("/")
        name = tail.rpartition("/")[2]
        there = f"under WSL write {key}: /mnt/{windows['drive'].lower()}/{tail}; " if windows["drive"] else ""
        copied = f"on a rented machine copy it there first, then write {key}: /workspace/{name}"
        return f"{text} is a path of Windows", f"{there}{copied}"
    if not re.match(r"(https?|ftp)://", text):
        return None
    hub = _HUB.match(text)
    if hub and key.partition(".")[0] in ("model", "components"):
        at = "" if hub["revision"] in (None, "main") else f"@{hub['revision']}"
        form = f"hf://{hub['repo']}/{hub['file']}{at}" if hub["file"] else hub["repo"]
        return f"{text} is the address of a page", f"write {key}: {form}"
    if key.partition(".")[0] == "datasets":
        return f"{text} is an address on the web", f"fetch and unpack it first, then write {key}: FOLDER"
    got = f"curl -L -o /workspace/model.safetensors '{text}'"
    if "/api/download/" not in text and not text.endswith(".safetensors"):
        got = "fetch the file behind the page's download button (curl -L -o /workspace/model.safetensors 'LINK')"
    return f"{text} is an address on the web", f"{got}, then write {key}: /workspace/model.safetensors"


def slip(text: str, line: int, begun: int, problem: str) -> Slip | None:
    """What was probably meant where YAML found a ``problem`` in a line, of something that had begun in another one."""
    lines = text[:MAX_GUESSED].splitlines()
    near = [n for n in range(min(line, len(lines)), 0, -1) if lines[n - 1].strip() and lines[n - 1].lstrip()[0] != "#"]
    first = [n for n in (begun, *near[:2]) if n]
    tried: tuple[tuple[Look, list[int]], ...] = (
        (_unclosed, near), (_bare_colour, near[:3]), (partial(_needs_quotes, problem), near[:1]), (_no_colon, first),
    )  # fmt: skip
    found = (told for look, where in tried for n in where if (told := look(lines[n - 1], n)) is not None)
    return next(found, None) or _indented(lines, near, begun)


def _unclosed(text: str, line: int) -> Slip | None:
    """``concept: "ohwx``: the text would go on to the end of the file."""
    pair = _PAIR.match(text)
    value = pair["value"] if pair else None
    if not pair or not value or value[0] not in "\"'" or len(re.findall(rf"(?<!\\){value[0]}", value)) != 1:
        return None
    what = f"the quote {value[0]} is not closed"
    return Slip(line, pair.start("value") + 1, what, f"write the line as {pair['key']}: {value.rstrip()}{value[0]}")


def _bare_colour(text: str, line: int) -> Slip | None:
    """``[#ffffff, #000000]``: the rest of the line is a comment."""
    found = _BARE.search(text)
    if found is None:
        return None
    quoted = _BARE.sub(r'\1"\2"', text).strip()
    what = "'#' begins a comment here: a colour needs quotes"
    return Slip(line, found.start(2) + 1, what, f"write the line as {quoted}")


def _needs_quotes(problem: str, text: str, line: int) -> Slip | None:
    """A value that YAML reads as something else: it begins with a sign of its own, or holds ``: ``."""
    pair = _PAIR.match(text)
    if not pair or not pair["value"] or pair["value"][0] in "'[{|>":
        return None
    value, column = pair["value"].rstrip(), pair.start("value") + 1
    quoted = f'write the line as {pair["key"]}: "{value}"'
    if value[0] == '"':
        said = elsewhere(value.strip('"').replace("\\\\", "\\"), pair["key"]) if "escape" in problem else None
        return Slip(line, column, *said) if said else None
    if value[0] in "@`%*&!" and ("token" in problem or "alias" in problem or "anchor" in problem or "tag" in problem):
        return Slip(line, column, f"a value that begins with '{value[0]}' needs quotes", quoted)
    if ": " in value or value.endswith(":"):
        return Slip(line, column, "a value with ': ' in it needs quotes", quoted)
    return None


def _no_colon(text: str, line: int) -> Slip | None:
    """``network_dim 16``, ``network_dim=16``, ``network_dim:16`` and ``args``."""
    found = _NO_PAIR.match(_COMMENT.sub("", text).rstrip())
    if not found or _KEYED.match(text) or (text.lstrip().startswith(("- ", "[", "{")) and " " in found["value"]):
        return None
    key, value = found["key"], found["value"]
    lacks = {"": f"the colon after '{key}' is missing", "=": f"there is '=' and no ': ' after '{key}'"}
    said = lacks.get(found["sign"].strip(), f"the space after the colon of '{key}' is missing")
    return Slip(line, found.start("key") + 1, said, f"write the line as {key}: {value}".rstrip())


def _indented(lines: list[str], near: list[int], begun: int) -> Slip | None:
    """A line that stands deeper than the key above it, or an entry with a dash among keys."""
    if begun and (dash := re.match(r"(\s*)- (\w+: .*)$", lines[begun - 1])):
        what = "an entry with a dash and keys without one stand in the same place"
        return Slip(begun, len(dash[1]) + 1, what, f"write the line as {dash[2].rstrip()}")
    if len(near) < 2:
        return None
    this, above = near[:2]
    now, before = _PAIR.match(lines[this - 1]), _PAIR.match(lines[above - 1])
    if not now or not before or not before["value"] or len(now["lead"]) == len(before["lead"]):
        return None
    if len(near) > 2 and lines[near[2] - 1].startswith("datasets:") and "-" not in before["lead"]:
        told = f"write the line as - {lines[above - 1].strip()}"
        return Slip(above, len(before["lead"]) + 1, "an entry of datasets begins with a dash", told)
    what = f"this line begins in column {len(now['lead']) + 1}, the key above it in column {len(before['lead']) + 1}"
    return Slip(this, len(now["lead"]) + 1, what, f"begin it in column {len(before['lead']) + 1}")
