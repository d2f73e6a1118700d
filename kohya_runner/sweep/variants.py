"""``--set`` with lists: the axes of a sweep, their product, and names that say what differs."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

from kohya_runner.errors import UsageError

MOST = 64  # runs of one sweep: more is a slip of the keyboard, or no longer to be looked at
LONGEST = 90  # a name has at most 100 characters, and the runner adds numbers
WORD = 24
PAIRS = {"[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Axis:
    """One key and its values, as YAML that ``--set`` takes; one value is the same for all runs."""

    key: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Variant:
    """One run. ``label`` says what differs, ``name`` is the run's; ``overrides`` are KEY=VALUE."""

    name: str
    label: str
    overrides: tuple[str, ...]


def axes(texts: Iterable[str]) -> tuple[Axis, ...]:
    """What stands behind each ``--set``.

    Raises ``UsageError``: that is not KEY=VALUE, a value comes twice, or there is no list at all.
    """
    found = tuple(map(_axis, texts))
    again = [key for key, count in Counter(axis.key for axis in found).items() if count > 1]
    if again:
        raise UsageError(f"--set {again[0]}: is given twice", hint=f"give all values at once: --set {again[0]}=A,B,C")
    if not any(len(axis.values) > 1 for axis in found):
        hint = 'a list makes the runs: --set args.network_dim=16,32; one run is what "launch" does'
        raise UsageError("there is nothing to sweep: no --set has more than one value", hint=hint)
    if (number := prod(len(axis.values) for axis in found)) > MOST:
        raise UsageError(f"these lists make {number} runs, more than {MOST}", hint="sweep fewer keys at once")
    return found


def _axis(text: str) -> Axis:
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise UsageError(f"--set {text}: write KEY=A,B,C, such as --set args.network_dim=16,32")
    pieces = tuple(_pieces(value))
    if len(pieces) == 1 and value.startswith("["):
        pieces = tuple(_pieces(value[1:-1]))
    hint = f'a comma separates values; for a value with commas write quotes: --set \'{key}="1024,1024","768,768"\''
    if "" in pieces and pieces != ("",):
        raise UsageError(f"--set {key}: an empty value in {value}", hint=hint)
    if len(set(pieces)) < len(pieces):
        raise UsageError(f"--set {key}: the same value twice in {value}", hint=hint)
    if key in ("name", "extends") and len(pieces) > 1:
        raise UsageError(f"--set {key}: cannot be swept", hint="the runs are named by what differs")
    return Axis(key, pieces)


def _pieces(text: str) -> Iterator[str]:
    """Split at commas that stand in no quotes and no brackets."""
    begun, quote, closing = 0, "", list[str]()
    for at, sign in enumerate(text):
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "\"'":
            quote = sign
        elif sign in PAIRS:
            closing.append(PAIRS[sign])
        elif closing and sign == closing[-1]:
            closing.pop()
        elif sign == "," and not closing:
            yield text[begun:at].strip()
            begun = at + 1
    yield text[begun:].strip()


def variants(name: str, found: tuple[Axis, ...]) -> tuple[Variant, ...]:
    """Every combination, the last key the fastest; ``name`` is the recipe's."""
    swept = [axis for axis in found if len(axis.values) > 1]
    words = [_key_words(axis.key, swept) for axis in swept]
    fixed = tuple(f"{axis.key}={axis.values[0]}" for axis in found if len(axis.values) == 1 and axis.key != "name")
    made: list[Variant] = []
    for values in itertools.product(*(axis.values for axis in swept)):
        label = " ".join(map(_joined, words, map(_word, values)))
        chosen = tuple(f"{axis.key}={value}" for axis, value in zip(swept, values, strict=True))
        whole = f"{name}_{label.replace(' ', '_')}"
        if len(whole) > LONGEST or any(label == before.label for before in made):
            digest = hashlib.sha256("\n".join(chosen).encode()).hexdigest()[:8]
            whole, label = f"{whole[: LONGEST - 9]}_{digest}", f"{label} {digest}"
        made.append(Variant(whole, label, (*fixed, *chosen, f"name={json.dumps(whole)}")))
    return tuple(made)


def _key_words(key: str, swept: list[Axis]) -> str:
    """The last word of a key, as long as no other ends so."""
    last = key.rpartition(".")[2]
    alone = sum(axis.key.rpartition(".")[2] == last for axis in swept) == 1
    return _word(last.removeprefix("network_") if alone else key.removeprefix("args."))


def _joined(key: str, value: str) -> str:
    return f"{key}-{value}" if key[-1:].isdigit() else f"{key}{value}"


def _word(text: str) -> str:
    """Letters that every file system takes; of a path its last part; cut where it is long."""
    plain = text.strip("\"' ").rstrip("/").rpartition("/")[2]
    word = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-.") or "x"
    return word if len(word) <= WORD else f"{word[: WORD - 7]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
